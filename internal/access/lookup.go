package access

import (
	"iter"
	"maps"
)

// lookup finds records by something that they name.
type lookup[K, R comparable] map[K]members[R]

// of iterates over the records that name it, in any order.
func (l lookup[K, R]) of(key K) iter.Seq[R] { return l[key].all() }

func (l lookup[K, R]) add(key K, record R) {
	m, found := l[key]
	switch {
	case !found:
		l[key] = members[R]{one: record}
	case m.many != nil:
		m.many[record] = struct{}{}
	case m.one != record:
		l[key] = members[R]{many: map[R]struct{}{m.one: {}, record: {}}}
	}
}

func (l lookup[K, R]) remove(key K, record R) {
	m, found := l[key]
	switch {
	case !found:
	case m.many == nil:
		if m.one == record {
			delete(l, key)
		}
	default:
		delete(m.many, record)
		if len(m.many) == 0 {
			delete(l, key)
		}
	}
}

// members are one or more records. Most lookups find one, for which a map of its own would be larger than the record.
type members[R comparable] struct {
	one  R              // the only one, if there is no map
	many map[R]struct{} // two or more, and what is left of them
}

func (m members[R]) len() int {
	var none R
	switch {
	case m.many != nil:
		return len(m.many)
	case m.one == none:
		return 0
	}
	return 1
}

func (m members[R]) all() iter.Seq[R] {
	if m.many != nil {
		return maps.Keys(m.many)
	}
	return func(yield func(R) bool) {
		if m.len() > 0 {
			yield(m.one)
		}
	}
}

// each visits all of them. It costs no memory, as all does, which counts in every decision.
func (m members[R]) each(visit func(R)) {
	if m.many == nil {
		if m.len() > 0 {
			visit(m.one)
		}
		return
	}
	for record := range m.many {
		visit(record)
	}
}
