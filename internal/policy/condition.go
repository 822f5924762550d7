package policy

import (
	"fmt"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
)

// Condition is a compiled expression that is true or false. It is safe for concurrent use.
type Condition struct{ *expression }

// CompileCondition compiles an expression. The error is for who wrote it: one line that says where it is wrong.
func CompileCondition(source string) (*Condition, error) {
	e, err := compile(source)
	if err != nil {
		return nil, err
	}
	if !e.result.IsExactType(cel.BoolType) && !e.result.IsExactType(cel.DynType) {
		return nil, wholeError(plain("the expression must be true or false, and is of type " + cel.FormatCELType(e.result)))
	}
	return &Condition{e}, nil
}

// Holds says whether the condition is met. With an error it is not.
func (c *Condition) Holds(in *Input, budget *Budget) (bool, error) {
	value, err := c.evaluate(in, budget)
	if err != nil {
		return false, err
	}
	holds, ok := value.(types.Bool)
	if !ok {
		return false, fmt.Errorf("%w: it is neither true nor false", ErrResult)
	}
	return bool(holds), nil
}

// Standing is true if the condition looks at nothing that one request brings: neither request nor scopes nor
// client.authentication.
func (c *Condition) Standing() bool { return !c.momentary }
