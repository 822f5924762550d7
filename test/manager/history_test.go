package manager

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/credential"
	"github.com/m2m-operator/m2m-operator/internal/keyring"
	"github.com/m2m-operator/m2m-operator/internal/manifests"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

// history is what people do with one installation, always the same. What they do next waits until the manager has done
// what follows from the last, where it would make a difference.
type history struct {
	t       *testing.T
	name    string // of the TokenIssuer, and the beginning of all namespaces
	address string // of the endpoint of its Service
	issuer  *v1alpha1.TokenIssuer
	api     *v1alpha1.ApiResource
	clients map[string]*v1alpha1.M2MClient
	gone    map[types.UID]bool // owners that were deleted: what they own is collected in a cluster
	laps    int
}

// Whoever is changed in a lap, by how.
var (
	revised   = []string{"revised-1", "revised-2", "revised-3"}
	scheduled = []string{"scheduled-1", "scheduled-2", "scheduled-3"}
	others    = []string{"deleted", "edited", "revoked", "wiped", "keyless", "leaver"}
)

func newHistory(t *testing.T, name, address string) *history {
	h := &history{t: t, name: name, address: address, clients: map[string]*v1alpha1.M2MClient{}, gone: map[types.UID]bool{}}
	h.issuer = tokenIssuer(name)
	h.issuer.Spec.Signing.Algorithms = []v1alpha1.SigningAlgorithm{v1alpha1.ES256, v1alpha1.EdDSA}
	h.issuer.Spec.Tokens.DefaultLifetime = &metav1.Duration{Duration: 10 * time.Minute}
	h.issuer.Spec.Tokens.MaxLifetime = &metav1.Duration{Duration: time.Hour}
	return h
}

func (h *history) jobs() string { return h.name + "-jobs" }

// play plays all of it but the end.
func (h *history) play(laps int) {
	h.t.Helper()
	h.begin()
	for range laps {
		h.laps++
		h.lap()
	}
	h.keys()
}

// begin makes objects of all kinds, the wrong ones too.
func (h *history) begin() {
	h.t.Helper()
	h.api = apiResource(h.name+"-apis", h.name+"-courses", h.name, "read", "write", "publish")
	h.api.Spec.Roles = []v1alpha1.ApiRole{{Name: "editor", Scopes: []v1alpha1.ScopeName{"read", "write"}}}
	h.api.Spec.Rules = []v1alpha1.PolicyCondition{{Expression: "client.namespace != 'sandbox'", Message: "not from there"}}
	rival := apiResource(h.name+"-apis", "usurper", h.name, "read")
	rival.Spec.Identifier = h.api.Spec.Identifier
	lost := apiResource(h.name+"-apis", "lost", h.name+"-nobody", "read")
	create(h.t, namespace(h.name+"-apis"), namespace(h.jobs()), h.api, rival, lost, h.issuer)
	for i, name := range append(append(append([]string{}, revised...), scheduled...), others...) {
		c := m2mClient(h.jobs(), name, h.name)
		c.Labels = map[string]string{"team": fmt.Sprint(i % 2)}
		c.Spec.Requests = []v1alpha1.AccessRequest{{ApiResource: v1alpha1.NamespacedReference{
			Namespace: v1alpha1.NamespaceName(h.api.Namespace), Name: v1alpha1.ObjectName(h.api.Name)}, Scopes: []v1alpha1.ScopeName{"read", "publish"}}}
		if i >= len(revised) && i < len(revised)+len(scheduled) {
			c.Spec.Credential.Rotation = &v1alpha1.CredentialRotation{
				Interval: metav1.Duration{Duration: 12 * time.Hour}, Overlap: &metav1.Duration{Duration: time.Hour}}
		}
		if name == "keyless" {
			c.Spec.Authentication = []v1alpha1.AuthenticationMethod{v1alpha1.AuthenticateBySecret, v1alpha1.AuthenticateByServiceAccount}
			c.Spec.ServiceAccountName = "robot"
		}
		h.clients[name] = c
		create(h.t, c)
	}
	expired := scopeGrant(h.api, "expired", named(h.clients["edited"]), "publish")
	expired.Spec.ExpiresAt = &metav1.Time{Time: time.Now().Add(-time.Hour)}
	role := scopeGrant(h.api, "role", named(h.clients["wiped"]))
	role.Spec.Roles = []v1alpha1.RoleName{"editor", "unknown"}
	conditional := scopeGrant(h.api, "conditional", selecting(h.jobs(), "team", "1"), "publish")
	conditional.Spec.Conditions = []v1alpha1.PolicyCondition{{Expression: "client.name.startsWith('revised')"}}
	create(h.t, expired, role, conditional,
		scopeGrant(h.api, "selected", selecting(h.jobs(), "team", "0"), "read"),
		scopeGrant(h.api, "typing", named(h.clients["deleted"]), "read", "erase"))
	awaitReady(h.t, h.issuer, h.api)
	for _, c := range h.clients {
		h.await(c, "")
	}
	endpoint(h.t, h.issuer, h.address)
}

