package policy_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/m2m-operator/m2m-operator/internal/policy"
)

// FuzzCompile: whatever the expression, nothing panics, errors are fit for a status and a log, a value is valid JSON
// within its limits and the same each time, and what an evaluation costs was estimated.
func FuzzCompile(f *testing.F) {
	for _, seed := range []string{
		"", "client.namespace != 'sandbox'", "scopes", "{'tier': 'gold', 'limits': {'rps': 10}}", "client.labels[?'tier']",
		"cidr('10.0.0.0/8').containsIP(request.source)", "request.time.getHours('Europe/Berlin') < 6",
		"request.scopes.all(s, s in scopes)", "scopes.map(s, s.split(':')).flatten().sort().distinct()",
		"[0].map(x, [x, x]).map(x, [x, x]) == []", "'%s %d'.format([scopes, 1])", "scopes.sortBy(s, s).join(',')",
		"client.id.matches('^a+$')", "[1, 'a', 2.5, null, b'x', duration('1s')]", "math.greatest(1, 2.5)", "1 / 0",
		"sets.equivalent(scopes, request.scopes)", "{1: [dyn(2)]}[1].exists_one(x, x == 2)", "base64.encode(b'x').replace('e', 'ee')",
		"strings.quote(client.id).reverse().substring(1).charAt(0)", "[[1], [2]].flatten(3).slice(0, 1).last().orValue(3)",
		"optional.ofNonZeroValue(client.id).or(optional.of('x')).value()", "client.labels.filter(k, has(client.labels.x))",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, expression string) {
		claim, err := policy.CompileClaim("claim", expression)
		if err != nil {
			if text := err.Error(); len(text) > 512 || !utf8.ValidString(text) || strings.ContainsAny(text, "\n\r") {
				t.Fatalf("the error is not fit for a status: %q", text)
			}
			return
		}
		for _, in := range []*policy.Input{aNight(), theLargest()} {
			budget := policy.NewBudget()
			value, err := claim.Value(in, budget)
			if err != nil && (len(err.Error()) > 512 || !utf8.ValidString(err.Error()) || strings.ContainsAny(err.Error(), "\n\r")) {
				t.Fatalf("the error is not fit for a log: %q", err)
			}
			if value != nil && (len(value) > 2048 || !json.Valid(value)) {
				t.Fatalf("not a claim: %s", value)
			}
			// What a call costs whatever its arguments are is not what estimates are for.
			if budget.Spent() > claim.Estimate()+100 && budget.Spent() < policy.MaxCost {
				t.Fatalf("it cost %d, estimated were at most %d", budget.Spent(), claim.Estimate())
			}
			if again, _ := claim.Value(in, policy.NewBudget()); !bytes.Equal(value, again) {
				t.Fatalf("first %s, then %s", value, again)
			}
		}
	})
}
