package scope

import "slices"

// few is how many items are compared one by one: most sets are small, and a slice is smaller than a table.
const few = 16

// Set answers for many hierarchical items at once, in a time that does not grow with their number. The zero value is
// empty.
type Set struct {
	items []Item // if they are few
	table *table // if they are not
}

type table struct {
	items              map[Item]struct{}
	pairs              map[Item]struct{} // resource and action, without the id
	resources, actions map[string]struct{}
}

// NewSet makes a set of items of the hierarchical syntax.
func NewSet(items []Item) Set {
	if len(items) <= few {
		return Set{items: items}
	}
	t := &table{map[Item]struct{}{}, map[Item]struct{}{}, map[string]struct{}{}, map[string]struct{}{}}
	for _, i := range items {
		t.items[i], t.pairs[Item{resource: i.resource, action: i.action}] = struct{}{}, struct{}{}
		t.resources[i.resource], t.actions[i.action] = struct{}{}, struct{}{}
	}
	return Set{table: t}
}

// Covers reports whether one of the items covers the other one.
func (s Set) Covers(other Item) bool {
	if s.table == nil {
		return slices.ContainsFunc(s.items, func(i Item) bool { return i.Covers(other) })
	}
	for _, resource := range []string{other.resource, all} {
		for _, id := range []string{other.id, all} {
			for _, action := range []string{other.action, all} {
				if has(s.table.items, Item{resource, id, action}) {
					return true
				}
			}
		}
	}
	return false
}

// Declares reports whether one of the items declares the other one.
func (s Set) Declares(other Item) bool {
	t := s.table
	if t == nil {
		return slices.ContainsFunc(s.items, func(i Item) bool { return i.Declares(other) })
	}
	switch {
	case other.resource == all && other.action == all:
		return true
	case other.resource == all:
		return has(t.actions, other.action) || has(t.actions, all)
	case other.action == all:
		return has(t.resources, other.resource) || has(t.resources, all)
	}
	for _, resource := range []string{other.resource, all} {
		for _, action := range []string{other.action, all} {
			if has(t.pairs, Item{resource: resource, action: action}) {
				return true
			}
		}
	}
	return false
}

func has[K comparable](in map[K]struct{}, key K) bool {
	_, found := in[key]
	return found
}
