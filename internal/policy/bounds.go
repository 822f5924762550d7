package policy

import "math"

// bounds say how large a value can be at most. A value of which the type is known only when it is there can be a string
// or a container, and has bounds for both.
type bounds struct {
	// text is the length of a string in bytes.
	text uint64
	// count is the number of elements of a list or of entries of a map.
	count uint64
	// element bounds each element, key and value; nil if there are none.
	element *bounds
}

var (
	scalar       = &bounds{}
	scopesBounds = list(maxScopes, &bounds{text: maxScopeBytes})
)

// scalarText is the length of the longest text that any number, time or address is formatted as.
const scalarText = 512

func list(count uint64, element *bounds) *bounds { return &bounds{count: count, element: element} }

// scan is the cost of looking at every element and every byte. It is that of the value written out: a list that holds
// another one twice is small in memory, and can be enormous to whoever reads it.
func (b *bounds) scan() uint64 {
	cost := plus(1, b.text/10)
	if b.element != nil {
		cost = plus(cost, times(b.count, b.element.scan()))
	}
	return cost
}

// values counts the value and all that it is made of, as scan does.
func (b *bounds) values() uint64 {
	if b.element == nil {
		return 1
	}
	return plus(1, times(b.count, b.element.values()))
}

// written is the length of the value written out as text.
func (b *bounds) written() uint64 {
	length := max(scalarText, times(b.text, 6))
	if b.element != nil {
		length = max(length, times(b.count, plus(b.element.written(), 4)))
	}
	return length
}

// part bounds whatever is in it.
func (b *bounds) part() *bounds {
	if b.element == nil {
		return scalar
	}
	return b.element
}

// union bounds what either bounds.
func union(all ...*bounds) *bounds {
	var one *bounds
	for _, b := range all {
		switch {
		case one == nil:
			one = b
		case b != nil && b != one:
			one = &bounds{text: max(one.text, b.text), count: max(one.count, b.count), element: union(one.element, b.element)}
		}
	}
	return one
}

// plus is a sum that does not overflow.
func plus(all ...uint64) uint64 {
	var sum uint64
	for _, n := range all {
		if n > math.MaxUint64-sum {
			return math.MaxUint64
		}
		sum += n
	}
	return sum
}

// times is a product that does not overflow.
func times(a, b uint64) uint64 {
	if b != 0 && a > math.MaxUint64/b {
		return math.MaxUint64
	}
	return a * b
}