// lap changes every client in its way, grants, and the API.
func (h *history) lap() {
	h.t.Helper()
	lap := fmt.Sprint(h.laps)
	for _, name := range revised {
		h.rotates(name, func(c *v1alpha1.M2MClient) { c.Spec.Credential.Revision = lap })
	}
	h.rotates("revoked", func(c *v1alpha1.M2MClient) {
		c.Spec.Credential.RevokedIDs = append(c.Spec.Credential.RevokedIDs, v1alpha1.CredentialID(c.Status.Credentials[0].ID))
	})
	before := h.current("deleted")
	remove(h.t, secretOf(h.t, h.clients["deleted"]))
	h.await(h.clients["deleted"], before)

	before = h.current("edited")
	secret := secretOf(h.t, h.clients["edited"])
	secret.Data[manifests.KeyClientSecret] = []byte("chosen by somebody")
	suite.Save(h.t, admin, secret)
	h.await(h.clients["edited"], before)

	h.wipe("wiped")
	h.withdraw("keyless")
	h.leave("leaver")
	h.grants(lap)

	h.day()
	for _, name := range revised {
		h.change(name, func(c *v1alpha1.M2MClient) { c.Spec.Suspend = h.laps%2 == 1 })
	}
}

// grants come, change and go, and what they grant too.
func (h *history) grants(lap string) {
	h.t.Helper()
	if h.laps > 1 {
		remove(h.t, scopeGrant(h.api, fmt.Sprintf("lap-%d", h.laps-1), named(h.clients["edited"])))
	}
	create(h.t, scopeGrant(h.api, "lap-"+lap, named(h.clients["edited"]), "read", "publish"))
	typing := get(h.t, &v1alpha1.ScopeGrant{}, h.api.Namespace, "typing")
	typing.Spec.Suspend = !typing.Spec.Suspend
	suite.Save(h.t, admin, typing)
	api := get(h.t, &v1alpha1.ApiResource{}, h.api.Namespace, h.api.Name)
	api.Spec.DisplayName = "lap " + lap
	suite.Save(h.t, admin, api)
	remove(h.t, get(h.t, &corev1.ConfigMap{}, h.api.Namespace, h.api.Name+"-verifier"))
	suite.Eventually(h.t, func() string {
		return problem(admin.Get(ctx, client.ObjectKey{Namespace: h.api.Namespace, Name: h.api.Name + "-verifier"}, &corev1.ConfigMap{}))
	})
}

// wipe loses a client's status, as a restore does.
func (h *history) wipe(name string) {
	h.t.Helper()
	c, before := h.clients[name], h.current(name)
	suite.Eventually(h.t, func() string {
		get(h.t, c, c.Namespace, c.Name)
		c.Status = v1alpha1.M2MClientStatus{}
		return problem(admin.Status().Update(ctx, c))
	})
	suite.Eventually(h.t, func() string {
		if got := h.current(name); got != before {
			return fmt.Sprintf("the credential of %s is %q after its status was lost, and was %q", name, got, before)
		}
		return ""
	})
}

// withdraw takes the Secret from a client, and gives it another one.
func (h *history) withdraw(name string) {
	h.t.Helper()
	c, before := h.clients[name], h.current(name)
	h.change(name, func(c *v1alpha1.M2MClient) {
		c.Spec.Authentication = []v1alpha1.AuthenticationMethod{v1alpha1.AuthenticateByServiceAccount}
	})
	suite.Eventually(h.t, func() string {
		get(h.t, c, c.Namespace, c.Name)
		err := admin.Get(ctx, client.ObjectKey{Namespace: c.Namespace, Name: c.SecretName()}, &corev1.Secret{})
		if client.IgnoreNotFound(err) != nil || err == nil || len(c.Status.Credentials) > 0 {
			return "the Secret of " + name + " is not withdrawn"
		}
		return ""
	})
	h.change(name, func(c *v1alpha1.M2MClient) {
		c.Spec.Authentication = []v1alpha1.AuthenticationMethod{v1alpha1.AuthenticateBySecret, v1alpha1.AuthenticateByServiceAccount}
	})
	h.await(c, before)
}

