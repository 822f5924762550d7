package access

import (
	"maps"
	"slices"
	"strings"
	"unique"

	"k8s.io/apimachinery/pkg/labels"
)

// labelSet is a client's labels as one text, names and values in turn, each ended by a byte that neither can hold. Many
// clients have the same labels, and share it; a map of their own would be larger than all else that is kept of them.
type labelSet string

// endOfText ends each.
const endOfText = "\x00"

var _ labels.Labels = (*labelSet)(nil)

func newLabelSet(from map[string]string) labelSet {
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(from)) {
		if strings.Contains(name+from[name], endOfText) {
			continue // in a manifest that no API server takes
		}
		text.WriteString(name + endOfText + from[name] + endOfText)
	}
	return labelSet(shared(text.String()))
}

// first is the first label, and the others.
func (s labelSet) first() (name, value string, others labelSet) {
	name, rest, _ := strings.Cut(string(s), endOfText)
	value, rest, _ = strings.Cut(rest, endOfText)
	return name, value, labelSet(rest)
}

// Lookup implements labels.Labels.
func (s *labelSet) Lookup(label string) (value string, exists bool) {
	for rest := *s; rest != ""; {
		var name string
		if name, value, rest = rest.first(); name == label {
			return value, true
		}
	}
	return "", false
}

// Has implements labels.Labels.
func (s *labelSet) Has(label string) bool {
	_, exists := s.Lookup(label)
	return exists
}

// Get implements labels.Labels.
func (s *labelSet) Get(label string) string {
	value, _ := s.Lookup(label)
	return value
}

// asMap is what expressions look at.
func (s labelSet) asMap() map[string]string {
	out := map[string]string{}
	for s != "" {
		var name, value string
		name, value, s = s.first()
		out[name] = value
	}
	return out
}

// shared is the same text, which objects that come at about the same time have in common: namespaces, labels and scopes
// are written in thousands of them.
func shared(text string) string { return unique.Make(text).Value() }
