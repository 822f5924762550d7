package policy

import (
	"errors"
	"fmt"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/interpreter"
	"k8s.io/utils/lru"
)

// What can go wrong with an evaluation. The errors that wrap these say more, for an audit log: they may hold values of
// the request, and are not for the client.
var (
	// ErrEvaluation: the expression has no value, for example because a label is missing.
	ErrEvaluation = errors.New("the expression failed")
	// ErrCost: the expression, or all of the request together, cost too much.
	ErrCost = errors.New("the expression costs too much")
	// ErrResult: the value is not one that a condition or a claim can have.
	ErrResult = errors.New("the expression's value is not allowed")
)

// expression is a compiled expression. It is immutable.
type expression struct {
	program   cel.Program
	result    *cel.Type
	estimate  uint64
	momentary bool
}

// compiled keeps the latest expressions. Compiling takes a thousand times as long as evaluating, and of fifty thousand
// grants most say the same.
var compiled = lru.New(maxCompiled)

const maxCompiled = 256

// compile makes an expression, or says what is wrong with it.
func compile(source string) (*expression, error) {
	if e, ok := compiled.Get(source); ok {
		return e.(*expression), nil
	}
	e, err := compileAnew(source)
	if err == nil {
		compiled.Add(source, e)
	}
	return e, err
}

// compileAnew never panics: an expression at which CEL does is refused.
func compileAnew(source string) (compiled *expression, err error) {
	defer func() {
		if recover() != nil {
			compiled, err = nil, errors.New("the expression cannot be compiled")
		}
	}()
	if len(source) > maxExpressionBytes {
		return nil, fmt.Errorf("the expression is longer than %d bytes", maxExpressionBytes)
	}
	env, err := environment()
	if err != nil {
		return nil, err
	}
	parsed, found := env.Parse(source)
	if found.Err() != nil {
		return nil, compileError(issuesOf(found))
	}
	if containers(parsed.NativeRep().Expr()) > maxContainers {
		return nil, wholeError(fmt.Sprintf("the expression has more than %d lists and maps", maxContainers))
	}
	checked, found := env.Check(parsed)
	if found.Err() != nil {
		return nil, compileError(issuesOf(found))
	}
	seen := inspect(checked.NativeRep())
	if len(seen.issues) > 0 {
		return nil, compileError(seen.issues)
	}
	if seen.cost > maxEstimate {
		return nil, wholeError(fmt.Sprintf("the expression may cost too much, more than %d units with %d scopes of %d bytes: "+
			"nest fewer loops, look things up with 'in', and compare lists with sets.contains", maxEstimate, maxScopes, maxScopeBytes))
	}
	if seen.values > maxValues {
		return nil, wholeError(fmt.Sprintf("the expression may make a list of lists of more than %d values, with %d scopes", maxValues, maxScopes))
	}
	program, err := env.Program(checked, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(maxCost), cel.CostTrackerOptions(trackers()...))
	if err != nil {
		return nil, wholeError(plain(err.Error()))
	}
	return &expression{program: program, result: checked.OutputType(), estimate: seen.cost, momentary: seen.momentary}, nil
}

// containers counts the lists and maps that are written in an expression.
func containers(e ast.Expr) int {
	count := 0
	ast.PreOrderVisit(e, ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() == ast.ListKind || e.Kind() == ast.MapKind {
			count++
		}
	}))
	return count
}

// evaluate gives the expression's value. What it cost, or all that it was allowed to if it failed for that, is taken
// from the budget.
func (e *expression) evaluate(in *Input, budget *Budget) (value ref.Val, err error) {
	defer func() {
		if recover() != nil {
			value, err = nil, fmt.Errorf("%w: it cannot be evaluated", ErrEvaluation)
		}
	}()
	if budget.left == 0 {
		return nil, errSpent
	}
	value, details, err := e.program.Eval(activation{in})
	cost := uint64(maxCost)
	if actual := details.ActualCost(); actual != nil {
		cost = *actual
	}
	if over := budget.spend(cost); over != nil {
		return nil, over
	}
	var cancelled interpreter.EvalCancelledError
	if errors.As(err, &cancelled) && cancelled.Cause == interpreter.CostLimitExceeded {
		return nil, fmt.Errorf("%w: more than %d units", ErrCost, maxCost)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s", ErrEvaluation, printable(err.Error(), maxRuntimeErrorText))
	}
	return value, nil
}
