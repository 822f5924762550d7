package review

import (
	"testing"
	"time"
)

func day(n int) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC)
}

func way(from, until int, conditions ...string) Way {
	return Way{Grant: "a/b", From: day(from), Until: day(until), Conditions: conditions}
}

// TestCovered: what is the same, what is more, and what cannot be told, which counts as more.
func TestCovered(t *testing.T) {
	for name, c := range map[string]struct {
		before, after   []Way
		rules           []string // of the API, afterwards
		widens, narrows bool
	}{
		"the same":                            {before: []Way{way(0, 0)}, after: []Way{way(0, 0)}},
		"by two grants":                       {before: []Way{way(0, 0)}, after: []Way{way(0, 0), way(0, 9)}},
		"one after the other":                 {before: []Way{way(0, 9)}, after: []Way{way(0, 5), way(5, 9)}},
		"one beside the other":                {before: []Way{way(0, 9)}, after: []Way{way(0, 7), way(5, 9)}},
		"conditions in another order":         {before: []Way{way(0, 0, "a", "b")}, after: []Way{way(0, 0, "b", "a", "b")}},
		"a condition that is the rule":        {before: []Way{way(0, 0, "a")}, after: []Way{way(0, 0)}, rules: []string{"a"}},
		"longer":                              {before: []Way{way(0, 5)}, after: []Way{way(0, 9)}, widens: true},
		"for ever":                            {before: []Way{way(0, 5)}, after: []Way{way(0, 0)}, widens: true},
		"shorter":                             {before: []Way{way(0, 9)}, after: []Way{way(0, 5)}, narrows: true},
		"from an earlier day":                 {before: []Way{way(5, 9)}, after: []Way{way(3, 9)}, widens: true},
		"from a later day":                    {before: []Way{way(0, 9)}, after: []Way{way(3, 9)}, narrows: true},
		"with a gap":                          {before: []Way{way(0, 9)}, after: []Way{way(0, 4), way(5, 9)}, narrows: true},
		"without a gap":                       {before: []Way{way(0, 4), way(5, 9)}, after: []Way{way(0, 9)}, widens: true},
		"on a condition":                      {before: []Way{way(0, 0)}, after: []Way{way(0, 0, "a")}, narrows: true},
		"on a condition less":                 {before: []Way{way(0, 0, "a", "b")}, after: []Way{way(0, 0, "a")}, widens: true},
		"on another condition":                {before: []Way{way(0, 0, "a")}, after: []Way{way(0, 0, "b")}, widens: true, narrows: true},
		"on either of two":                    {before: []Way{way(0, 0, "a")}, after: []Way{way(0, 0, "a"), way(0, 0, "b")}, widens: true},
		"on none beside one":                  {before: []Way{way(0, 0, "a"), way(0, 0)}, after: []Way{way(0, 0)}},
		"longer on a condition":               {before: []Way{way(0, 5)}, after: []Way{way(0, 5), way(0, 9, "a")}, widens: true},
		"shorter, and longer on a condition":  {before: []Way{way(0, 5)}, after: []Way{way(0, 3), way(0, 9, "a")}, widens: true, narrows: true},
		"for a while without the condition":   {before: []Way{way(0, 0, "a")}, after: []Way{way(0, 0, "a"), way(0, 3)}, widens: true},
		"a rule more":                         {before: []Way{way(0, 0)}, after: []Way{way(0, 0)}, rules: []string{"a"}, narrows: true},
		"ends, and begins again with no end":  {before: []Way{way(0, 5), way(5, 0)}, after: []Way{way(0, 0)}},
		"begins in between, and has no end":   {before: []Way{way(0, 5), way(3, 0)}, after: []Way{way(0, 0)}},
		"has no end, and one that does in it": {before: []Way{way(0, 0), way(3, 5)}, after: []Way{way(0, 0)}},
	} {
		before, after := spansOf(c.before, nil), spansOf(c.after, c.rules)
		if widens := !covered(after, before); widens != c.widens {
			t.Errorf("%s: widens is %v", name, widens)
		}
		if narrows := !covered(before, after); narrows != c.narrows {
			t.Errorf("%s: narrows is %v", name, narrows)
		}
	}
}
