package policy_test

import (
	"os"
	"regexp"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/m2m-operator/m2m-operator/internal/policy"
)

// The examples of the documentation hold for the request of these tests, and give what they promise.
func TestDocumentedExamples(t *testing.T) {
	text, err := os.ReadFile("../../docs/reference/expressions.md")
	if err != nil {
		t.Fatal(err)
	}
	claims := map[string]string{
		"scp":                      `["courses:publish"]`,
		"permissions":              `["courses:publish"]`,
		"gty":                      `"client-credentials"`,
		"azp":                      `"jobs.publisher"`,
		"cid":                      `"jobs.publisher"`,
		"https://example.com/plan": `{"apis":["course-api"],"limits":{"burst":1.5,"rps":10},"tier":"gold"}`,
		"team":                     ``,
		"roles":                    `["publisher"]`,
	}
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(text, -1)
	if len(blocks) < 10 {
		t.Errorf("there are %d examples", len(blocks))
	}
	for _, block := range blocks {
		var example struct {
			Conditions, Rules []struct{ Expression, Message string }
			Claims            []struct{ Name, Expression string }
		}
		if err := yaml.UnmarshalStrict(block[1], &example); err != nil {
			t.Fatalf("%v in\n%s", err, block[1])
		}
		for _, e := range append(example.Conditions, example.Rules...) {
			c, err := policy.CompileCondition(e.Expression)
			if err != nil {
				t.Errorf("%s: %v", e.Expression, err)
			} else if holds, err := c.Holds(aNight(), policy.NewBudget()); !holds || err != nil {
				t.Errorf("%s: %v %v", e.Expression, holds, err)
			}
		}
		for _, e := range example.Claims {
			c, err := policy.CompileClaim(e.Name, e.Expression)
			if err != nil {
				t.Errorf("%s: %v", e.Expression, err)
				continue
			}
			want, known := claims[e.Name]
			if value, err := c.Value(aNight(), policy.NewBudget()); !known || err != nil || string(value) != want {
				t.Errorf("%s: %s %v, want %s", e.Name, value, err, want)
			}
		}
	}
}
