package policy

import (
	"sync"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/ext"
)

// Bounds of what is parsed.
const (
	maxExpressionBytes = 4096
	maxNesting         = 32
	maxRange           = 1000
	// maxContainers is how many lists and maps can be written in an expression, and macros that make one. The time that
	// it takes to check their types grows with the square of their number.
	maxContainers = 200
)

// environment is what all expressions are compiled in: the variables and the functions.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	options := []cel.EnvOption{
		cel.ParserExpressionSizeLimit(maxExpressionBytes),
		cel.ParserRecursionLimit(maxNesting),
		cel.ParserErrorRecoveryLimit(10),
		cel.DefaultUTCTimeZone(true),
		cel.CrossTypeNumericComparisons(true),
		cel.OptionalTypes(),
		cel.Macros(withoutMacro("optMap"), withoutMacro("optFlatMap")),
		ext.Strings(), ext.Lists(ext.ListsMaxRangeSize(maxRange)), ext.Sets(), ext.Math(), ext.Network(),
		ext.Encoders(ext.EncodersVersion(0)),
		cel.ASTValidators(cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals()),
		objectTypes,
		cel.Variable(varClient, cel.ObjectType(varClient)),
		cel.Variable(varRequest, cel.ObjectType(varRequest)),
		cel.Variable(varScopes, cel.ListType(cel.StringType)),
		cel.Variable(varAPI, cel.ObjectType(varAPI)),
	}
	return cel.NewEnv(append(options, zonedClocks()...)...)
})

func objectTypes(env *cel.Env) (*cel.Env, error) {
	return cel.CustomTypeProvider(provider{env.CELTypeProvider()})(env)
}

// withoutMacro is a macro of two arguments that is refused. The expansion of optMap and optFlatMap doubles what stands
// before them, so that a chain of thirty would fill the memory as soon as it is parsed.
func withoutMacro(name string) cel.Macro {
	return cel.ReceiverMacro(name, 2, func(f cel.MacroExprFactory, target ast.Expr, _ []ast.Expr) (ast.Expr, *cel.Error) {
		return nil, f.NewError(target.ID(), name+" is not available: use orValue, or a condition with has()")
	})
}
