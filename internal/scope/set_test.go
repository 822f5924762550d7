package scope_test

import (
	"math/rand"
	"slices"
	"testing"

	"github.com/m2m-operator/m2m-operator/internal/scope"
)

// A set says of many items what they say one by one.
func TestSetIsItsItems(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	parts := []string{"*", "a", "b", "c", "d", "e"}
	random := func() scope.Item {
		item, err := scope.Parse(scope.Hierarchical, parts[r.Intn(6)]+":"+parts[r.Intn(6)]+":"+parts[r.Intn(6)])
		if err != nil {
			t.Fatal(err)
		}
		return item
	}
	seen := map[[2]bool]int{}
	for range 20000 {
		var items []scope.Item
		for range r.Intn(40) {
			item := random()
			if len(item.String()) != 5 || item.String()[0] == '*' && r.Intn(8) > 0 { // or else nearly all is covered
				continue
			}
			items = append(items, item)
		}
		set, other := scope.NewSet(items), random()
		covers := slices.ContainsFunc(items, func(i scope.Item) bool { return i.Covers(other) })
		declares := slices.ContainsFunc(items, func(i scope.Item) bool { return i.Declares(other) })
		if set.Covers(other) != covers || set.Declares(other) != declares {
			t.Fatalf("%v and %v: covers %t, declares %t", items, other, !covers, !declares)
		}
		if len(items) > 16 {
			seen[[2]bool{covers, declares}]++
		}
	}
	if seen[[2]bool{true, true}] < 100 || seen[[2]bool{false, true}] < 100 || seen[[2]bool{false, false}] < 5 {
		t.Errorf("the sets prove too little: %v", seen)
	}
}
