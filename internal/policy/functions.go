package policy

import (
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/ext"
)

// A function's effect bounds its result and its cost, without the cost of its arguments, from the bounds of these. The
// target of a member function is the first argument.
type effect func(args []*bounds) (result *bounds, cost uint64)

// effects of the functions that are not linear, or whose result is not a scalar. All others whose result is a scalar
// look at their arguments once. A function that is in neither group is taken to be without bounds, and refused.
var effects = map[string]effect{
	// They look at nothing, or only at where something is.
	operators.LogicalAnd: constant, operators.LogicalOr: constant, operators.LogicalNot: constant,
	operators.NotStrictlyFalse: constant, "size": constant, "type": constant, "hasValue": constant,
	"optional.none": constant,

	operators.Conditional: func(args []*bounds) (*bounds, uint64) { return union(args[1:]...), 0 },
	"dyn":                 either, "optional.of": either, "optional.ofNonZeroValue": either, "value": either, "or": either, "orValue": either,

	operators.Index: inside, operators.OptIndex: inside, operators.OptSelect: inside, "first": inside, "last": inside,

	operators.Equals: equality, operators.NotEquals: equality,
	operators.In: func(args []*bounds) (*bounds, uint64) {
		return scalar, plus(1, times(args[1].count, min(args[0].scan(), args[1].part().scan())))
	},
	operators.Add: func(args []*bounds) (*bounds, uint64) {
		text, both := plus(args[0].text, args[1].text), union(args...)
		// Lists are put together without looking into them.
		return &bounds{text: text, count: plus(args[0].count, args[1].count), element: both.element}, plus(1, text)
	},

	// Texts.
	"string": linear(func(args []*bounds) *bounds { return &bounds{text: max(scalarText, args[0].text)} }),
	"bytes":  linear(first), "trim": linear(first), "lowerAscii": linear(first), "upperAscii": linear(first),
	"substring": linear(first), "reverse": linear(first), "base64.decode": linear(first),
	"charAt":        linear(func([]*bounds) *bounds { return &bounds{text: 4} }),
	"strings.quote": linear(func(args []*bounds) *bounds { return &bounds{text: plus(times(args[0].text, 4), 2)} }),
	"base64.encode": linear(func(args []*bounds) *bounds { return &bounds{text: plus(times(args[0].text, 2), 4)} }),
	"contains":      search, "indexOf": search, "lastIndexOf": search,
	"replace": func(args []*bounds) (*bounds, uint64) {
		_, cost := search(args)
		result := &bounds{text: times(plus(args[0].text, 1), plus(args[2].text, 1))}
		return result, plus(cost, result.text)
	},
	"split": linear(func(args []*bounds) *bounds { return list(plus(args[0].text, 1), &bounds{text: args[0].text}) }),
	"join": func(args []*bounds) (*bounds, uint64) {
		separator := scalar
		if len(args) > 1 {
			separator = args[1]
		}
		result := &bounds{text: times(args[0].count, plus(args[0].part().text, separator.text))}
		return result, plus(args[0].scan(), result.text)
	},
	"format": func(args []*bounds) (*bounds, uint64) {
		result := &bounds{text: plus(args[0].text, args[1].written())}
		return result, plus(args[1].scan(), result.text)
	},

	// Lists.
	"slice": linear(first), "sort": quadratic(first), "distinct": quadratic(first), "@sortByAssociatedKeys": quadratic(first),
	"flatten": linear(flattened), "optional.unwrap": linear(first), "unwrapOpt": linear(first),
	"lists.range":   func([]*bounds) (*bounds, uint64) { return list(maxRange, scalar), maxRange },
	"sets.contains": setwise, "sets.intersects": setwise, "sets.equivalent": setwise,
}

// arithmetic are functions of numbers alone, whose result is one also where its type is not known before it is there.
var arithmetic = map[string]bool{
	operators.Negate: true, operators.Subtract: true, operators.Multiply: true, operators.Divide: true,
	operators.Modulo: true, "math.@max": true, "math.@min": true, "math.abs": true, "math.sign": true,
}

// effectOf a function, whose result has the given type.
func effectOf(function string, result *types.Type) effect {
	if e, ok := effects[function]; ok {
		return e
	}
	switch result.Kind() {
	case types.BoolKind, types.DoubleKind, types.DurationKind, types.IntKind, types.TimestampKind, types.UintKind:
		return linear(nothing)
	}
	if arithmetic[function] || result.IsExactType(ext.IPType) || result.IsExactType(ext.CIDRType) {
		return linear(nothing)
	}
	return nil
}

func constant([]*bounds) (*bounds, uint64) { return scalar, 1 }

func either(args []*bounds) (*bounds, uint64) { return union(args...), 1 }

func inside(args []*bounds) (*bounds, uint64) { return args[0].part(), 1 }

func nothing([]*bounds) *bounds { return scalar }

func first(args []*bounds) *bounds { return args[0] }

func equality(args []*bounds) (*bounds, uint64) {
	return scalar, plus(1, min(args[0].scan(), args[1].scan()))
}

func search(args []*bounds) (*bounds, uint64) {
	return scalar, plus(1, times(plus(args[0].text, 1), plus(args[1].text, 1))/10)
}

func setwise(args []*bounds) (*bounds, uint64) {
	pairs := times(args[0].count, args[1].count)
	return scalar, plus(1, times(times(pairs, 2), min(args[0].part().scan(), args[1].part().scan())))
}

// flattenedOnce bounds a list of what is in the lists of a list, if all that it holds are lists.
func flattenedOnce(args []*bounds) *bounds {
	return list(times(args[0].count, args[0].part().count), args[0].part().part())
}

// flattened bounds a list of what is in the lists of a list, to any depth, and of what is no list beside them.
func flattened(args []*bounds) *bounds {
	flat := &bounds{count: args[0].count, element: args[0].part()}
	for inner := flat.element; inner != nil && inner.count > 0; inner = inner.element {
		flat.count = times(flat.count, inner.count)
		flat.element = union(flat.element, inner.part())
	}
	return flat
}

// newList is what CEL takes for making a list, beside what is in it.
const newList = 10

// linear is the effect of a function that looks at its arguments once and writes its result.
func linear(result func([]*bounds) *bounds) effect {
	return func(args []*bounds) (*bounds, uint64) {
		b := result(args)
		return b, plus(newList, scanAll(args), b.text, b.count)
	}
}

// quadratic is the effect of a function that compares every element with every other.
func quadratic(result func([]*bounds) *bounds) effect {
	return func(args []*bounds) (*bounds, uint64) {
		cost := uint64(1 + newList)
		for _, a := range args {
			cost = plus(cost, times(times(a.count, a.count), a.part().scan()))
		}
		return result(args), cost
	}
}

func scanAll(args []*bounds) uint64 {
	cost := uint64(1)
	for _, a := range args {
		cost = plus(cost, a.scan())
	}
	return cost
}
