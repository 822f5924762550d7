package access_test

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
)

func at(n int) *metav1.Time { return &metav1.Time{Time: hour(n)} }

// Which reason a grant gives when several hold: what its owner wrote about it comes before what others did.
func TestActiveReason(t *testing.T) {
	bad := v1alpha1.GrantSubject{Namespace: "jobs", Selector: &v1alpha1.ClientSelector{}}
	for name, tc := range map[string]struct {
		change     func(*v1alpha1.ScopeGrant)
		want       string
		nextChange *metav1.Time
	}{
		"as written":    {func(*v1alpha1.ScopeGrant) {}, v1alpha1.ReasonActive, nil},
		"not begun":     {func(g *v1alpha1.ScopeGrant) { g.Spec.NotBefore = at(1) }, v1alpha1.ReasonNotYetActive, at(1)},
		"begins now":    {func(g *v1alpha1.ScopeGrant) { g.Spec.NotBefore = at(0) }, v1alpha1.ReasonActive, nil},
		"will end":      {func(g *v1alpha1.ScopeGrant) { g.Spec.ExpiresAt = at(1) }, v1alpha1.ReasonActive, at(1)},
		"ends now":      {func(g *v1alpha1.ScopeGrant) { g.Spec.ExpiresAt = at(0) }, v1alpha1.ReasonExpired, nil},
		"suspended too": {func(g *v1alpha1.ScopeGrant) { g.Spec.Suspend, g.Spec.ExpiresAt = true, at(0) }, v1alpha1.ReasonSuspended, nil},
		"upside down": {func(g *v1alpha1.ScopeGrant) {
			g.Spec.NotBefore, g.Spec.ExpiresAt = at(2), at(1)
		}, v1alpha1.ReasonNotYetActive, at(2)},
		"API missing": {func(g *v1alpha1.ScopeGrant) { g.Spec.ApiResourceRef.Name = "z" }, v1alpha1.ReasonApiResourceNotFound, nil},
		"expired and API missing": {func(g *v1alpha1.ScopeGrant) {
			g.Spec.ApiResourceRef.Name, g.Spec.ExpiresAt = "z", at(-1)
		}, v1alpha1.ReasonExpired, nil},
		"no scope known":   {func(g *v1alpha1.ScopeGrant) { g.Spec.Scopes[0] = "z" }, v1alpha1.ReasonUnknownScope, nil},
		"some scope known": {func(g *v1alpha1.ScopeGrant) { g.Spec.Scopes = append(g.Spec.Scopes, "z") }, v1alpha1.ReasonActive, nil},
		"no subject valid": {func(g *v1alpha1.ScopeGrant) { g.Spec.Subjects[0] = bad }, v1alpha1.ReasonInvalidSelector, nil},
		"some subject valid": {func(g *v1alpha1.ScopeGrant) {
			g.Spec.Subjects = append(g.Spec.Subjects, bad)
		}, v1alpha1.ReasonActive, nil},
	} {
		t.Run(name, func(t *testing.T) {
			api := anAPI("a", "x", 1, "read")
			grant := aGrant(api, toJob, "read")
			tc.change(grant)
			v, ok := indexOf(anIssuer(), api, grant).GrantVerdict(keyed("a", "grant"), epoch)
			if !ok || v.Active.Reason != tc.want || v.Active.OK != (tc.want == v1alpha1.ReasonActive) {
				t.Errorf("got %v %+v, want %s", ok, v.Active, tc.want)
			}
			var want time.Time
			if tc.nextChange != nil {
				want = tc.nextChange.Time
			}
			if !v.NextChange.Equal(want) {
				t.Errorf("NextChange is %s, want %s", v.NextChange, want)
			}
		})
	}
}

