package policy

import (
	"fmt"
	"regexp/syntax"
	"strings"

	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/types"
)

// Bounds of the patterns of matches. What matching costs depends on the program that a pattern is compiled to, which is
// why it must be known before.
const (
	maxPatternBytes = 256
	maxPatternSteps = 1000
)

// inspection walks over a checked expression. It bounds the size of every value and the cost of the whole, sees what
// the expression looks at, and refuses what CEL allows and we do not.
//
// The cost is not estimated by CEL's own estimator, since that one takes a list for as large as the number of its
// elements, whatever these are. A few lines can make a list of lists of lists that is small in memory and takes years
// to compare.
type inspection struct {
	checked *ast.AST
	cost    uint64
	// values is how many the largest list or map is made of.
	values uint64
	// momentary is set if the expression looks at what one request brings.
	momentary bool
	locals    map[string][]*bounds
	issues    []issue
}

func inspect(checked *ast.AST) *inspection {
	n := &inspection{checked: checked, locals: map[string][]*bounds{}}
	_, n.cost = n.expression(checked.Expr())
	return n
}

// expression bounds the value and the cost of an expression.
func (n *inspection) expression(e ast.Expr) (*bounds, uint64) {
	b, cost := n.step(e)
	n.values = max(n.values, b.values())
	return b, cost
}

func (n *inspection) step(e ast.Expr) (*bounds, uint64) {
	switch e.Kind() {
	case ast.LiteralKind:
		return literal(e), 0
	case ast.IdentKind:
		return n.identifier(e), 1
	case ast.SelectKind:
		return n.selection(e)
	case ast.CallKind:
		return n.call(e)
	case ast.ListKind:
		element, cost := n.expressions(e.AsList().Elements())
		return list(uint64(e.AsList().Size()), element), plus(cost, 10)
	case ast.MapKind:
		return n.mapping(e)
	case ast.ComprehensionKind:
		return n.comprehension(e.AsComprehension())
	default:
		n.refuse(e, "objects cannot be made: write a map, {'name': value}")
		return scalar, 0
	}
}

// expressions bounds each of several values, and the cost of all.
func (n *inspection) expressions(all []ast.Expr) (*bounds, uint64) {
	each, sum := scalar, uint64(0)
	for _, e := range all {
		b, cost := n.expression(e)
		each, sum = union(each, b), plus(sum, cost)
	}
	return each, sum
}

func (n *inspection) mapping(e ast.Expr) (*bounds, uint64) {
	var keysAndValues []ast.Expr
	for _, entry := range e.AsMap().Entries() {
		keysAndValues = append(keysAndValues, entry.AsMapEntry().Key(), entry.AsMapEntry().Value())
	}
	element, cost := n.expressions(keysAndValues)
	return list(uint64(e.AsMap().Size()), element), plus(cost, 30)
}

func literal(e ast.Expr) *bounds {
	switch value := e.AsLiteral().(type) {
	case types.String:
		return &bounds{text: uint64(len(value))}
	case types.Bytes:
		return &bounds{text: uint64(len(value))}
	}
	return scalar
}

// identifier bounds a variable. The objects stand for nothing but their fields.
func (n *inspection) identifier(e ast.Expr) *bounds {
	name := e.AsIdent()
	if stack := n.locals[name]; len(stack) > 0 {
		return stack[len(stack)-1]
	}
	name = strings.TrimPrefix(name, ".")
	if name == varScopes {
		n.momentary = true
		return scopesBounds
	}
	if _, ok := objects[name]; ok {
		n.refuse(e, fmt.Sprintf("%s is not a value: name one of its fields, such as %s.%s", name, name, sampleField[name]))
	}
	return scalar
}

var sampleField = map[string]string{varClient: "id", varRequest: "source", varAPI: "name"}

func (n *inspection) selection(e ast.Expr) (*bounds, uint64) {
	operand, name := e.AsSelect().Operand(), e.AsSelect().FieldName()
	if operand.Kind() == ast.IdentKind && len(n.locals[operand.AsIdent()]) == 0 {
		object := strings.TrimPrefix(operand.AsIdent(), ".")
		if f, ok := objects[object][name]; ok {
			n.momentary = n.momentary || object == varRequest || object == varClient && name == "authentication"
			return f.bounds, 2
		}
	}
	b, cost := n.expression(operand)
	return b.part(), plus(cost, 1)
}

