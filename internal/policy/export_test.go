package policy

import (
	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/decls"
)

// MaxCost and MaxRequestCost are for tests of the limits.
const (
	MaxCost        = maxCost
	MaxRequestCost = maxRequestCost
)

// Estimate is what the condition costs at most.
func (c *Condition) Estimate() uint64 { return c.estimate }

// Estimate is what the claim costs at most.
func (c *Claim) Estimate() uint64 { return c.estimate }

// Spent is what has been taken from the budget.
func (b *Budget) Spent() uint64 { return maxRequestCost - b.left }

// Functions are all that expressions can call, whether they can be called by name or not.
func Functions() map[string]*decls.FunctionDecl {
	env, err := environment()
	if err != nil {
		panic(err)
	}
	return env.Functions()
}

// HasEffect says whether a function has bounds, for a result of the type.
func HasEffect(function string, result *cel.Type) bool { return effectOf(function, result) != nil }

// Effects are the names of the functions that have bounds of their own.
func Effects() []string {
	var names []string
	for name := range effects {
		names = append(names, name)
	}
	for name := range arithmetic {
		names = append(names, name)
	}
	return names
}
