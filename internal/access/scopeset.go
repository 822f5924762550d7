package access

import (
	"slices"

	"github.com/m2m-operator/m2m-operator/internal/scope"
)

// scopeSet is what somebody declares or gives. Who gives need not know in which syntax the API's scopes are read, so a
// set is ready for either.
type scopeSet struct {
	names []string  // sorted
	items scope.Set // the names in the hierarchical syntax, but for those that are malformed in it
}

func newScopeSet[S ~string](names []S) scopeSet {
	var out scopeSet
	var items []scope.Item
	if len(names) == 1 { // as most have, for which one piece of memory is enough
		one := &struct {
			name [1]string
			item [1]scope.Item
		}{}
		out.names, items = one.name[:0], one.item[:0]
	}
	for _, name := range names {
		out.names = append(out.names, shared(string(name)))
	}
	slices.Sort(out.names)
	out.names = slices.Compact(out.names)
	for _, name := range out.names {
		if item, err := scope.Parse(scope.Hierarchical, name); err == nil {
			items = append(items, item)
		}
	}
	out.items = scope.NewSet(items)
	return out
}

// readScope is a scope as the syntax of an API has it.
type readScope struct {
	name      string
	item      scope.Item
	malformed bool
}

// gives reports whether whoever has the set may have the scope.
func (s scopeSet) gives(syntax scope.Syntax, wanted readScope) bool {
	if syntax == scope.Exact {
		return s.has(wanted.name)
	}
	return !wanted.malformed && s.items.Covers(wanted.item)
}

// declares reports whether an API that declares the set knows the scope.
func (s scopeSet) declares(syntax scope.Syntax, wanted readScope) bool {
	if syntax == scope.Exact {
		return s.has(wanted.name)
	}
	return !wanted.malformed && s.items.Declares(wanted.item)
}

func (s scopeSet) has(name string) bool {
	_, found := slices.BinarySearch(s.names, name)
	return found
}
