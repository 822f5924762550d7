package review

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

// span is a time in which a client has a scope, and the conditions that a request must meet then. Which grant gives it is
// of no importance.
type span struct {
	from, until time.Time // zero: now, and never
	conditions  []string  // sorted, each once
}

// spansOf are the spans of some ways; those that follow each other on the same conditions are one.
func spansOf(ways []Way, rules []string) []span {
	var out []span
	for _, way := range ways {
		conditions := slices.Concat(way.Conditions, rules)
		slices.Sort(conditions)
		out = append(out, span{way.From, way.Until, slices.Compact(conditions)})
	}
	slices.SortStableFunc(out, func(a, b span) int { return a.from.Compare(b.from) })
	var joined []span
	for _, s := range out {
		i := slices.IndexFunc(joined, func(j span) bool { return slices.Equal(j.conditions, s.conditions) && !endsBefore(j, s.from) })
		if i < 0 {
			joined = append(joined, s)
		} else if endsBefore(joined[i], s.until) || s.until.IsZero() {
			joined[i].until = s.until
		}
	}
	return joined
}

// endsBefore reports whether the span ends before an instant; none does before now.
func endsBefore(s span, at time.Time) bool {
	return !s.until.IsZero() && s.until.Before(at)
}

// covers reports whether whoever has the one span has the other too.
func (s span) covers(other span) bool {
	if s.from.After(other.from) || (!s.until.IsZero() && (other.until.IsZero() || s.until.Before(other.until))) {
		return false
	}
	return !slices.ContainsFunc(s.conditions, func(c string) bool { return !slices.Contains(other.conditions, c) })
}

// covered reports whether each of the spans is covered by one of the others. Where it cannot be told, it is not: whether
// one expression implies another is not asked.
func covered(spans, by []span) bool {
	return !slices.ContainsFunc(spans, func(s span) bool {
		return !slices.ContainsFunc(by, func(b span) bool { return b.covers(s) })
	})
}

// mostWays are told of; the others are counted.
const mostWays = 5

// describeWays is what people want to know of ways: "grant courses/nightly-publisher, until 2027-01-01T00:00:00Z". Of many,
// those that are no others come first.
func describeWays(ways, others []Way, rules []string) string {
	var order []string
	grants := map[string][]Way{} // by their limits
	for _, way := range ways {
		l := limits(way)
		if _, known := grants[l]; !known {
			order = append(order, l)
		}
		grants[l] = append(grants[l], way)
	}
	if len(order) > mostWays {
		old := map[string]bool{}
		for _, way := range others {
			old[limits(way)] = true
		}
		slices.SortStableFunc(order, func(a, b string) int { return compareFlags(old[a], old[b]) })
	}
	var parts []string
	for _, l := range order[:min(len(order), mostWays)] {
		parts = append(parts, grantsOf(grants[l])+l)
	}
	out := strings.Join(parts, ", or ")
	if more := len(order) - mostWays; more > 0 {
		out += fmt.Sprintf(", or in %d more ways", more)
	}
	if len(rules) > 0 {
		out += ", by rules: " + strings.Join(rules, " && ")
	}
	return out
}

// compareFlags orders what is not set before what is.
func compareFlags(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// grantsOf is "grant courses/nightly-publisher", or "grants ..., ...".
func grantsOf(ways []Way) string {
	var names []string
	for _, way := range ways {
		if way.Grant != "" {
			names = append(names, way.Grant)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	switch len(names) {
	case 0:
		return "authorization: " + string(v1alpha1.AuthorizationAnyClient)
	case 1:
		return "grant " + names[0]
	}
	return "grants " + few(names)
}

func limits(way Way) string {
	var out string
	if !way.From.IsZero() {
		out += ", from " + way.From.Format(time.RFC3339)
	}
	if !way.Until.IsZero() {
		out += ", until " + way.Until.Format(time.RFC3339)
	}
	if len(way.Conditions) > 0 {
		out += ", if " + strings.Join(way.Conditions, " && ")
	}
	return out
}

// duration reads what Access.TokenLifetime holds.
func duration(text string) time.Duration {
	d, _ := time.ParseDuration(text) // it was written by time.Duration
	return d
}
