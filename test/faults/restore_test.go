package faults

import (
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/manifests"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

// backup is what is saved of a cluster: manifests without status, owners, and what the API server fills in.
type backup struct {
	first []*unstructured.Unstructured // Secrets and ConfigMaps
	kinds []*unstructured.Unstructured
}

// takeBackup saves one TokenIssuer and all that belongs to it.
func takeBackup(t *testing.T, issuer string) backup {
	t.Helper()
	var b backup
	install := []client.ListOption{client.InNamespace(suite.InstallNamespace), client.MatchingLabels{manifests.LabelIssuer: issuer}}
	tenants := []client.ListOption{client.InNamespace(issuer), client.MatchingLabels{manifests.LabelManagedBy: manifests.ManagedBy}}
	b.first = append(b.first, saved(t, &corev1.SecretList{}, install...)...)
	b.first = append(b.first, saved(t, &corev1.ConfigMapList{}, install...)...)
	b.first = append(b.first, saved(t, &corev1.SecretList{}, tenants...)...)
	b.kinds = append(b.kinds, saved(t, &v1alpha1.TokenIssuerList{}, client.MatchingFields{"metadata.name": issuer})...)
	b.kinds = append(b.kinds, saved(t, &v1alpha1.ApiResourceList{}, client.InNamespace(issuer))...)
	b.kinds = append(b.kinds, saved(t, &v1alpha1.M2MClientList{}, client.InNamespace(issuer))...)
	return b
}

func saved(t *testing.T, list client.ObjectList, options ...client.ListOption) []*unstructured.Unstructured {
	t.Helper()
	if err := admin.List(ctx, list, options...); err != nil {
		t.Fatal(err)
	}
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(list)
	if err != nil {
		t.Fatal(err)
	}
	kinds, _, err := admin.Scheme().ObjectKinds(list)
	if err != nil {
		t.Fatal(err)
	}
	var out []*unstructured.Unstructured
	for _, item := range fields["items"].([]any) {
		object := &unstructured.Unstructured{Object: item.(map[string]any)}
		delete(object.Object, "status")
		object.SetGroupVersionKind(kinds[0].GroupVersion().WithKind(kinds[0].Kind[:len(kinds[0].Kind)-len("List")]))
		object.SetUID("")
		object.SetResourceVersion("")
		object.SetGeneration(0)
		object.SetCreationTimestamp(metav1.Time{})
		object.SetManagedFields(nil)
		object.SetOwnerReferences(nil)
		out = append(out, object)
	}
	if len(out) == 0 {
		t.Fatalf("there is no %T to save", list)
	}
	return out
}

// disaster deletes everything that the backup holds, while no manager runs.
func (b backup) disaster(t *testing.T) {
	t.Helper()
	for _, object := range append(append([]*unstructured.Unstructured{}, b.kinds...), b.first...) {
		if err := admin.Delete(ctx, object.DeepCopy()); err != nil {
			t.Fatal(err)
		}
	}
}

// restore creates everything anew: first Secrets and ConfigMaps, then the rest, each in random order.
func (b backup) restore(t *testing.T, random *rand.Rand) {
	t.Helper()
	for _, group := range [][]*unstructured.Unstructured{b.first, b.kinds} {
		for _, i := range random.Perm(len(group)) {
			create(t, group[i].DeepCopy())
		}
	}
}

// TestRestore: after a disaster, and whatever comes back first, no secret has changed, and what was accepted is.
func TestRestore(t *testing.T) {
	ensureIssuer(t, "restored")
	clients := map[string]*v1alpha1.M2MClient{}
	for _, name := range []string{"young", "rotated", "revised", "revoked"} {
		clients[name] = rotatingClient("restored", name, "restored", 8760*time.Hour)
	}
	clients["revised"].Spec.Credential.Revision = "2026-11"
	m := startManager(t)
	for _, c := range clients {
		create(t, c)
		suite.Eventually(t, func() string { return unsettled(c, "") })
	}
	values := map[string][]string{"rotated": {valueOf(t, clients["rotated"])}} // which are to be accepted, by client
	compromised := valueOf(t, clients["revoked"])
	for name, edit := range map[string]func(*v1alpha1.M2MClient){
		"rotated": func(c *v1alpha1.M2MClient) { c.Spec.Credential.Revision = "1" },
		"revoked": func(c *v1alpha1.M2MClient) {
			c.Spec.Credential.RevokedIDs = []v1alpha1.CredentialID{v1alpha1.CredentialID(c.Status.Credentials[0].ID)}
		},
	} {
		c := clients[name]
		before := c.Status.Credentials[0].ID
		change(t, c, edit)
		suite.Eventually(t, func() string { return unsettled(c, before) })
	}
	server := startIssuer(t, "restored")
	tokens := map[string]string{}
	for name, c := range clients {
		awaitReady(t, c)
		values[name] = append(values[name], valueOf(t, c))
		suite.Eventually(t, func() (refusal string) {
			tokens[name], refusal = server.ask(c.ClientID(), valueOf(t, c))
			return refusal
		})
	}
	if err := m.stop(); err != nil {
		t.Fatal(err)
	}
	b := takeBackup(t, "restored")
	for round := range 10 {
		random := rand.New(rand.NewPCG(uint64(round), 3))
		b.disaster(t)
		var m *manager
		if round%2 == 0 { // it may have been restored before, or after all else
			m = startManager(t)
		}
		b.restore(t, random)
		if round%2 == 1 {
			m = startManager(t)
		}
		server := startIssuer(t, "restored") // which remembers nothing
		for name, c := range clients {
			awaitReady(t, c)
			if got := valueOf(t, c); got != values[name][len(values[name])-1] {
				t.Errorf("round %d: the secret of %s changed", round, name)
			}
			for i, value := range values[name] {
				suite.Eventually(t, func() string {
					_, refusal := server.ask(c.ClientID(), value)
					return refusal
				})
				if i == 0 && len(c.Status.Credentials) != len(values[name]) {
					t.Errorf("round %d: %s has %d credentials, want %d", round, name, len(c.Status.Credentials), len(values[name]))
				}
			}
			adopted(t, c)
			server.verifies(t, tokens[name])
		}
		if _, refusal := server.ask(clients["revoked"].ClientID(), compromised); refusal != "invalid_client" {
			t.Errorf("round %d: the revoked secret: %q", round, refusal)
		}
		if err := m.stop(); err != nil {
			t.Fatal(err)
		}
	}
}

// adopted checks that the client's Secret will go with the new object.
func adopted(t *testing.T, c *v1alpha1.M2MClient) {
	t.Helper()
	var owners []types.UID
	for _, reference := range get(t, &corev1.Secret{}, c.Namespace, c.Name).OwnerReferences {
		owners = append(owners, reference.UID)
	}
	if len(owners) != 1 || owners[0] != c.UID {
		t.Errorf("the Secret of %s is owned by %v, want %s", c.Name, owners, c.UID)
	}
}

// verifies checks a token with the keys that the server publishes.
func (s *tokenServer) verifies(t *testing.T, token string) {
	t.Helper()
	response, err := s.http.Get("https://" + s.address + "/machines/oauth2/jwks")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var keys jose.JSONWebKeySet
	if err := json.NewDecoder(response.Body).Decode(&keys); err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%d %v", response.StatusCode, err)
	}
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := signed.Verify(keys); err != nil {
		t.Errorf("a token from before the disaster does not verify: %v", err)
	}
}
