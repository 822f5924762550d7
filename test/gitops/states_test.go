package gitops

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

// kinds are all of the product's.
var kinds = []string{"TokenIssuer", "ApiResource", "M2MClient", "ScopeGrant"}

// state is an object that is in one, with the reason that its Ready has then, and what kstatus says of it.
type state struct {
	name   string
	object client.Object
	reason string
	want   status.Status
}

// TestHealth plays every kind through its states, and asks kstatus, and Argo CD's health check, what each is.
func TestHealth(t *testing.T) {
	checks := healthChecks(t)
	seen := map[string]map[string]bool{}
	observe := func(states ...state) {
		t.Helper()
		for _, s := range states {
			kind := s.await(t, checks)
			if seen[kind] == nil {
				seen[kind] = map[string]bool{}
			}
			seen[kind][s.name] = true
		}
	}
	ensureNamespaces(t, "apis", "jobs")
	good := []client.Object{newIssuer("ready"), newAPI("ready", "ready"), newClient("ready", "ready"), newGrant("ready", "ready")}
	create(t, good...)
	for _, object := range good {
		observe(state{"new", object, v1alpha1.ReasonPending, status.InProgressStatus})
	}

	stop := startManager(t, suite.ManagerOptions{})
	for _, object := range good {
		observe(state{"ready", object, v1alpha1.ReasonReady, status.CurrentStatus})
	}
	waiting := waitingStates(t)
	observe(waiting...)
	observe(mistakes(t)...)
	observe(conflicts(t)...)
	observe(suspended(t)...)
	stop()

	for _, object := range good {
		change(t, object)
		observe(state{"changed, and not looked at", object, v1alpha1.ReasonReady, status.InProgressStatus})
	}
	startManager(t, suite.ManagerOptions{Now: ahead(2 * time.Minute)})
	for _, s := range waiting {
		observe(state{"a mistake after a minute", s.object, s.reason, status.FailedStatus})
	}
	for _, object := range good {
		observe(state{"ready", object, v1alpha1.ReasonReady, status.CurrentStatus})
	}
	for _, object := range good {
		if err := git.Delete(ctx, object, client.PropagationPolicy("Foreground")); err != nil {
			t.Fatal(err)
		}
		observe(state{"deleting", object, "", status.TerminatingStatus})
	}
	wantAllStates(t, seen)
}

// wantAllStates: no kind is left out of a state that it can be in. A TokenIssuer's name is its own and its URL may be
// another's too, so nothing conflicts with it; and APIs are not suspended, but the grants on them.
func wantAllStates(t *testing.T, seen map[string]map[string]bool) {
	t.Helper()
	for _, kind := range kinds {
		want := []string{"a mistake after a minute", "changed, and not looked at", "deleting", "in progress", "new", "ready", "user mistake"}
		if kind != "TokenIssuer" {
			want = append(want, "conflicting")
		}
		if kind == "M2MClient" || kind == "ScopeGrant" {
			want = append(want, "suspended")
		}
		slices.Sort(want)
		if got := slices.Sorted(maps.Keys(seen[kind])); !slices.Equal(got, want) {
			t.Errorf("%s was seen %q, want %q", kind, got, want)
		}
	}
}

// waitingStates name what the same commit may be about to bring.
func waitingStates(t *testing.T) []state {
	t.Helper()
	issuer := newIssuer("waiting")
	issuer.Spec.TLS = &v1alpha1.TokenIssuerTLS{SecretName: "absent"}
	out := []state{
		{"in progress", issuer, v1alpha1.ReasonTLSSecretNotFound, status.InProgressStatus},
		{"in progress", newAPI("absent", "waiting"), v1alpha1.ReasonIssuerNotFound, status.InProgressStatus},
		{"in progress", newClient("absent", "waiting"), v1alpha1.ReasonIssuerNotFound, status.InProgressStatus},
		{"in progress", newGrant("absent", "waiting"), v1alpha1.ReasonApiResourceNotFound, status.InProgressStatus},
	}
	for _, s := range out {
		create(t, s.object)
	}
	return out
}

