package policy

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"

	"github.com/google/cel-go/common/types"

	"github.com/m2m-operator/m2m-operator/internal/token"
)

// Claim is a compiled expression that gives the value of a claim. It is safe for concurrent use.
type Claim struct {
	*expression
	name string
}

var claimName = regexp.MustCompile(`^[\x21\x23-\x5B\x5D-\x7E]{1,128}$`)

// CompileClaim compiles the expression of a claim. The error is for who wrote it: one line that says where it is wrong.
func CompileClaim(name, source string) (*Claim, error) {
	if slices.Contains(token.Reserved, name) {
		return nil, fmt.Errorf("claim %s is set by the issuer alone", name)
	}
	if !claimName.MatchString(name) {
		return nil, fmt.Errorf("the claim's name must be 1 to 128 printable ASCII characters, without spaces, quotes and backslashes")
	}
	e, err := compile(source)
	if err != nil {
		return nil, err
	}
	return &Claim{expression: e, name: name}, nil
}

// Name of the claim.
func (c *Claim) Name() string { return c.name }

// Value gives the claim's value. It is nil, without an error, if the expression is null: then the claim is left out.
func (c *Claim) Value(in *Input, budget *Budget) (json.RawMessage, error) {
	value, err := c.evaluate(in, budget)
	if err != nil {
		return nil, err
	}
	if optional, ok := value.(*types.Optional); ok {
		if !optional.HasValue() {
			return nil, nil
		}
		value = optional.GetValue()
	}
	if value == types.NullValue {
		return nil, nil
	}
	return encode(value)
}
