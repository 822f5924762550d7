package policy_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/m2m-operator/m2m-operator/internal/policy"
)

// With the largest input, an expression either stays below its estimate or is cut off.
func TestCostLimit(t *testing.T) {
	for expression, cutOff := range map[string]bool{
		"client.id != ''":                                          false,
		"request.scopes.all(s, s.startsWith('0'))":                 false,
		"request.scopes.all(s, s in scopes)":                       false,
		"sets.contains(scopes, request.scopes)":                    false,
		"client.labels.all(k, k.size() > client.labels[k].size())": false,
		"client.labels == client.labels":                           false,
		"scopes.join(' ').size() == 66047":                         true,
		"scopes.map(s, s + s).size() == 512":                       false,
		"request.scopes.all(s, scopes.exists(t, s == t))":          true,
		"scopes.map(s, scopes) == scopes.map(s, scopes) && scopes.map(s, scopes) == scopes.map(s, scopes)": true,
		"client.labels.map(k, scopes) == client.labels.map(k, scopes)":                                     false,
		"[scopes, scopes, scopes].distinct() == [scopes]":                                                  false,
		"lists.range(600).distinct().size() == 600":                                                        false,
		"lists.range(900).distinct().size() == 900":                                                        true,
		"'%s'.format([scopes.map(s, scopes[0])]).size() > 0":                                               true,
		"scopes.map(s, scopes).exists(l, l == ['a'])":                                                      false,
		"lists.range(1000).all(i, lists.range(500).size() == 500)":                                         true,
		"client.id.matches('^(i|j)*$')":                                                                    false,
	} {
		c, err := policy.CompileCondition(expression)
		if err != nil {
			t.Errorf("%s: %v", expression, err)
			continue
		}
		budget := policy.NewBudget()
		holds, err := c.Holds(theLargest(), budget)
		switch {
		case cutOff && (holds || !errors.Is(err, policy.ErrCost) || err.Error() != "the expression costs too much: more than 50000 units"):
			t.Errorf("%s: %v %v, want it to be cut off", expression, holds, err)
		case !cutOff && err != nil:
			t.Errorf("%s: %v", expression, err)
		case budget.Spent() > c.Estimate():
			t.Errorf("%s cost %d, estimated were at most %d", expression, budget.Spent(), c.Estimate())
		}
	}
}

// The expressions of one request share one budget, and once it is spent none has a result any more.
func TestBudget(t *testing.T) {
	c, err := policy.CompileCondition("request.scopes.all(s, s in scopes)")
	if err != nil {
		t.Fatal(err)
	}
	one := policy.NewBudget()
	if holds, err := c.Holds(theLargest(), one); !holds || err != nil {
		t.Fatal(holds, err)
	}
	times := policy.MaxRequestCost / one.Spent()
	budget := policy.NewBudget()
	for i := range times {
		if holds, err := c.Holds(theLargest(), budget); !holds || err != nil {
			t.Fatalf("evaluation %d of %d: %v %v", i, times, holds, err)
		}
	}
	const want = "the expression costs too much: all expressions of the request together cost too much"
	for range 2 {
		if holds, err := c.Holds(theLargest(), budget); holds || !errors.Is(err, policy.ErrCost) || err.Error() != want {
			t.Errorf("%v %v, want %s", holds, err, want)
		}
	}
	if budget.Spent() != policy.MaxRequestCost {
		t.Errorf("%d units are spent", budget.Spent())
	}
	cheap, err := policy.CompileCondition("client.id != ''")
	if err != nil {
		t.Fatal(err)
	}
	if holds, err := cheap.Holds(aNight(), budget); holds || err == nil {
		t.Errorf("with a budget that is spent: %v %v", holds, err)
	}
	largest := theLargest()
	if n := testing.AllocsPerRun(10, func() { _, _ = c.Holds(largest, budget) }); n > 10 {
		t.Errorf("with a budget that is spent an evaluation is begun, which allocates %.0f times", n)
	}
}

func BenchmarkCondition(b *testing.B) {
	for _, expression := range []string{
		"client.namespace != 'sandbox'",
		"cidr('10.0.0.0/8').containsIP(request.source)",
		"request.time.getHours('Europe/Berlin') < 6",
		"request.scopes.all(s, s.startsWith('courses:'))",
	} {
		b.Run(strings.ReplaceAll(expression, "/", "|"), func(b *testing.B) {
			c, err := policy.CompileCondition(expression)
			if err != nil {
				b.Fatal(err)
			}
			in := aNight()
			b.ReportAllocs()
			for b.Loop() {
				if holds, err := c.Holds(in, policy.NewBudget()); !holds || err != nil {
					b.Fatal(holds, err)
				}
			}
		})
	}
}

func BenchmarkClaim(b *testing.B) {
	claim, err := policy.CompileClaim("permissions", "scopes")
	if err != nil {
		b.Fatal(err)
	}
	in := aNight()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := claim.Value(in, policy.NewBudget()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCostliest is what the most that an expression may cost takes.
func BenchmarkCostliest(b *testing.B) {
	c, err := policy.CompileCondition("request.scopes.all(s, scopes.exists(t, s == t))")
	if err != nil {
		b.Fatal(err)
	}
	in := theLargest()
	for b.Loop() {
		if _, err := c.Holds(in, policy.NewBudget()); !errors.Is(err, policy.ErrCost) {
			b.Fatal(fmt.Sprint(err))
		}
	}
}
