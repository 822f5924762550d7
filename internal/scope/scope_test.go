package scope_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/m2m-operator/m2m-operator/internal/scope"
)

func parse(t *testing.T, name string) scope.Item {
	t.Helper()
	item, err := scope.Parse(scope.Hierarchical, name)
	if err != nil {
		t.Fatalf("%q: %v", name, err)
	}
	return item
}

// The nine spellings that a client of a system with hierarchical scopes may use, and what each is in full.
func TestSpellings(t *testing.T) {
	for name, full := range map[string]string{
		"book:1:read": "book:1:read", "book:*:read": "book:*:read", "book:read": "book:*:read",
		"book:*:*": "book:*:*", "book:*": "book:*:*", "book": "book:*:*",
		"*:*:*": "*:*:*", "*:*": "*:*:*", "*": "*:*:*",
		"*:read": "*:*:read", "*:1:read": "*:1:read", "book:1:*": "book:1:*",
	} {
		if got := parse(t, name).String(); got != full {
			t.Errorf("%s is %s, want %s", name, got, full)
		}
		if again := parse(t, full); again != parse(t, name) {
			t.Errorf("%s and %s differ", name, full)
		}
	}
}

func TestMalformed(t *testing.T) {
	for _, name := range []string{"", ":", "a:", ":a", "a::b", ":a:b", "a:b:", "::", "a:b:c:d", "a:b:c:", "*:*:*:*"} {
		if item, err := scope.Parse(scope.Hierarchical, name); err == nil {
			t.Errorf("%q is %s", name, item)
		}
	}
}

func TestCovers(t *testing.T) {
	for _, test := range []struct {
		granted, asked string
		want           bool
	}{
		{"book:read", "book:1:read", true}, {"book:1:read", "book:read", false}, {"book:1:read", "book:*:read", false},
		{"book", "book:1:read", true}, {"book", "book:*", true}, {"book:*:read", "book", false},
		{"*", "book:1:read", true}, {"book", "*", false}, {"*:*:*", "*", true}, {"*:read", "book:7:read", true},
		{"*:read", "book:7:write", false}, {"book:1:*", "book:1:read", true}, {"book:1:*", "book:2:read", false},
		{"books", "book", false}, {"user-growth:2019:*", "user-growth:2020:read", false},
	} {
		if got := parse(t, test.granted).Covers(parse(t, test.asked)); got != test.want {
			t.Errorf("%s covers %s: %t", test.granted, test.asked, got)
		}
	}
}

func TestDeclares(t *testing.T) {
	for _, test := range []struct {
		declared, asked string
		want            bool
	}{
		{"book:read", "book:1:read", true}, {"book:1:read", "book:2:read", true}, {"book:read", "book:write", false},
		{"book:read", "book", true}, {"book", "book:1:anything", true}, {"book:read", "*", true}, {"book:read", "*:write", false},
		{"book:read", "table:read", false}, {"*", "table:read", true},
	} {
		if got := parse(t, test.declared).Declares(parse(t, test.asked)); got != test.want {
			t.Errorf("%s declares %s: %t", test.declared, test.asked, got)
		}
	}
}

// In the exact syntax neither * nor : means anything.
func TestExact(t *testing.T) {
	names := []string{"*", "a", "a:*", "a:b", "a:*:b", ":", "*:*:*", "a:b:c:d"}
	for _, a := range names {
		for _, b := range names {
			x, errX := scope.Parse(scope.Exact, a)
			y, errY := scope.Parse(scope.Exact, b)
			if errX != nil || errY != nil || x.Covers(y) != (a == b) || x.Declares(y) != (a == b) || x.String() != a {
				t.Errorf("%q and %q: %v %v", a, b, errX, errY)
			}
		}
	}
}

// Covering is a partial order, says what its definition by enumeration says, and never reaches beyond what is declared.
func TestCoveringIsAPartialOrder(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	segments := []string{"*", "a", "b", "c"}
	item := func() scope.Item {
		var parts []string
		for range 1 + random.IntN(3) {
			parts = append(parts, segments[random.IntN(len(segments))])
		}
		return parse(t, strings.Join(parts, ":"))
	}
	// denotes is what a wildcard stands for: a, b, c, and one name that nobody thought of. A wildcard is one of its own
	// values too, since who asks for all asks for what is not there yet.
	denotes := func(i scope.Item) map[string]bool {
		out := map[string]bool{}
		parts := strings.Split(i.String(), ":")
		for _, r := range append(segments, "z") {
			for _, id := range append(segments, "z") {
				for _, action := range append(segments, "z") {
					if (parts[0] == "*" || parts[0] == r) && (parts[1] == "*" || parts[1] == id) && (parts[2] == "*" || parts[2] == action) {
						out[r+":"+id+":"+action] = true
					}
				}
			}
		}
		return out
	}
	for range 20_000 {
		x, y, z := item(), item(), item()
		if !x.Covers(x) {
			t.Fatalf("%s does not cover itself", x)
		}
		if x.Covers(y) && y.Covers(x) && x != y {
			t.Fatalf("%s and %s cover each other", x, y)
		}
		if x.Covers(y) && y.Covers(z) && !x.Covers(z) {
			t.Fatalf("%s covers %s covers %s", x, y, z)
		}
		if x.Covers(y) && !x.Declares(y) {
			t.Fatalf("%s covers %s, and does not declare it", x, y)
		}
		if x.Declares(y) != y.Declares(x) {
			t.Fatalf("%s and %s declare each other one way", x, y)
		}
	}
	for range 500 {
		x, y := item(), item()
		all := true
		larger := denotes(x)
		for value := range denotes(y) {
			all = all && larger[value]
		}
		if x.Covers(y) != all {
			t.Fatalf("%s covers %s: %t, by enumeration %t", x, y, x.Covers(y), all)
		}
	}
}