// leave deletes a client and makes it anew, while its Secret is still there.
func (h *history) leave(name string) {
	h.t.Helper()
	old, before := get(h.t, h.clients[name], h.jobs(), name), h.current(name)
	h.gone[old.UID] = true
	remove(h.t, old)
	fresh := m2mClient(h.jobs(), name, h.name)
	fresh.Labels, fresh.Spec = old.Labels, old.Spec
	create(h.t, fresh)
	h.clients[name] = fresh
	suite.Eventually(h.t, func() string {
		if got := h.current(name); got != before {
			return fmt.Sprintf("the credential of %s is %q after it was made anew, and was %q", name, got, before)
		}
		return ""
	})
}

// keys rotates signing keys, loses one, and revokes one.
func (h *history) keys() {
	h.t.Helper()
	h.signing(func(s *v1alpha1.TokenIssuerSigning) { s.Revision = "1" })
	h.pass(func(issuer *v1alpha1.TokenIssuer) bool { return issuer.Status.SigningRevision == "1" })
	issuer := get(h.t, &v1alpha1.TokenIssuer{}, "", h.name)
	for _, key := range issuer.Status.Keys {
		if key.State == v1alpha1.KeyActive && key.Algorithm == v1alpha1.ES256 {
			h.signing(func(s *v1alpha1.TokenIssuerSigning) { s.RevokedKeys = []v1alpha1.KeyID{v1alpha1.KeyID(key.KID)} })
			h.pass(func(issuer *v1alpha1.TokenIssuer) bool {
				return issuer.Status.ObservedGeneration == issuer.Generation && state(issuer, key.KID) == ""
			})
		}
	}
	for _, key := range get(h.t, issuer, "", h.name).Status.Keys {
		if key.State == v1alpha1.KeyAnnounced && key.Algorithm == v1alpha1.EdDSA {
			ring, err := keyring.ParseRing([]byte(get(h.t, &corev1.ConfigMap{}, suite.InstallNamespace, manifests.RingName(h.name)).Data[manifests.KeyRing]))
			if err != nil {
				h.t.Fatal(err)
			}
			for _, k := range ring.Keys {
				if k.KID == key.KID {
					remove(h.t, get(h.t, &corev1.Secret{}, suite.InstallNamespace, manifests.KeyName(h.name, keyring.Slot{Algorithm: k.Algorithm, Generation: k.Generation})))
				}
			}
			h.pass(func(issuer *v1alpha1.TokenIssuer) bool { return state(issuer, key.KID) != v1alpha1.KeyAnnounced })
		}
	}
	remove(h.t, get(h.t, &corev1.Secret{}, suite.InstallNamespace, manifests.AuthorityName(h.name)))
	h.pass(func(*v1alpha1.TokenIssuer) bool {
		key := client.ObjectKey{Namespace: suite.InstallNamespace, Name: manifests.AuthorityName(h.name)}
		return admin.Get(ctx, key, &corev1.Secret{}) == nil
	})
}

// end lets days pass, until everything that was on its way out is gone.
func (h *history) end() {
	h.t.Helper()
	for range 3 {
		h.day()
		h.tick(seen)
	}
	suite.Eventually(h.t, func() string {
		for h.tick(seen) { // until the endpoint has been seen for long enough, and need not be asked any more
		}
		h.tick(time.Hour)
		issuer := get(h.t, &v1alpha1.TokenIssuer{}, "", h.name)
		if len(issuer.Status.Keys) != 2*len(issuer.Spec.Signing.Algorithms) {
			return fmt.Sprintf("keys %+v", issuer.Status.Keys)
		}
		return ""
	})
	h.day()
	h.last()
}

