package access_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
)

// poisonClients is how many clients there are that the poison's selectors match, and that wish for all it has.
const poisonClients = 5000

// costly is an expression that costs nearly as much as one evaluation may.
const costly = "lists.range(1000).all(i, lists.range(500).size() == 500)"

// request is an ordinary one.
var request = access.Request{Issuer: "default", ClientID: "jobs.publisher", Audience: "https://courses.example.com", Scopes: []string{"read"}}

// TestPoisonCostsNobodyElse: an ApiResource and its grant with every field at its limit, over thousands of clients, add
// nothing to the work that others' objects are, for issuers and for controllers. What is counted is allocations, which do
// not depend on the machine.
func TestPoisonCostsNobodyElse(t *testing.T) {
	now := time.Now()
	clean, poisoned := access.NewIndex("m2m-system"), access.NewIndex("m2m-system")
	ordinary(clean)
	ordinary(poisoned)
	poison(poisoned)
	if d := poisoned.Decide(request, now); d.Outcome != access.OutcomeGranted {
		t.Fatalf("%s: %s", d.Outcome, d.Message)
	}
	if v, ok := poisoned.GrantVerdict(keyed("poison", "grant"), now); !ok || !v.Accepted.OK || !v.ResolvedRefs.OK || v.MatchedClients != poisonClients {
		t.Fatalf("this is no poison: %+v", v)
	}
	for name, do := range map[string]func(*access.Index){
		"a request":                func(x *access.Index) { x.Decide(request, now) },
		"an M2MClient's verdict":   func(x *access.Index) { x.ClientVerdict(keyed("jobs", "publisher"), now) },
		"a ScopeGrant's verdict":   func(x *access.Index) { x.GrantVerdict(keyed("courses", "nightly"), now) },
		"an ApiResource's verdict": func(x *access.Index) { x.ApiResourceVerdict(keyed("courses", "courses"), now) },
		"whom an M2MClient affects": func(x *access.Index) {
			x.Affected(access.Ref{Kind: access.KindM2MClient, Namespace: "jobs", Name: "publisher"})
		},
		"whom a ScopeGrant affects": func(x *access.Index) {
			x.Affected(access.Ref{Kind: access.KindScopeGrant, Namespace: "courses", Name: "nightly"})
		},
	} {
		without, with := measure(clean, do), measure(poisoned, do)
		t.Logf("%s: %s; with poison %s", name, without, with)
		if with.allocations > without.allocations {
			t.Errorf("%s allocates %.0f times, and %.0f times beside the poison", name, without.allocations, with.allocations)
		}
	}
}

// TestPoisonKeepsNobodyWaiting: while it is counted who wishes for what the poison has, which takes long, the index takes
// in changes, and decides.
func TestPoisonKeepsNobodyWaiting(t *testing.T) {
	x := access.NewIndex("m2m-system")
	ordinary(x)
	poison(x)
	begun, counted := time.Now(), make(chan time.Duration)
	go func() {
		v, _ := x.ApiResourceVerdict(keyed("poison", "api"), begun)
		if len(v.Pending) != 1 || v.Pending[0].Clients != poisonClients {
			t.Errorf("pending are %+v", v.Pending)
		}
		counted <- time.Since(begun)
	}()
	for handled := 0; ; handled++ {
		select {
		case took := <-counted:
			t.Logf("the count took %s, and %d changes were taken in meanwhile, each followed by a decision", took, handled)
			if handled < 10 {
				t.Errorf("only %d changes were taken in meanwhile", handled)
			}
			return
		default:
		}
		ordinary(x)
		if d := x.Decide(request, begun); d.Outcome != access.OutcomeGranted {
			t.Fatalf("%s: %s", d.Outcome, d.Message)
		}
	}
}

type cost struct {
	allocations float64
	took        time.Duration
}

func (c cost) String() string { return fmt.Sprintf("%.0f allocations, %s", c.allocations, c.took) }

func measure(x *access.Index, do func(*access.Index)) cost {
	const times = 200
	begun := time.Now()
	n := testing.AllocsPerRun(times, func() { do(x) })
	return cost{n, time.Since(begun) / (times + 1)}
}

