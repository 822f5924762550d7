package conformance

import (
	"slices"
	"strconv"
	"testing"
)

// statement is a test for one statement of the checklist.
type statement struct {
	id, name string
	test     func(*testing.T)
}

func TestA1(t *testing.T)  { runAll(t, transport) }
func TestA2(t *testing.T)  { runAll(t, clientAuthentication) }
func TestA3(t *testing.T)  { runAll(t, privateKeys) }
func TestA4(t *testing.T)  { runAll(t, serviceAccountTokens) }
func TestA5(t *testing.T)  { runAll(t, grants) }
func TestA6(t *testing.T)  { runAll(t, responses) }
func TestA7(t *testing.T)  { runAll(t, accessTokens) }
func TestA8(t *testing.T)  { runAll(t, jwks) }
func TestA9(t *testing.T)  { runAll(t, metadata) }
func TestA10(t *testing.T) { runAll(t, introspection) }

func runAll(t *testing.T, statements []statement) {
	t.Parallel()
	for _, s := range statements {
		t.Run(s.id+"_"+s.name, func(t *testing.T) {
			t.Parallel()
			s.test(t)
		})
	}
}

// later says which statements speak of something that the server does not have yet.
var later = map[string]string{
	"J-12": "the keys of clients are in their specs: none is fetched",
}

// TestEveryStatementIsTested holds the numbers of the checklist: a statement without a test fails here.
func TestEveryStatementIsTested(t *testing.T) {
	t.Parallel()
	all := slices.Concat(transport, clientAuthentication, privateKeys, serviceAccountTokens, grants, responses, accessTokens, jwks, metadata, introspection)
	known := map[string]bool{}
	for section, count := range map[string]int{"T-": 12, "C-": 13, "J-": 13, "SA-": 8, "S-": 15, "R-": 9, "A-": 10, "JWKS-": 6, "M-": 8, "I-": 9} {
		for n := 1; n <= count; n++ {
			id := section + strconv.Itoa(n)
			known[id] = true
			tested := slices.ContainsFunc(all, func(s statement) bool { return s.id == id })
			if reason := later[id]; tested == (reason != "") {
				t.Errorf("%s: tested: %t, reason to come later: %q", id, tested, reason)
			}
		}
	}
	for _, s := range all {
		if !known[s.id] {
			t.Errorf("%s is not a statement of the checklist", s.id)
		}
	}
}
