package access

import (
	"maps"
	"testing"
)

// TestLabelSet holds it to the map that it is made of: what is there, what is not, and that no label makes another one.
func TestLabelSet(t *testing.T) {
	for _, from := range []map[string]string{
		nil,
		{"kind": "sensor"},
		{"kind": ""},
		{"": "sensor", "kind": "x", "sensor": ""},
		{"app.kubernetes.io/name": "job", "team": "a", "name": "team"},
	} {
		set := newLabelSet(from)
		if got := set.asMap(); !maps.Equal(got, from) {
			t.Errorf("of %q is made %q", from, got)
		}
		for _, name := range []string{"", "kind", "sensor", "team", "name", "a", "job"} {
			want, is := from[name]
			if got, exists := set.Lookup(name); got != want || exists != is || set.Has(name) != is || set.Get(name) != want {
				t.Errorf("%q has %q: %q, %t; want %q, %t", from, name, got, exists, want, is)
			}
		}
	}
	if got := newLabelSet(map[string]string{"a": "b\x00kind\x00sensor", "c\x00kind": "sensor", "team": "a"}).asMap(); !maps.Equal(got, map[string]string{"team": "a"}) {
		t.Errorf("a label makes others: %q", got)
	}
}