// ordinary is a small installation.
func ordinary(x *access.Index) {
	issuer := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	api := &v1alpha1.ApiResource{ObjectMeta: metav1.ObjectMeta{Namespace: "courses", Name: "courses"}}
	api.Spec.IssuerRef.Name, api.Spec.Identifier = "default", "https://courses.example.com"
	api.Spec.Scopes = []v1alpha1.ApiScope{{Name: "read"}, {Name: "write"}}
	c := &v1alpha1.M2MClient{ObjectMeta: metav1.ObjectMeta{Namespace: "jobs", Name: "publisher", Labels: map[string]string{"kind": "job"}}}
	c.Spec.IssuerRef.Name = "default"
	c.Spec.Requests = []v1alpha1.AccessRequest{{ApiResource: v1alpha1.NamespacedReference{Namespace: "courses", Name: "courses"}, Scopes: []v1alpha1.ScopeName{"write"}}}
	grant := &v1alpha1.ScopeGrant{ObjectMeta: metav1.ObjectMeta{Namespace: "courses", Name: "nightly"}}
	grant.Spec.ApiResourceRef.Name = "courses"
	grant.Spec.Scopes = []v1alpha1.ScopeName{"read"}
	grant.Spec.Subjects = []v1alpha1.GrantSubject{{Namespace: "jobs", Selector: &v1alpha1.ClientSelector{MatchLabels: map[string]string{"kind": "job"}}}}
	for _, object := range []metav1.Object{issuer, api, c, grant} {
		x.Upsert(object)
	}
}

// poison is one object of each kind that a tenant writes, with every list at its limit, and expressions that cost about
// what one evaluation may.
func poison(x *access.Index) {
	api := &v1alpha1.ApiResource{ObjectMeta: metav1.ObjectMeta{Namespace: "poison", Name: "api"}}
	api.Spec.IssuerRef.Name, api.Spec.Identifier = "default", "https://poison.example.com/"+strings.Repeat("x", 200)
	var all []v1alpha1.ScopeName
	for i := range 512 {
		name := v1alpha1.ScopeName(fmt.Sprintf("scope-%03d-%s", i, strings.Repeat("x", 50)))
		all = append(all, name)
		api.Spec.Scopes = append(api.Spec.Scopes, v1alpha1.ApiScope{Name: name})
	}
	grant := &v1alpha1.ScopeGrant{ObjectMeta: metav1.ObjectMeta{Namespace: "poison", Name: "grant"}}
	grant.Spec.ApiResourceRef.Name = "api"
	grant.Spec.Scopes = all
	for i := range 64 {
		role := v1alpha1.RoleName(fmt.Sprintf("role-%d", i))
		api.Spec.Roles = append(api.Spec.Roles, v1alpha1.ApiRole{Name: role, Scopes: all})
		grant.Spec.Roles = append(grant.Spec.Roles, role)
	}
	for range 16 {
		api.Spec.Rules = append(api.Spec.Rules, v1alpha1.PolicyCondition{Expression: costly, Message: "no"})
	}
	for range 8 {
		grant.Spec.Conditions = append(grant.Spec.Conditions, v1alpha1.PolicyCondition{Expression: costly, Message: "no"})
	}
	for i := range 256 { // in the ordinary client's namespace too, where nobody has the label
		selector := &v1alpha1.ClientSelector{MatchLabels: map[string]string{"poison": "yes"}}
		for j := range 16 {
			e := v1alpha1.ClientSelectorRequirement{Key: fmt.Sprintf("absent-%d", j), Operator: metav1.LabelSelectorOpNotIn}
			for k := range 64 {
				e.Values = append(e.Values, fmt.Sprint(k))
			}
			selector.MatchExpressions = append(selector.MatchExpressions, e)
		}
		grant.Spec.Subjects = append(grant.Spec.Subjects, v1alpha1.GrantSubject{
			Namespace: []v1alpha1.NamespaceName{"poison", "fleet", "jobs"}[i%3], Selector: selector})
	}
	x.Upsert(api)
	x.Upsert(grant)
	for i := range poisonClients {
		c := &v1alpha1.M2MClient{ObjectMeta: metav1.ObjectMeta{Namespace: "fleet", Name: fmt.Sprintf("client-%d", i), Labels: map[string]string{"poison": "yes"}}}
		c.Spec.IssuerRef.Name = "default"
		c.Spec.Requests = []v1alpha1.AccessRequest{{ApiResource: v1alpha1.NamespacedReference{Namespace: "poison", Name: "api"}, Scopes: all[:64]}}
		x.Upsert(c)
	}
}
