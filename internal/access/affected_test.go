package access_test

import (
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
)

// Who is woken by what: no fewer, which TestAffectedIsComplete shows too, and no more.
func TestAffected(t *testing.T) {
	older, younger, other := anAPI("a", "older", 2, "read"), anAPI("b", "younger", 1, "read"), anAPI("a", "other", 1, "read")
	other.Spec.Identifier = "https://two.example.com"
	olderGrant, youngerGrant, otherGrant := aGrant(older, toJob, "read"), aGrant(younger, v1alpha1.GrantSubject{
		Namespace: "fleet", Selector: &v1alpha1.ClientSelector{MatchLabels: map[string]string{"kind": "sensor"}},
	}, "read"), aGrant(other, toJob, "read")
	otherGrant.Name = "other-grant"
	sensor, gate := aClient(map[string]string{"kind": "sensor"}), aClient(map[string]string{"kind": "gate"})
	sensor.Namespace, sensor.Name, gate.Namespace, gate.Name = "fleet", "sensor", "fleet", "gate"
	foreign := aClient(nil)
	foreign.Name, foreign.Spec.IssuerRef.Name = "foreign", "edge"
	index := access.NewIndex("m2m-system")
	index.Collide()
	for _, object := range []metav1.Object{anIssuer(), older, younger, other, olderGrant, youngerGrant, otherGrant, aClient(nil), sensor, gate, foreign} {
		index.Upsert(object)
	}

	rivals := []string{
		"ApiResource a/older", "ApiResource b/younger", "M2MClient fleet/sensor", "M2MClient jobs/job",
		"ScopeGrant a/grant", "ScopeGrant b/grant",
	}
	for ref, want := range map[access.Ref][]string{
		access.RefOf(olderGrant):   {"ApiResource a/older", "M2MClient jobs/job", "ScopeGrant a/grant"},
		access.RefOf(youngerGrant): {"ApiResource b/younger", "M2MClient fleet/sensor", "ScopeGrant b/grant"},
		access.RefOf(older):        rivals,
		access.RefOf(younger):      rivals,
		access.RefOf(other):        {"ApiResource a/other", "M2MClient jobs/job", "ScopeGrant a/other-grant"},
		access.RefOf(aClient(nil)): {"M2MClient jobs/job", "ScopeGrant a/grant", "ScopeGrant a/other-grant"},
		access.RefOf(sensor):       {"M2MClient fleet/sensor", "ScopeGrant b/grant"},
		access.RefOf(gate):         {"M2MClient fleet/gate"},
		access.RefOf(anIssuer()): {
			"ApiResource a/older", "ApiResource a/other", "ApiResource b/younger", "M2MClient fleet/gate",
			"M2MClient fleet/sensor", "M2MClient jobs/job", "ScopeGrant a/grant", "ScopeGrant a/other-grant",
			"ScopeGrant b/grant", "TokenIssuer default",
		},
		{Kind: access.KindTokenIssuer, Name: "edge"}: {"M2MClient jobs/foreign", "TokenIssuer edge"},
	} {
		if got := refStrings(index.Affected(ref)); !slices.Equal(got, want) {
			t.Errorf("%s affects\n%q, want\n%q", ref, got, want)
		}
	}
	want := []string{"M2MClient fleet/gate", "M2MClient fleet/sensor", "ScopeGrant b/grant"}
	if got := refStrings(index.AffectedByNamespace("fleet")); !slices.Equal(got, want) {
		t.Errorf("namespace fleet affects\n%q, want\n%q", got, want)
	}
}

func refStrings(refs []access.Ref) []string {
	var out []string
	for _, ref := range refs {
		out = append(out, ref.String())
	}
	return out
}

// Whoever names a ServiceAccount keeps younger clients from it, or has it from an older one.
func TestRivalsForAServiceAccountAreAffected(t *testing.T) {
	client := func(name, account string) *v1alpha1.M2MClient {
		c := aClient(nil)
		c.Name, c.Spec.ServiceAccountName = name, account
		c.Spec.Authentication = []v1alpha1.AuthenticationMethod{v1alpha1.AuthenticateByServiceAccount}
		return c
	}
	bySecret := aClient(nil)
	bySecret.Name = "by-secret"
	index := indexOf(anIssuer(), client("first", "runner"), client("second", "runner"), client("third", "sweeper"), bySecret)
	for name, want := range map[string][]string{
		"first":     {"M2MClient jobs/first", "M2MClient jobs/second"},
		"third":     {"M2MClient jobs/third"},
		"by-secret": {"M2MClient jobs/by-secret"},
	} {
		if got := refStrings(index.Affected(access.Ref{Kind: access.KindM2MClient, Namespace: "jobs", Name: name})); !slices.Equal(got, want) {
			t.Errorf("%s affects %q, want %q", name, got, want)
		}
	}
}
