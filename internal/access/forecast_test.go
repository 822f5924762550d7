package access_test

import (
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
)

// TestForecast: what a forecast says of an instant is what is decided at it, in worlds of all kinds.
func TestForecast(t *testing.T) {
	for seed := range int64(150) {
		r := rand.New(rand.NewSource(seed))
		w := world{map[access.Ref]metav1.Object{}, map[string]bool{}}
		for range 40 {
			w.change(r)
		}
		agree(t, fmt.Sprintf("seed %d", seed), w.fresh())
	}
}

// agree compares forecasts with decisions, for all clients and APIs of the small world.
func agree(t *testing.T, world string, x *access.Index) {
	t.Helper()
	for _, asked := range [][]string{nil, {"write", "read", "unknown"}, {"read:1:write", "write:1", "*:*"}} {
		all := x.Forecast(types.NamespacedName{}, asked, epoch)
		for _, ns := range namespaces {
			for _, name := range clientNames {
				outlooks := all.Client(keyed(ns, name))
				for _, o := range outlooks {
					alone := x.Forecast(o.ApiResource, asked, epoch).Client(keyed(ns, name))
					if len(alone) != 1 || fmt.Sprintf("%+v", *alone[0]) != fmt.Sprintf("%+v", *o) {
						t.Errorf("%s: %s/%s alone of %s: %+v, among all %+v", world, ns, name, o.ApiResource, alone, o)
					}
				}
				for at := epoch; at.Before(hour(instants + 1)); at = at.Add(30 * time.Minute) {
					got, want := foreseen(outlooks, at), decided(x, ns+"."+name, asked, at)
					if !slices.Equal(got, want) {
						t.Fatalf("%s: %s.%s asks for %q at %s: foreseen\n%s\ndecided\n%s",
							world, ns, name, asked, at, strings.Join(got, "\n"), strings.Join(want, "\n"))
					}
				}
			}
		}
	}
}

// foreseen is what outlooks say of one instant.
func foreseen(outlooks []*access.Outlook, at time.Time) (out []string) {
	for _, o := range outlooks {
		for _, s := range o.Scopes {
			var givers []access.Giver
			for _, term := range s.Terms {
				if !at.Before(term.From) && (term.Until.IsZero() || at.Before(term.Until)) {
					givers = append(givers, term.Giver)
				}
			}
			if len(givers) > 0 {
				out = append(out, said(o.Audience, s.Name, o.Lifetime, o.Rules, givers))
			}
		}
	}
	slices.Sort(out)
	return out
}

func decided(x *access.Index, client string, asked []string, at time.Time) (out []string) {
	for _, issuer := range issuers {
		for _, audience := range identifiers {
			d := x.Decide(access.Request{Issuer: issuer, ClientID: client, Audience: audience, Scopes: asked, Standing: true}, at)
			if d.Outcome != access.OutcomeGranted {
				continue
			}
			for _, s := range d.Granted {
				givers := s.Givers
				if len(givers) == 0 {
					givers = []access.Giver{{}}
				}
				out = append(out, said(d.Audience, s.Name, d.Lifetime, d.Rules, givers))
			}
		}
	}
	slices.Sort(out)
	return out
}

func said(audience, scope string, lifetime time.Duration, rules []string, givers []access.Giver) string {
	givers = slices.SortedFunc(slices.Values(givers), func(a, b access.Giver) int { return strings.Compare(a.Grant.Name, b.Grant.Name) })
	return fmt.Sprintf("%s %s %s %q %+v", audience, scope, lifetime, rules, givers)
}

// TestForecastOfCostlyExpressions: where expressions cost more together than a request has, which of them fail depends on
// which grants are in force.
func TestForecastOfCostlyExpressions(t *testing.T) {
	api := anAPI("a", "x", 1, "read", "write")
	client := aClient(nil)
	client.Namespace, client.Name = "a", "x"
	x := indexOf(anIssuer(), api, client)
	costly := v1alpha1.Expression("lists.range(900).all(i, client.name != 'y'" + strings.Repeat(" && client.name + string(i) != 'y'", 6) + ")")
	for i := range 9 {
		grant := aGrant(api, v1alpha1.GrantSubject{Namespace: "a", Name: "x"}, "read")
		grant.Name = fmt.Sprintf("g%d", i)
		grant.Spec.NotBefore, grant.Spec.ExpiresAt = &metav1.Time{Time: hour(i % 3)}, &metav1.Time{Time: hour(2 + i%4)}
		grant.Spec.Conditions = []v1alpha1.PolicyCondition{{Expression: costly, Message: "no"}}
		x.Upsert(grant)
	}
	agree(t, "costly", x)
	d := x.Decide(access.Request{Issuer: "default", ClientID: "a.x", Audience: "https://one.example.com", Standing: true}, hour(2))
	if n := len(d.Granted[0].Givers); n == 0 || n == 6 {
		t.Errorf("%d of 6 grants give the scope: the expressions do not cost what the test is about", n)
	}
}

// fleet is an index of clients with labels, and of APIs with a grant each to all of them, which end one after the other.
func fleet(clients, apis int) *access.Index {
	x := indexOf(anIssuer())
	for i := range clients {
		client := aClient(map[string]string{"kind": "sensor"})
		client.Name = fmt.Sprintf("job-%d", i)
		x.Upsert(client)
	}
	for i := range apis {
		api := anAPI("courses", fmt.Sprintf("api-%d", i), 1, "read", "write")
		api.Spec.Identifier = fmt.Sprintf("https://api-%d.example.com", i)
		x.Upsert(api)
		grant := aGrant(api, toSensors, "read")
		grant.Name, grant.Spec.ExpiresAt = api.Name, &metav1.Time{Time: hour(1 + i)}
		x.Upsert(grant)
	}
	return x
}

func forecast(x *access.Index, clients int) *access.Forecast {
	f := x.Forecast(types.NamespacedName{}, nil, epoch)
	for i := range clients {
		f.Client(keyed("jobs", fmt.Sprintf("job-%d", i)))
	}
	return f
}

// TestForecastOfManyIsThatOfOne: clients for whom the same grants count need no work of their own.
func TestForecastOfManyIsThatOfOne(t *testing.T) {
	x := fleet(300, 20)
	if n := forecast(x, 300).Outlooks(); n != 20 {
		t.Errorf("%d outlooks were worked out for 300 equal clients of 20 APIs", n)
	}
	other := aClient(map[string]string{"kind": "sensor"})
	other.Name, other.Spec.TokenLifetime = "job-7", &metav1.Duration{Duration: time.Minute}
	x.Upsert(other)
	if n := forecast(x, 300).Outlooks(); n != 40 {
		t.Errorf("%d outlooks were worked out for 299 equal clients of 20 APIs and another one", n)
	}
}

func BenchmarkForecast(b *testing.B) {
	x := fleet(900, 50)
	b.ReportAllocs()
	for b.Loop() {
		forecast(x, 900)
	}
}
