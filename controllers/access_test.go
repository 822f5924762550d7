package controllers_test

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

func TestApiResourceGetsItsVerifierConfigMap(t *testing.T) {
	newIssuer(t, "verifiers", nil)
	namespace := newNamespace(t)
	api := newAPI(t, namespace, "course-api", "verifiers", "https://verifiers.example.com/api", "courses:read")
	awaitReady(t, api)
	want := map[string]string{
		"issuer": "https://m2m-issuer-verifiers.m2m-system.svc", "audience": "https://verifiers.example.com/api",
		"jwks_uri":               "https://m2m-issuer-verifiers.m2m-system.svc/oauth2/jwks",
		"introspection_endpoint": "https://m2m-issuer-verifiers.m2m-system.svc/oauth2/introspect",
		"ca.crt":                 string(get(t, &corev1.Secret{}, installNamespace, "m2m-verifiers-ca").Data[corev1.TLSCertKey]),
	}
	configMap := get(t, &corev1.ConfigMap{}, namespace, "course-api-verifier")
	if !reflect.DeepEqual(configMap.Data, want) {
		t.Errorf("data %v, want %v", configMap.Data, want)
	}
	configMap.Data["issuer"] = "https://evil.example"
	suite.Save(t, admin, configMap)
	suite.Eventually(t, func() string {
		if got := get(t, &corev1.ConfigMap{}, namespace, "course-api-verifier"); !reflect.DeepEqual(got.Data, want) {
			return fmt.Sprintf("an edited ConfigMap is not healed: %v", got.Data)
		}
		return ""
	})
	if err := admin.Delete(context.Background(), configMap); err != nil {
		t.Fatal(err)
	}
	suite.Eventually(t, func() string {
		if err := admin.Get(context.Background(), client.ObjectKeyFromObject(configMap), &corev1.ConfigMap{}); err != nil {
			return "a deleted ConfigMap is not healed: " + err.Error()
		}
		return ""
	})
}

func TestStrangersConfigMapIsLeftAlone(t *testing.T) {
	newIssuer(t, "configmaps", nil)
	namespace := newNamespace(t)
	stranger := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "api-verifier"}, Data: map[string]string{"issuer": "theirs"}}
	create(t, stranger)
	api := newAPI(t, namespace, "api", "configmaps", "https://configmaps.example.com/api")
	awaitCondition(t, api, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonConfigMapNotOwned)
	if got := get(t, &corev1.ConfigMap{}, namespace, "api-verifier"); got.ResourceVersion != stranger.ResourceVersion {
		t.Error("a stranger's ConfigMap was written")
	}
}

func TestOlderApiResourceKeepsTheIdentifier(t *testing.T) {
	newIssuer(t, "conflicts", nil)
	first, second := newNamespace(t), newNamespace(t)
	const identifier = "https://conflicts.example.com/api"
	older := newAPI(t, second, "api", "conflicts", identifier, "read")
	awaitReady(t, older)
	// Ages are told in seconds; the younger one is in the namespace that would win a tie.
	suite.Eventually(t, func() string {
		if time.Since(older.CreationTimestamp.Time) < time.Second {
			return "same second"
		}
		return ""
	})
	younger := newAPI(t, first, "api", "conflicts", identifier, "read")
	condition := awaitCondition(t, younger, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonConflicted)
	if !strings.Contains(condition.Message, second+"/api") {
		t.Errorf("the message does not name the other one: %s", condition.Message)
	}
	awaitCondition(t, younger, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonConflicted)
	awaitEvent(t, "ApiResource", "api", v1alpha1.ReasonConflicted)
	grant := newGrant(t, first, "grant", "api", named(first, "nobody"), nil, "read")
	awaitCondition(t, grant, v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, v1alpha1.ReasonApiResourceNotAccepted)
	if err := admin.Delete(context.Background(), older); err != nil {
		t.Fatal(err)
	}
	awaitReady(t, younger)
	awaitReady(t, grant)
}

func TestGrantSaysWhatIsWrongAndClientsSayWhatTheyHave(t *testing.T) {
	newIssuer(t, "grants", nil)
	apis, clients := newNamespace(t), newNamespace(t)
	subject := v1alpha1.GrantSubject{Namespace: v1alpha1.NamespaceName(clients), Selector: &v1alpha1.ClientSelector{MatchLabels: map[string]string{"kind": "sensor"}}}
	grant := newGrant(t, apis, "grant", "api", subject, nil, "read", "wrte")
	awaitCondition(t, grant, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonApiResourceNotFound)
	newAPI(t, apis, "api", "grants", "https://grants.example.com/api", "read", "write")
	condition := awaitCondition(t, grant, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonUnknownScope)
	if !strings.Contains(condition.Message, "wrte") {
		t.Errorf("the message does not name the scope: %s", condition.Message)
	}
	grant.Spec.Scopes = []v1alpha1.ScopeName{"read", "write"}
	suite.Save(t, admin, grant)
	awaitReady(t, grant)
	for i := range 3 {
		newClient(t, clients, fmt.Sprintf("sensor-%d", i), "grants", func(c *v1alpha1.M2MClient) { c.Labels = map[string]string{"kind": "sensor"} })
	}
	newClient(t, apis, "stranger", "grants", func(c *v1alpha1.M2MClient) { c.Labels = map[string]string{"kind": "sensor"} })
	suite.Eventually(t, func() string {
		get(t, grant, apis, "grant")
		if n := grant.Status.MatchedClients; n == nil || *n != 3 {
			return fmt.Sprintf("matchedClients is %v, want 3", n)
		}
		return ""
	})
	awaitAccess(t, clients, "sensor-1", "https://grants.example.com/api", "read", "write")
	awaitAccess(t, apis, "stranger", "")
	if err := admin.Delete(context.Background(), grant); err != nil {
		t.Fatal(err)
	}
	awaitAccess(t, clients, "sensor-1", "")
}