// Subjects that validation refuses, should one get by it, match nothing and say why.
func TestInvalidSubjectsMatchNothing(t *testing.T) {
	labelled := map[string]string{"kind": "sensor"}
	selector := func(expressions ...v1alpha1.ClientSelectorRequirement) *v1alpha1.ClientSelector {
		return &v1alpha1.ClientSelector{MatchExpressions: expressions}
	}
	for name, subject := range map[string]v1alpha1.GrantSubject{
		"neither name nor selector":   {Namespace: "jobs"},
		"both name and selector":      {Namespace: "jobs", Name: "job", Selector: &v1alpha1.ClientSelector{MatchLabels: labelled}},
		"empty selector":              {Namespace: "jobs", Selector: selector()},
		"key that is no label":        {Namespace: "jobs", Selector: selector(v1alpha1.ClientSelectorRequirement{Key: "a/b/c", Operator: "DoesNotExist"})},
		"value that is no label":      {Namespace: "jobs", Selector: selector(v1alpha1.ClientSelectorRequirement{Key: "kind", Operator: "NotIn", Values: []string{"a b"}})},
		"unknown operator":            {Namespace: "jobs", Selector: selector(v1alpha1.ClientSelectorRequirement{Key: "kind", Operator: "Like", Values: []string{"s"}})},
		"values where none belong":    {Namespace: "jobs", Selector: selector(v1alpha1.ClientSelectorRequirement{Key: "kind", Operator: "Exists", Values: []string{"s"}})},
		"no values where some belong": {Namespace: "jobs", Selector: selector(v1alpha1.ClientSelectorRequirement{Key: "kind", Operator: "NotIn"})},
	} {
		t.Run(name, func(t *testing.T) {
			api := anAPI("a", "x", 1, "read")
			index := indexOf(anIssuer(), api, aClient(labelled), aGrant(api, subject, "read"))
			v, _ := index.GrantVerdict(keyed("a", "grant"), epoch)
			if v.Accepted.OK || v.Accepted.Reason != v1alpha1.ReasonInvalidSelector ||
				!strings.HasPrefix(v.Accepted.Message, "spec.subjects[0]: ") {
				t.Errorf("Accepted is %+v", v.Accepted)
			}
			if v.MatchedClients != 0 || granted(index) != nil {
				t.Errorf("it matches %d clients and grants %v", v.MatchedClients, granted(index))
			}
		})
	}
}

// A message that named now one mistake and now the other would make the controllers write status for ever.
func TestSelectorMessageIsStable(t *testing.T) {
	labels := map[string]string{"no label": "x", "nor is this": "x", "!": "x", "?": "x"}
	api := anAPI("a", "x", 1, "read")
	subject := v1alpha1.GrantSubject{Namespace: "jobs", Selector: &v1alpha1.ClientSelector{MatchLabels: labels}}
	messages := map[string]bool{}
	for range 50 {
		v, _ := indexOf(api, aGrant(api, subject, "read")).GrantVerdict(keyed("a", "grant"), epoch)
		messages[v.Accepted.Message] = true
	}
	if len(messages) != 1 {
		t.Errorf("%d messages for one selector", len(messages))
	}
}

// Messages name the first few of a long list, and bound what a stranger's list can make of a status or a log line.
func TestMessagesAreBounded(t *testing.T) {
	api := anAPI("a", "x", 1, "read")
	grant := aGrant(api, toJob)
	for i := range 512 {
		grant.Spec.Scopes = append(grant.Spec.Scopes, v1alpha1.ScopeName(strings.Repeat("z", 100)+hour(i).Format("0102T15")))
		grant.Spec.Subjects = append(grant.Spec.Subjects, v1alpha1.GrantSubject{Namespace: "jobs"})
	}
	v, _ := indexOf(anIssuer(), api, grant).GrantVerdict(keyed("a", "grant"), epoch)
	for _, f := range []access.Finding{v.Accepted, v.ResolvedRefs, v.Active} {
		if len(f.Message) > 1000 || (!f.OK && !strings.Contains(f.Message, "and 507 more")) {
			t.Errorf("%d bytes: %s", len(f.Message), f.Message)
		}
	}
}
