package integration

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

// introspection is what an issuer says of a token.
type introspection struct {
	Active   bool   `json:"active"`
	Scope    string `json:"scope"`
	ClientID string `json:"client_id"`
}

// post sends a form to an endpoint of an issuer, whatever the path of its URL.
func post(t testing.TB, issuer *suite.Issuer, path, id, secret string, form url.Values) answer {
	t.Helper()
	request, err := http.NewRequest(http.MethodPost, "https://"+issuer.Address+path, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(id, secret)
	return do(t, issuer, request)
}

// inspector asks issuers what tokens are worth.
type inspector struct{ id, secret string }

func (i inspector) ask(t testing.TB, issuer *suite.Issuer, token string) introspection {
	t.Helper()
	a := post(t, issuer, v1alpha1.PathIntrospection, i.id, i.secret, url.Values{"token": {token}})
	var said introspection
	if err := json.Unmarshal([]byte(a.body), &said); err != nil || a.status != http.StatusOK {
		t.Fatalf("status %d, body %q: %v", a.status, a.body, err)
	}
	return said
}

// await waits until every issuer says of the token that it has this scope, "" for one that is not active.
func (i inspector) await(t testing.TB, what, token, scope string) {
	t.Helper()
	for _, issuer := range issuers {
		suite.Eventually(t, func() string {
			if said := i.ask(t, issuer, token); said.Scope != scope || said.Active != (scope != "") {
				return fmt.Sprintf("%s: the token is %+v, want scope %q", what, said, scope)
			}
			return ""
		})
	}
}

// TestIntrospectionIsLive is the conformance statements I-5 and I-9 on a real API server.
func TestIntrospectionIsLive(t *testing.T) {
	ensureIssuer(t)
	const api = "https://inspected.example.com"
	resource := newAPI(t, "courses", "inspected", api, "read", "write")
	var i, elsewhere inspector
	i.id, i.secret = newCaller(t, "courses", "inspector", nil)
	elsewhere.id, elsewhere.secret = newCaller(t, "strangers", "inspector", nil)
	id, secret := newCaller(t, "jobs", "inspected", nil)
	grant := grantOf("courses", "inspected", "inspected", "jobs", "inspected", "read", "write")
	create(t, grant)
	awaitVerdict(t, "granted", id, secret, "audience", api)
	fresh := func() string {
		t.Helper()
		return ask(t, issuers[0], id, secret, "audience", api).token(t).AccessToken
	}
	awaitVerdict(t, "invalid_target", i.id, i.secret, "audience", api)                 // the inspector is known everywhere,
	awaitVerdict(t, "invalid_target", elsewhere.id, elsewhere.secret, "audience", api) // and so is the stranger
	token := fresh()
	i.await(t, "a good token", token, "read write")
	elsewhere.await(t, "a caller from another namespace", token, "")
	inspector{id, secret}.await(t, "the client itself", token, "")
	if endpoint := get(t, &corev1.ConfigMap{}, "courses", "inspected-verifier").Data["introspection_endpoint"]; endpoint != issuerURL+"/oauth2/introspect" {
		t.Errorf("the API is told to ask %q", endpoint)
	}

	grant.Spec.Scopes = []v1alpha1.ScopeName{"write"}
	update(t, grant)
	i.await(t, "a scope taken away", token, "write")
	remove(t, grant)
	i.await(t, "grant deleted", token, "")
	create(t, grantOf("courses", "inspected", "inspected", "jobs", "inspected", "read", "write"))
	i.await(t, "grant created again", token, "read write")
	for _, suspended := range []bool{true, false} {
		object := get(t, &v1alpha1.M2MClient{}, "jobs", "inspected")
		object.Spec.Suspend = suspended
		update(t, object)
		i.await(t, fmt.Sprintf("suspended: %t", suspended), token, map[bool]string{true: "", false: "read write"}[suspended])
	}
	remove(t, get(t, &v1alpha1.M2MClient{}, "jobs", "inspected"))
	i.await(t, "client deleted", token, "")
	awaitNextSecond(t)
	newCaller(t, "jobs", "inspected", nil) // its Secret is still there, and taken up again
	awaitVerdict(t, "granted", id, secret, "audience", api)
	i.await(t, "client made anew", token, "")
	token = fresh()
	i.await(t, "a token of the new client", token, "read write")
	remove(t, resource)
	i.await(t, "API deleted", token, "")
}

// awaitNextSecond waits until the clock shows another second than now: times of objects and tokens are whole ones.
func awaitNextSecond(t testing.TB) {
	t.Helper()
	now := time.Now().Unix()
	suite.Eventually(t, func() string {
		if time.Now().Unix() == now {
			return "same second"
		}
		return ""
	})
}

// TestRevokedTokens is the rest of I-9.
func TestRevokedTokens(t *testing.T) {
	ensureIssuer(t)
	const api = "https://revoked.example.com"
	newAPI(t, "courses", "revoked", api, "read")
	var i inspector
	i.id, i.secret = newCaller(t, "courses", "revoked-inspector", nil)
	id, secret := newCaller(t, "jobs", "revoked", nil)
	create(t, grantOf("courses", "revoked", "revoked", "jobs", "revoked", "read"))
	awaitVerdict(t, "granted", id, secret, "audience", api)
	awaitVerdict(t, "invalid_target", i.id, i.secret, "audience", api)
	for kind, revoke := range map[string]func(before *metav1.Time){
		"M2MClient": func(before *metav1.Time) {
			object := get(t, &v1alpha1.M2MClient{}, "jobs", "revoked")
			object.Spec.RevokeTokensIssuedBefore = before
			update(t, object)
		},
		"TokenIssuer": func(before *metav1.Time) {
			object := get(t, &v1alpha1.TokenIssuer{}, "", issuerName)
			object.Spec.RevokeTokensIssuedBefore = before
			update(t, object)
		},
	} {
		older := ask(t, issuers[0], id, secret, "audience", api).token(t).AccessToken
		i.await(t, kind+": not revoked", older, "read")
		next := metav1.NewTime(time.Now().Truncate(time.Second).Add(time.Second))
		revoke(&next)
		i.await(t, kind+": revoked", older, "")
		suite.Eventually(t, func() string {
			newer := ask(t, issuers[0], id, secret, "audience", api).token(t).AccessToken
			if !i.ask(t, issuers[0], newer).Active {
				return kind + ": a newer token is not active"
			}
			return ""
		})
		i.await(t, kind+": still revoked", older, "")
		revoke(nil)
		i.await(t, kind+": revoked no more", older, "read")
	}
}

// TestForeignTokensAreInactive is I-8 with tokens that others made: the cluster, and the second TokenIssuer on it.
func TestForeignTokensAreInactive(t *testing.T) {
	ensureIssuer(t)
	const api = "https://foreign.example.com"
	newAPI(t, "courses", "foreign", api, "read")
	var i inspector
	i.id, i.secret = newCaller(t, "courses", "foreign-inspector", nil)
	awaitVerdict(t, "invalid_target", i.id, i.secret, "audience", api)

	create(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "jobs", Name: "foreign"}})
	config, err := world.Plane.ServiceAccountConfig(ctx, "jobs", "foreign")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(config.BearerToken, ".") != 2 {
		t.Fatal("a ServiceAccount's token is no JWT")
	}
	i.await(t, "a ServiceAccount's token", config.BearerToken, "")

	second := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "second"}}
	second.Spec.URL = "https://127.0.0.1/second"
	create(t, second)
	defer remove(t, second)
	other, err := world.StartIssuer("second")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Stop()
	suite.Eventually(t, func() string { return notReady(other) })
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(get(t, &corev1.Secret{}, suite.InstallNamespace, "m2m-second-tls").Data["ca.crt"])
	connections[other.Address] = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}

	resource := &v1alpha1.ApiResource{ObjectMeta: metav1.ObjectMeta{Namespace: "courses", Name: "foreign-second"}}
	resource.Spec.IssuerRef.Name = "second"
	resource.Spec.Identifier = api
	resource.Spec.Scopes = []v1alpha1.ApiScope{{Name: "read"}}
	create(t, resource)
	create(t, grantOf("courses", "foreign-second", "foreign-second", "jobs", "foreign", "read"))
	id, secret := newCaller(t, "jobs", "foreign", func(c *v1alpha1.M2MClient) { c.Spec.IssuerRef.Name = "second" })
	form := url.Values{"grant_type": {"client_credentials"}, "audience": {api}}
	var token string
	suite.Eventually(t, func() string {
		a := post(t, other, v1alpha1.PathToken, id, secret, form)
		if a.status != http.StatusOK {
			return a.body
		}
		token = a.token(t).AccessToken
		return ""
	})
	i.await(t, "a token of the second issuer, of the same audience", token, "")
	if a := post(t, other, v1alpha1.PathIntrospection, i.id, i.secret, url.Values{"token": {token}}); a.status != http.StatusUnauthorized {
		t.Errorf("the second issuer answers a client of the first: %d %s", a.status, a.body)
	}
}