func (n *inspection) call(e ast.Expr) (*bounds, uint64) {
	call := e.AsCall()
	arguments := call.Args()
	if call.IsMemberFunction() {
		arguments = append([]ast.Expr{call.Target()}, arguments...)
	}
	var args []*bounds
	var sum uint64
	for _, a := range arguments {
		b, cost := n.expression(a)
		args, sum = append(args, b), plus(sum, cost)
	}
	if _, ok := clockFunctions[call.FunctionName()]; ok && len(args) == 2 {
		n.zone(arguments[1])
	}
	if call.FunctionName() == "matches" {
		return scalar, plus(sum, times(plus(args[0].text, 1), n.pattern(arguments[1])))
	}
	result := effectOf(call.FunctionName(), n.checked.GetType(e.ID()))
	if result == nil {
		n.refuse(e, fmt.Sprintf("function %s is not available", call.FunctionName()))
		return scalar, 0
	}
	if call.FunctionName() == "flatten" && len(args) == 1 && n.holdsLists(arguments[0]) {
		result = linear(flattenedOnce)
	}
	b, cost := result(args)
	return b, plus(sum, cost)
}

// holdsLists says whether the expression is a list whose elements are known to be lists.
func (n *inspection) holdsLists(e ast.Expr) bool {
	t := n.checked.GetType(e.ID())
	return t.Kind() == types.ListKind && t.Parameters()[0].Kind() == types.ListKind
}

// zone looks up the time zone that an expression names. It must do so literally: whoever writes it learns at once
// whether it exists, and no request for a token waits for a file.
func (n *inspection) zone(e ast.Expr) {
	name, ok := literalText(e)
	if !ok {
		n.refuse(e, "the time zone must be written literally, such as 'Europe/Berlin'")
		return
	}
	if err := loadZone(name); err != nil {
		n.refuse(e, err.Error())
	}
}

// pattern says how many steps matching takes for each byte.
func (n *inspection) pattern(e ast.Expr) uint64 {
	pattern, ok := literalText(e)
	if !ok {
		n.refuse(e, "the pattern of matches must be written literally")
		return 0
	}
	if len(pattern) > maxPatternBytes {
		n.refuse(e, fmt.Sprintf("the pattern of matches is longer than %d bytes", maxPatternBytes))
		return 0
	}
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		n.refuse(e, "the pattern of matches is malformed: "+err.Error())
		return 0
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil || len(program.Inst) > maxPatternSteps {
		n.refuse(e, fmt.Sprintf("the pattern of matches is too large: it takes more than %d steps; repeat less in it", maxPatternSteps))
		return 0
	}
	return plus(uint64(len(program.Inst)), uint64(len(pattern)))/4 + 1
}

func literalText(e ast.Expr) (string, bool) {
	if e.Kind() != ast.LiteralKind {
		return "", false
	}
	text, ok := e.AsLiteral().(types.String)
	return string(text), ok
}

// comprehension bounds what a macro such as map or exists is expanded to: a loop that adds to its result at each turn.
func (n *inspection) comprehension(c ast.ComprehensionExpr) (*bounds, uint64) {
	over, overCost := n.expression(c.IterRange())
	start, startCost := n.expression(c.AccuInit())

	n.locals[c.AccuVar()] = append(n.locals[c.AccuVar()], start)
	n.locals[c.IterVar()] = append(n.locals[c.IterVar()], over.part())
	_, conditionCost := n.expression(c.LoopCondition())
	step, stepCost := n.expression(c.LoopStep())
	n.pop(c.IterVar())
	n.pop(c.AccuVar())

	end := union(start, step)
	if over.count == 0 {
		end = start
	} else if step.count > start.count {
		end = list(plus(start.count, times(over.count, step.count-start.count)), union(start.element, step.element))
	}
	n.locals[c.AccuVar()] = append(n.locals[c.AccuVar()], end)
	result, resultCost := n.expression(c.Result())
	n.pop(c.AccuVar())
	return result, plus(overCost, startCost, times(over.count, plus(conditionCost, stepCost, 1)), resultCost)
}

func (n *inspection) pop(name string) { n.locals[name] = n.locals[name][:len(n.locals[name])-1] }

func (n *inspection) refuse(e ast.Expr, message string) {
	at := n.checked.SourceInfo().GetStartLocation(e.ID())
	n.issues = append(n.issues, issue{line: at.Line(), column: at.Column() + 1, message: message})
}
