package scope_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/m2m-operator/m2m-operator/internal/scope"
)

// FuzzParse: of any two texts, what is a scope, what it is in full, and what it covers and declares, is what its segments
// say, compared one by one.
func FuzzParse(f *testing.F) {
	names := []string{
		"book:1:read", "book:*:read", "book:read", "book:*", "book", "*:*:*", "*", "*:read", "*:1:read", "book:1:*", "user-growth:2019:*",
		"", ":", "a::b", "a:b:", "*:*:*:*", "**", "book*", "b\u00f6\u00f6k:\xff", "book read", "courses:read-approved", "https://api.example.com/all",
	}
	for i, name := range names {
		f.Add(name, names[(i+1)%len(names)])
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		exactA, errA := scope.Parse(scope.Exact, a)
		exactB, errB := scope.Parse(scope.Exact, b)
		if errA != nil || errB != nil || exactA.Covers(exactB) != (a == b) || exactA.Declares(exactB) != (a == b) || exactA.String() != a {
			t.Errorf("exact: %q and %q: %v, %v", a, b, errA, errB)
		}
		x, y := segments(a), segments(b)
		itemX, errX := scope.Parse(scope.Hierarchical, a)
		itemY, errY := scope.Parse(scope.Hierarchical, b)
		if (errX == nil) != (x != nil) || (errY == nil) != (y != nil) {
			t.Fatalf("%q is %q, %v; %q is %q, %v", a, x, errX, b, y, errY)
		}
		if x == nil || y == nil {
			return
		}
		if full := strings.Join(x, ":"); itemX.String() != full || parse(t, full) != itemX {
			t.Errorf("%q is %s, want %s", a, itemX, full)
		}
		covers := func(i int) bool { return x[i] == "*" || x[i] == y[i] }
		if want := covers(0) && covers(1) && covers(2); itemX.Covers(itemY) != want {
			t.Errorf("%q covers %q: %t", a, b, !want)
		}
		meets := func(i int) bool { return covers(i) || y[i] == "*" }
		if want := meets(0) && meets(2); itemX.Declares(itemY) != want || itemY.Declares(itemX) != want {
			t.Errorf("%q declares %q: %t", a, b, !want)
		}
	})
}

// segments are those of a hierarchical scope in full, nil if it is none.
func segments(name string) []string {
	parts := strings.Split(name, ":")
	if len(parts) > 3 || slices.Contains(parts, "") {
		return nil
	}
	switch len(parts) {
	case 1:
		return []string{parts[0], "*", "*"}
	case 2:
		return []string{parts[0], "*", parts[1]}
	}
	return parts
}
