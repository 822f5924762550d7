package policy

import (
	"fmt"

	"github.com/google/cel-go/common/overloads"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	"github.com/google/cel-go/interpreter"
)

// Costs are in the units of CEL, of which one is a step such as looking up a name: a few hundred nanoseconds.
const (
	// maxEstimate is what an expression may cost at worst, with every variable as large as it can be.
	maxEstimate = 10_000_000
	// maxValues is how many values a list or map can be made of at worst, since CEL writes values into its errors.
	maxValues = 300_000
	// maxCost is what one evaluation may cost.
	maxCost = 50_000
	// maxRequestCost is what all evaluations for one request may cost together.
	maxRequestCost = 200_000
)

// Budget is what all expressions of one request may cost together. It is not safe for concurrent use.
type Budget struct{ left uint64 }

// NewBudget makes the budget of one request.
func NewBudget() *Budget { return &Budget{left: maxRequestCost} }

// NewBudgetOf makes the budget that so many requests have together.
func NewBudgetOf(requests uint64) *Budget { return &Budget{left: times(requests, maxRequestCost)} }

// Exhausted reports whether the budget is spent, so that an evaluation may have had no result for that alone.
func (b *Budget) Exhausted() bool { return b.left == 0 }

// spend takes a cost from the budget. The evaluation that exceeds it has no result.
func (b *Budget) spend(cost uint64) error {
	if cost > b.left {
		b.left = 0
		return errSpent
	}
	b.left -= cost
	return nil
}

// errSpent is what every evaluation comes to once the budget is spent: none is begun any more.
var errSpent = fmt.Errorf("%w: all expressions of the request together cost too much", ErrCost)

// trackers charge for what a function has to look at where CEL itself charges for the number of elements, whatever these
// are. A comparison inside of a function is about eight times as fast as one that is written in an expression.
func trackers() []interpreter.CostTrackerOption {
	options := []interpreter.CostTrackerOption{
		interpreter.OverloadCostTracker(overloads.InList, func(args []ref.Val, _ ref.Val) *uint64 {
			return compared(nodes(args[1], maxValues))
		}),
		interpreter.OverloadCostTracker(overloads.ExtFormatString, func(_ []ref.Val, result ref.Val) *uint64 {
			text, _ := result.(types.String)
			cost := uint64(len(text)) + 1
			return &cost
		}),
	}
	for _, id := range []string{overloads.Equals, overloads.NotEquals} {
		options = append(options, interpreter.OverloadCostTracker(id, func(args []ref.Val, _ ref.Val) *uint64 {
			if !container(args[0]) || !container(args[1]) {
				return nil
			}
			return compared(min(nodes(args[0], maxValues), nodes(args[1], maxValues)))
		}))
	}
	for _, id := range []string{
		"list_distinct", "list_sets_contains_list", "list_sets_intersects_list", "list_sets_equivalent_list",
	} {
		options = append(options, interpreter.OverloadCostTracker(id, func(args []ref.Val, _ ref.Val) *uint64 {
			size, _ := args[0].(traits.Sizer).Size().(types.Int)
			return compared(times(uint64(size), nodes(args[len(args)-1], maxValues)))
		}))
	}
	return options
}

func compared(values uint64) *uint64 {
	cost := 1 + values/8
	return &cost
}

func container(value ref.Val) bool {
	switch value.(type) {
	case traits.Mapper, traits.Lister:
		return true
	}
	return false
}

// nodes counts the values that a value is made of, up to a limit.
func nodes(value ref.Val, limit uint64) uint64 {
	count := uint64(1)
	switch v := value.(type) {
	case traits.Mapper:
		for it := v.Iterator(); it.HasNext() == types.True && count < limit; {
			count++
			if entry, ok := v.Find(it.Next()); ok && count < limit {
				count += nodes(entry, limit-count)
			}
		}
	case traits.Lister:
		for it := v.Iterator(); it.HasNext() == types.True && count < limit; {
			count += nodes(it.Next(), limit-count)
		}
	}
	return count
}
