package scenarios

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/manifests"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

// workload is what a pod makes of the Secret or ConfigMap that it mounts.
type workload struct {
	t                            testing.TB
	id, secret, endpoint, issuer string
	http                         *http.Client
}

// mount waits, as kubelet does, for the credential Secret of an M2MClient.
func mount(t testing.TB, namespace, name string) workload {
	t.Helper()
	c, secret := &v1alpha1.M2MClient{}, &corev1.Secret{}
	suite.Eventually(t, func() string {
		if err := world.Admin.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, c); err != nil {
			return err.Error()
		}
		if err := world.Admin.Get(ctx, client.ObjectKey{Namespace: namespace, Name: c.SecretName()}, secret); err != nil {
			return err.Error()
		}
		return ""
	})
	w := workloadOf(t, secret.Data)
	w.secret = string(secret.Data[manifests.KeyClientSecret])
	return w
}

func workloadOf(t testing.TB, data map[string][]byte) workload {
	t.Helper()
	return workload{
		t: t, id: string(data[manifests.KeyClientID]), endpoint: string(data[manifests.KeyTokenEndpoint]),
		issuer: string(data[manifests.KeyIssuer]), http: trusting(t, string(data[manifests.KeyAuthority])),
	}
}

// clients of HTTP by the authority that they trust.
var clients = map[string]*http.Client{}

// trusting is a client of HTTP that finds the issuer by its name, as if there was a cluster's DNS, and verifies it.
func trusting(t testing.TB, authority string) *http.Client {
	t.Helper()
	if c := clients[authority]; c != nil {
		return c
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(authority)) {
		t.Fatal("no authority")
	}
	var dialer net.Dialer
	clients[authority] = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, server.Address)
		},
	}}
	return clients[authority]
}

// answer of the token endpoint.
type answer struct {
	status      int
	body        string
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int    `json:"expires_in"`
	Scope       string `json:"scope"`
	Rejected    string `json:"rejected_scope"`
	Error       string `json:"error"`
	Description string `json:"error_description"`
}

// String leaves the token out.
func (a answer) String() string {
	if a.Error != "" {
		return fmt.Sprintf("%d %s: %s", a.status, a.Error, a.Description)
	}
	return fmt.Sprintf("%d, scope %q, rejected %q", a.status, a.Scope, a.Rejected)
}

func (w workload) send(request *http.Request) (got answer) {
	w.t.Helper()
	world.Canary.Sent(request)
	response, err := w.http.Do(request)
	if err != nil {
		w.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	world.Canary.Got("the errors that issuers answered", response.StatusCode, response.Header, string(body))
	if err := json.Unmarshal(body, &got); err != nil {
		w.t.Fatalf("%d %s: %v", response.StatusCode, body, err)
	}
	got.status, got.body = response.StatusCode, string(body)
	return got
}

// post sends a body as it is, to a path of the issuer's host.
func (w workload) post(path, contentType, body string, change ...func(*http.Request)) answer {
	w.t.Helper()
	request, err := http.NewRequest(http.MethodPost, v1alpha1.EndpointURL(w.issuer, path), strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	request.Header.Set("Content-Type", contentType)
	for _, c := range change {
		c(request)
	}
	return w.send(request)
}

const formType = "application/x-www-form-urlencoded"

// basic puts the credential into HTTP Basic.
func (w workload) basic(request *http.Request) { request.SetBasicAuth(w.id, w.secret) }

// from says where a request comes from, as a proxy does.
func from(address string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("X-Forwarded-For", address) }
}

// ask asks the endpoint of the Secret for scopes of an API; no scope means all that there are.
func (w workload) ask(audience, scope string, change ...func(*http.Request)) answer {
	w.t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}, "audience": {audience}, "scope": {scope}}
	path := strings.TrimPrefix(w.endpoint, w.issuer)
	return w.post(path, formType, form.Encode(), append(change, w.basic)...)
}

// awaitVerdict waits until the issuer has heard of what the verdict follows from: "granted" or an error.
func (w workload) awaitVerdict(want, audience string, change ...func(*http.Request)) {
	w.t.Helper()
	suite.Eventually(w.t, func() string {
		got := w.ask(audience, "", change...)
		if verdict := map[bool]string{true: "granted", false: got.Error}[got.status == http.StatusOK]; verdict != want {
			return fmt.Sprintf("%s is told %s, want %s", w.id, got, want)
		}
		return ""
	})
}

// wantToken checks that a token was granted, with exactly these scopes and with these rejected.
func wantToken(t testing.TB, what string, got answer, scope, rejected string) {
	t.Helper()
	if got.status != http.StatusOK || got.AccessToken == "" || got.TokenType != "Bearer" || got.Scope != scope || got.Rejected != rejected {
		t.Errorf("%s: %s; want scope %q, rejected %q", what, got, scope, rejected)
	}
}

// wantError checks that a request was refused so.
func wantError(t testing.TB, what string, got answer, code string) {
	t.Helper()
	if got.status != http.StatusBadRequest || got.Error != code || got.AccessToken != "" {
		t.Errorf("%s: %s; want 400 %s", what, got, code)
	}
}

// wantDenied checks that a request was refused by an expression, in these words.
func wantDenied(t testing.TB, what string, got answer, description string) {
	t.Helper()
	wantError(t, what, got, "access_denied")
	if got.Description != description {
		t.Errorf("%s: it says %q, want %q", what, got.Description, description)
	}
}

// verify does what an API's pod does: it reads its ConfigMap, has a library that nobody here wrote verify the token, and
// returns the claims.
func verify(t testing.TB, namespace, api, token string) map[string]any {
	t.Helper()
	mounted := get(t, &corev1.ConfigMap{}, namespace, api+"-verifier").Data
	keys := oidc.NewRemoteKeySet(oidc.ClientContext(ctx, trusting(t, mounted[manifests.KeyAuthority])), mounted[manifests.KeyJWKSURI])
	verified, err := oidc.NewVerifier(mounted[manifests.KeyIssuer], keys, &oidc.Config{
		ClientID: mounted[manifests.KeyAudience], SupportedSigningAlgs: []string{oidc.ES256},
	}).Verify(ctx, token)
	if err != nil {
		t.Fatalf("%s/%s refuses the token: %v", namespace, api, err)
	}
	var claims map[string]any
	if err := verified.Claims(&claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

// wantClaims checks the claims that are named; nil means that there is no such claim.
func wantClaims(t testing.TB, claims, want map[string]any) {
	t.Helper()
	for name, value := range want {
		wanted, err1 := json.Marshal(value)
		got, err2 := json.Marshal(claims[name])
		if err1 != nil || err2 != nil || string(got) != string(wanted) {
			t.Errorf("claim %s is %s, want %s", name, got, wanted)
		}
		if _, there := claims[name]; there && value == nil {
			t.Errorf("claim %s is there", name)
		}
	}
}