// awaitAccess waits until the client's status says that it has exactly these scopes of one API, or nothing if audience
// is empty.
func awaitAccess(t testing.TB, namespace, name, audience string, scopes ...string) {
	t.Helper()
	suite.Eventually(t, func() string {
		got := get(t, &v1alpha1.M2MClient{}, namespace, name).Status.Access
		if audience == "" && len(got) == 0 {
			return ""
		}
		if len(got) == 1 && got[0].Audience == audience && fmt.Sprint(got[0].Scopes) == fmt.Sprint(scopes) {
			return ""
		}
		return fmt.Sprintf("access of %s is %v, want %s %v", name, got, audience, scopes)
	})
}

func TestTimeAloneEndsAGrant(t *testing.T) {
	newIssuer(t, "clocks", nil)
	namespace := newNamespace(t)
	newAPI(t, namespace, "api", "clocks", "https://clocks.example.com/api", "read")
	newClient(t, namespace, "caller", "clocks", nil)
	ends := metav1.NewTime(time.Now().Add(4 * time.Second))
	grant := newGrant(t, namespace, "grant", "api", named(namespace, "caller"), func(s *v1alpha1.ScopeGrantSpec) { s.ExpiresAt = &ends }, "read")
	awaitCondition(t, grant, v1alpha1.ConditionActive, metav1.ConditionTrue, v1alpha1.ReasonActive)
	awaitAccess(t, namespace, "caller", "https://clocks.example.com/api", "read")
	awaitCondition(t, grant, v1alpha1.ConditionActive, metav1.ConditionFalse, v1alpha1.ReasonExpired)
	awaitAccess(t, namespace, "caller", "")
}

// reconciles is how often each controller has looked at something.
func reconciles(t testing.TB) map[string]float64 {
	t.Helper()
	families, err := ctrlmetrics.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]float64{}
	for _, family := range families {
		if family.GetName() != "controller_runtime_reconcile_total" {
			continue
		}
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				if label.GetName() == "controller" {
					counts[label.GetValue()] += metric.GetCounter().GetValue()
				}
			}
		}
	}
	return counts
}

// TestRestartWithNothingToDoWritesNothing runs last in this file and sees the objects of all tests before it.
func TestRestartWithNothingToDoWritesNothing(t *testing.T) {
	newIssuer(t, "quiet", nil)
	namespace := newNamespace(t)
	awaitReady(t, newAPI(t, namespace, "api", "quiet", "https://quiet.example.com/api", "read"))
	awaitReady(t, newClient(t, namespace, "caller", "quiet", nil))
	awaitReady(t, newGrant(t, namespace, "grant", "api", named(namespace, "caller"), nil, "read"))
	awaitAccess(t, namespace, "caller", "https://quiet.example.com/api", "read")
	suite.Eventually(t, func() string {
		if n := get(t, &v1alpha1.ScopeGrant{}, namespace, "grant").Status.MatchedClients; n == nil || *n != 1 {
			return "the grant does not count its client yet"
		}
		return ""
	})
	writes := &suite.Writes{}
	before := reconciles(t)
	stop, err := world.StartManager(suite.ManagerOptions{Now: clock, Wrap: writes.Wrap, Image: image}) // a second one beside the first, which has nothing to do either
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	var apis v1alpha1.ApiResourceList
	var clients v1alpha1.M2MClientList
	var grants v1alpha1.ScopeGrantList
	var issuers v1alpha1.TokenIssuerList
	for _, list := range []client.ObjectList{&apis, &clients, &grants, &issuers} {
		if err := admin.List(context.Background(), list); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]int{"apiresource": len(apis.Items), "m2mclient": len(clients.Items), "scopegrant": len(grants.Items), "tokenissuer": len(issuers.Items)}
	suite.Eventually(t, func() string {
		now := reconciles(t)
		for controller, n := range want {
			if int(now[controller]-before[controller]) < n {
				return fmt.Sprintf("%s: %v of %d objects looked at", controller, now[controller]-before[controller], n)
			}
		}
		return ""
	})
	if seen := writes.List(); len(seen) != 0 {
		t.Errorf("a manager with nothing to do wrote:\n%s", strings.Join(seen, "\n"))
	}
}