// last has everything looked at once more.
func (h *history) last() {
	h.t.Helper()
	for _, list := range []client.ObjectList{&v1alpha1.ApiResourceList{}, &v1alpha1.M2MClientList{}, &v1alpha1.ScopeGrantList{}} {
		for _, in := range []string{h.api.Namespace, h.jobs()} {
			if err := admin.List(ctx, list, client.InNamespace(in)); err != nil {
				h.t.Fatal(err)
			}
			err := meta.EachListItem(list, func(o runtime.Object) error {
				object := o.(client.Object)
				object.SetLabels(labels.Merge(object.GetLabels(), labels.Set{"last": "look"}))
				suite.Save(h.t, admin, object)
				return nil
			})
			if err != nil {
				h.t.Fatal(err)
			}
		}
	}
}

// day lets a day pass, and more: every credential that was replaced has ended, and every scheduled rotation is due.
func (h *history) day() {
	h.t.Helper()
	before := map[string]string{} // first of all: the manager may look before it is touched
	for _, name := range scheduled {
		before[name] = h.current(name)
	}
	ahead.Add(int64(25 * time.Hour))
	for _, name := range scheduled {
		h.change(name, touch)
		h.await(h.clients[name], before[name])
	}
}

// touch makes the manager look at the client.
func touch(c *v1alpha1.M2MClient) { c.Annotations = map[string]string{"touched": rfc3339(clock())} }

// seen is a step of time in which everything is seen to go on: two of them, and what really passes, are less than half of
// the skew that there may be.
const seen = 10 * time.Second

// tick lets time go on, has the manager look at the TokenIssuer, and reports whether it has asked the endpoint.
func (h *history) tick(step time.Duration) bool {
	h.t.Helper()
	before := asked.Load()
	ahead.Add(int64(step))
	issuer := get(h.t, &v1alpha1.TokenIssuer{}, "", h.name)
	issuer.Annotations = map[string]string{"touched": rfc3339(clock())}
	suite.Save(h.t, admin, issuer)
	for end := time.Now().Add(500 * time.Millisecond); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if asked.Load() > before {
			return true
		}
	}
	return false
}

// pass lets time go on until the TokenIssuer is as it should be.
func (h *history) pass(done func(*v1alpha1.TokenIssuer) bool) {
	h.t.Helper()
	suite.Eventually(h.t, func() string {
		if issuer := get(h.t, &v1alpha1.TokenIssuer{}, "", h.name); !done(issuer) {
			h.tick(seen)
			return fmt.Sprintf("keys %+v, conditions %+v", issuer.Status.Keys, issuer.Status.Conditions)
		}
		return ""
	})
}

func (h *history) signing(change func(*v1alpha1.TokenIssuerSigning)) {
	h.t.Helper()
	issuer := get(h.t, &v1alpha1.TokenIssuer{}, "", h.name)
	change(&issuer.Spec.Signing)
	suite.Save(h.t, admin, issuer)
}

// change edits a client.
func (h *history) change(name string, edit func(*v1alpha1.M2MClient)) {
	h.t.Helper()
	c := get(h.t, h.clients[name], h.jobs(), name)
	edit(c)
	suite.Save(h.t, admin, c)
}

// rotates edits a client, and waits for the new credential that follows from it.
func (h *history) rotates(name string, edit func(*v1alpha1.M2MClient)) {
	h.t.Helper()
	before := h.current(name)
	h.change(name, edit)
	h.await(h.clients[name], before)
}

// current is the id of the credential that the client's Secret and status agree on, "" if they do not.
func (h *history) current(name string) string {
	h.t.Helper()
	c, secret := h.clients[name], &corev1.Secret{}
	get(h.t, c, c.Namespace, c.Name)
	if admin.Get(ctx, client.ObjectKey{Namespace: c.Namespace, Name: c.SecretName()}, secret) != nil || len(c.Status.Credentials) == 0 {
		return ""
	}
	if first := c.Status.Credentials[0]; first.State == v1alpha1.CredentialCurrent && first.ID == secret.Annotations[credential.AnnotationID] {
		return first.ID
	}
	return ""
}

// await waits until the client has a credential other than before.
func (h *history) await(c *v1alpha1.M2MClient, before string) {
	h.t.Helper()
	suite.Eventually(h.t, func() string {
		if id := h.current(c.Name); id == "" || id == before || c.Status.CredentialRevision != c.Spec.Credential.Revision {
			return fmt.Sprintf("%s, generation %d, has no new credential: it is %q and was %q, and status is %+v", c.Name, c.Generation, id, before, c.Status)
		}
		return ""
	})
}
