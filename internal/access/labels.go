package access

import (
	"maps"
	"slices"
	"unique"

	"k8s.io/apimachinery/pkg/labels"
)

// labelSet is a client's labels. Clients have few, and a map of their own would be larger than all else that is kept of
// them.
type labelSet []label

type label struct{ name, value string }

var _ labels.Labels = (*labelSet)(nil)

func newLabelSet(from map[string]string) labelSet {
	if len(from) == 0 {
		return nil
	}
	out := make(labelSet, 0, len(from))
	for _, name := range slices.Sorted(maps.Keys(from)) {
		out = append(out, label{shared(name), shared(from[name])})
	}
	return out
}

// Lookup implements labels.Labels.
func (s *labelSet) Lookup(name string) (value string, exists bool) {
	for _, l := range *s {
		if l.name == name {
			return l.value, true
		}
	}
	return "", false
}

// Has implements labels.Labels.
func (s *labelSet) Has(name string) bool {
	_, exists := s.Lookup(name)
	return exists
}

// Get implements labels.Labels.
func (s *labelSet) Get(name string) string {
	value, _ := s.Lookup(name)
	return value
}

// asMap is what expressions look at.
func (s labelSet) asMap() map[string]string {
	out := make(map[string]string, len(s))
	for _, l := range s {
		out[l.name] = l.value
	}
	return out
}

// shared is the same text, which objects that come at about the same time have in common: namespaces, labels and scopes
// are written in thousands of them.
func shared(text string) string { return unique.Make(text).Value() }
