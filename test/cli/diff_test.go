package cli

import (
	"strings"
	"testing"
)

// TestDiff: what manifests would change that are the first of a namespace, and those that come to nothing.
func TestDiff(t *testing.T) {
	settled(t)
	for name, c := range map[string]struct{ user, line string }{
		"diff-first":       {"new-team", "diff -f testdata/first -n newteam --fail-on-widening"},
		"diff-first-admin": {"admin", "diff -f testdata/first --fail-on-widening"},
		"diff-nowhere":     {"admin", "diff -f testdata/nowhere --fail-on-widening"},
	} {
		t.Run(name, func(t *testing.T) {
			got := kubectl(t, c.user, strings.Fields(c.line)...)
			golden(t, name, "$ kubectl m2m "+c.line+"   # as "+c.user+"\n", got)
		})
	}
}