// mistakes do not heal by waiting.
func mistakes(t *testing.T) []state {
	t.Helper()
	noCertificate := &corev1.Secret{ObjectMeta: named(suite.InstallNamespace, "no-certificate"), Data: map[string][]byte{"tls.crt": []byte("none")}}
	issuer := newIssuer("mistaken")
	issuer.Spec.TLS = &v1alpha1.TokenIssuerTLS{SecretName: noCertificate.Name}
	api := newAPI("ready", "mistaken")
	api.Spec.Token.SigningAlgorithm = v1alpha1.EdDSA
	stranger := &corev1.Secret{ObjectMeta: named("jobs", "mistaken")}
	grant := newGrant("ready", "mistaken")
	grant.Spec.Conditions = []v1alpha1.PolicyCondition{{Expression: "no("}}
	create(t, noCertificate, stranger, issuer, api, newClient("ready", "mistaken"), grant)
	return []state{
		{"user mistake", issuer, v1alpha1.ReasonTLSSecretInvalid, status.FailedStatus},
		{"user mistake", api, v1alpha1.ReasonUnsupportedAlgorithm, status.FailedStatus},
		{"user mistake", newClient("ready", "mistaken"), v1alpha1.ReasonSecretNotOwned, status.FailedStatus},
		{"user mistake", grant, v1alpha1.ReasonInvalidExpression, status.FailedStatus},
	}
}

// conflicts are over what another object has. A grant on an API that lost one waits for that to be settled.
func conflicts(t *testing.T) []state {
	t.Helper()
	api := newAPI("ready", "conflicting")
	api.Spec.Identifier = "https://ready.example.com/"
	accountOf := func(name string) *v1alpha1.M2MClient {
		c := newClient("ready", name)
		c.Spec.Authentication = []v1alpha1.AuthenticationMethod{v1alpha1.AuthenticateByServiceAccount}
		c.Spec.ServiceAccountName = "shared"
		return c
	}
	first, second := accountOf("account"), accountOf("conflicting")
	grant := newGrant("conflicting", "conflicting")
	create(t, api, first, second, grant)
	return []state{
		{"conflicting", api, v1alpha1.ReasonConflicted, status.FailedStatus},
		{"conflicting", second, v1alpha1.ReasonConflicted, status.FailedStatus},
		{"conflicting", grant, v1alpha1.ReasonApiResourceNotAccepted, status.InProgressStatus},
	}
}

// suspended objects are exactly as asked.
func suspended(t *testing.T) []state {
	t.Helper()
	c, grant := newClient("ready", "suspended"), newGrant("ready", "suspended")
	c.Spec.Suspend, grant.Spec.Suspend = true, true
	create(t, c, grant)
	return []state{
		{"suspended", c, v1alpha1.ReasonSuspended, status.CurrentStatus},
		{"suspended", grant, v1alpha1.ReasonReady, status.CurrentStatus},
	}
}

// change the spec of an object, to something as good.
func change(t *testing.T, object client.Object) {
	t.Helper()
	switch o := object.(type) {
	case *v1alpha1.TokenIssuer:
		o.Spec.Signing.Revision = "again"
	case *v1alpha1.ApiResource:
		o.Spec.DisplayName = "again"
	case *v1alpha1.M2MClient:
		o.Spec.DisplayName = "again"
	case *v1alpha1.ScopeGrant:
		o.Spec.Scopes = append(o.Spec.Scopes, "write")
	}
	suite.Save(t, git, object)
}

// await waits until the object is in the state, checks what Argo CD makes of that very object, and returns its kind.
func (s state) await(t *testing.T, checks map[string]string) string {
	t.Helper()
	gvk, err := git.GroupVersionKindFor(s.object)
	if err != nil {
		t.Fatal(err)
	}
	live := &unstructured.Unstructured{}
	live.SetGroupVersionKind(gvk)
	what := fmt.Sprintf("%s %s, which is %s", gvk.Kind, s.object.GetName(), s.name)
	suite.Eventually(t, func() string {
		if err := git.Get(ctx, client.ObjectKeyFromObject(s.object), live); err != nil {
			return err.Error()
		}
		result, err := status.Compute(live)
		if err != nil {
			return err.Error()
		}
		if reason := readyReason(live); result.Status != s.want || s.reason != "" && reason != s.reason {
			return fmt.Sprintf("%s: kstatus says %s: %s, and Ready's reason is %s; want %s and %s", what, result.Status, result.Message, reason, s.want, s.reason)
		}
		return ""
	})
	health, message, err := argoHealth(checks[gvk.Kind], live)
	if err != nil || health != healthOf[s.want] || message == "" || message == "nil" {
		t.Errorf("%s: Argo CD says %s %q %v, want %s", what, health, message, err, healthOf[s.want])
	}
	return gvk.Kind
}

func readyReason(live *unstructured.Unstructured) string {
	conditions, _, _ := unstructured.NestedSlice(live.Object, "status", "conditions")
	for _, c := range conditions {
		if condition, _ := c.(map[string]any); condition["type"] == v1alpha1.ConditionReady {
			return fmt.Sprint(condition["reason"])
		}
	}
	return "not there"
}
