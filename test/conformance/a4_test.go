package conformance

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/clientauth"
)

var serviceAccountTokens = []statement{
	{"SA-1", "client_of_the_service_account", testServiceAccountClient},
	{"SA-1", "one_client_for_a_service_account", testServiceAccountRivals},
	{"SA-2", "audience_is_ours_alone", testServiceAccountAudience},
	{"SA-3", "claims", testServiceAccountClaims},
	{"SA-3", "forged_tokens", testServiceAccountForgeries},
	{"SA-4", "verified_with_what_is_known", testServiceAccountKeys},
	{"SA-5", "same_token_until_it_expires", testServiceAccountReuse},
	{"SA-6", "audit_log_names_the_pod", testServiceAccountAudit},
	{"SA-7", "names_are_compared", testServiceAccountNames},
	{"SA-8", "never_written_down", testServiceAccountTokenIsSecret},
}

const clusterURL = "https://kubernetes.default.svc"

// apiServer signs tokens of ServiceAccounts.
type apiServer struct {
	t   *testing.T
	key *ecdsa.PrivateKey
	kid string
}

func newAPIServer(t *testing.T, kid string) apiServer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return apiServer{t: t, key: key, kid: kid}
}

// cluster is what an issuer knows of the API server.
func (s apiServer) cluster() *clientauth.Cluster {
	return &clientauth.Cluster{Issuer: clusterURL, Keys: jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
		{Key: &s.key.PublicKey, KeyID: s.kid, Algorithm: "ES256", Use: "sig"},
	}}}
}

// token of ServiceAccount jobs/runner with other claims; nil leaves one out.
func (s apiServer) token(change map[string]any) string {
	s.t.Helper()
	options := (&jose.SignerOptions{}).WithHeader("kid", s.kid)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: s.key}, options)
	if err != nil {
		s.t.Fatal(err)
	}
	signed, err := signer.Sign(projected(change))
	if err != nil {
		s.t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		s.t.Fatal(err)
	}
	return token
}

func projected(change map[string]any) []byte {
	claims := map[string]any{
		"iss": clusterURL, "sub": "system:serviceaccount:jobs:runner", "aud": []string{issuerURL},
		"iat": epoch.Unix(), "nbf": epoch.Unix(), "exp": epoch.Add(time.Hour).Unix(), "jti": "5f2ee2b8-0000-4000-8000-000000000000",
		"kubernetes.io": map[string]any{
			"namespace": "jobs", "serviceaccount": named("runner"), "pod": named("runner-7d9c"), "node": named("node-1"),
		},
	}
	maps.Copy(claims, change)
	maps.DeleteFunc(claims, func(_ string, value any) bool { return value == nil })
	text, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	return text
}

func named(name string) map[string]any { return map[string]any{"name": name, "uid": "uid-of-" + name} }

// ofAccount are the claims that name a ServiceAccount.
func ofAccount(namespace, name string) map[string]any {
	return map[string]any{
		"sub":           "system:serviceaccount:" + namespace + ":" + name,
		"kubernetes.io": map[string]any{"namespace": namespace, "serviceaccount": named(name)},
	}
}

// newCluster is a world with a client that authenticates by its ServiceAccount alone, and has a secret nonetheless.
func newCluster(t *testing.T) (*world, apiServer) {
	t.Helper()
	w, server := newWorld(t), newAPIServer(t, "kid-of-the-cluster")
	w.state.SetCluster(server.cluster())
	w.byAccount("jobs", "runner", "runner", nil)
	w.grant("courses", "runner", "course-api", "jobs", "runner", "courses:publish")
	return w, server
}

func (w *world) byAccount(namespace, name, account string, change func(*v1alpha1.M2MClient)) *v1alpha1.M2MClient {
	var made *v1alpha1.M2MClient
	w.client(namespace, name, func(c *v1alpha1.M2MClient) {
		c.Spec.Authentication = []v1alpha1.AuthenticationMethod{v1alpha1.AuthenticateByServiceAccount}
		c.Spec.ServiceAccountName = account
		if change != nil {
			change(c)
		}
		made = c
	})
	return made
}

// asserted is a token request with an assertion, and nothing else to authenticate by.
func (w *world) asserted(assertion string, pairs ...string) request {
	return w.tokenRequest(append([]string{
		"client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", "client_assertion", assertion,
	}, pairs...)...).bare()
}

// wantRefusals checks that all these tokens are refused alike, also beside a client_id.
func (w *world) wantRefusals(tokens map[string]string) {
	w.t.Helper()
	want := w.send(w.tokenRequest().with("Authorization", basic(publisher, "wrong"))).fingerprint()
	for name, token := range tokens {
		w.run(name, func(t *testing.T) {
			for _, pairs := range [][]string{nil, {"client_id", "jobs.runner"}, {"client_id", publisher}, {"client_id", "jobs.unknown"}} {
				a := w.send(w.asserted(token, pairs...))
				a.wantError(t, http.StatusUnauthorized, "invalid_client")
				if got := a.fingerprint(); got != want {
					t.Errorf("beside %q it differs from a wrong secret:\n%s\n%s", pairs, got, want)
				}
			}
		})
	}
}

func testServiceAccountClient(t *testing.T) {
	w, server := newCluster(t)
	for _, pairs := range [][]string{nil, {"client_id", "jobs.runner"}, {"client_id", ""}} {
		answer := w.send(w.asserted(server.token(nil), pairs...)).wantToken(t)
		claims := w.claims(answer)
		if claims["client_id"] != "jobs.runner" || claims["sub"] != "jobs.runner" || answer["scope"] != "courses:publish" {
			t.Errorf("got %v of %v", answer["scope"], claims)
		}
	}
	for _, other := range []string{publisher, "jobs.unknown", "system:serviceaccount:jobs:runner"} {
		w.send(w.asserted(server.token(nil), "client_id", other)).wantError(t, http.StatusBadRequest, "invalid_request")
	}
	w.byAccount("jobs", "suspended", "sleeper", func(c *v1alpha1.M2MClient) { c.Spec.Suspend = true })
	w.byAccount("jobs", "foreign", "foreigner", func(c *v1alpha1.M2MClient) { c.Spec.IssuerRef.Name = "other" })
	w.byAccount("jobs", "secretive", "secretive", func(c *v1alpha1.M2MClient) {
		c.Spec.Authentication = []v1alpha1.AuthenticationMethod{v1alpha1.AuthenticateBySecret}
	})
	w.index.Delete(access.RefOf(w.byAccount("jobs", "deleted", "gone", nil)))
	w.byAccount("terminating", "client", "runner", nil)
	w.index.SetNamespaceTerminating("terminating", true)
	tokens := map[string]string{}
	for _, account := range [][2]string{
		{"jobs", "sleeper"}, {"jobs", "foreigner"}, {"jobs", "secretive"}, {"jobs", "gone"}, {"jobs", "nobody"}, {"terminating", "runner"},
	} {
		tokens[account[0]+"/"+account[1]] = server.token(ofAccount(account[0], account[1]))
	}
	w.wantRefusals(tokens)
	// And its secret, of a time when it had one, proves nothing any more.
	w.send(w.tokenRequest().with("Authorization", basic("jobs.runner", w.secrets["jobs.runner"]))).wantError(t, http.StatusUnauthorized, "invalid_client")
}

func testServiceAccountRivals(t *testing.T) {
	w, server := newCluster(t)
	w.byAccount("jobs", "a-younger", "runner", func(c *v1alpha1.M2MClient) { c.CreationTimestamp = metav1.NewTime(epoch.Add(time.Second)) })
	w.grant("courses", "younger", "course-api", "jobs", "a-younger", "courses:write")
	if got := w.claims(w.send(w.asserted(server.token(nil))).wantToken(t))["client_id"]; got != "jobs.runner" {
		t.Errorf("it proves %v", got)
	}
	w.send(w.asserted(server.token(nil), "client_id", "jobs.a-younger")).wantError(t, http.StatusBadRequest, "invalid_request")
	w.index.Delete(access.Ref{Kind: access.KindM2MClient, Namespace: "jobs", Name: "runner"})
	if got := w.claims(w.send(w.asserted(server.token(nil))).wantToken(t))["client_id"]; got != "jobs.a-younger" {
		t.Errorf("with the older gone it proves %v", got)
	}
}

func testServiceAccountAudience(t *testing.T) {
	w, server := newCluster(t)
	w.send(w.asserted(server.token(map[string]any{"aud": issuerURL}))).wantToken(t)
	tokens := map[string]string{}
	for name, audience := range map[string]any{
		"of the API server": []string{clusterURL}, "of the API server, a string": clusterURL,
		"ours and the API server's": []string{issuerURL, clusterURL}, "the API server's and ours": []string{clusterURL, issuerURL},
		"ours twice": []string{issuerURL, issuerURL}, "none": nil, "empty": []string{}, "of the endpoint": issuerURL + tokenPath,
		"with a slash": issuerURL + "/", "with a port": issuerURL + ":443", "in another case": strings.ToUpper(issuerURL),
		"of the API": courses, "a number": 1, "an object": map[string]any{"0": issuerURL},
	} {
		tokens[name] = server.token(map[string]any{"aud": audience})
	}
	w.wantRefusals(tokens)
}

func testServiceAccountClaims(t *testing.T) {
	w, server := newCluster(t)
	at := func(d time.Duration) int64 { return epoch.Add(d).Unix() }
	w.send(w.asserted(server.token(map[string]any{"iat": at(time.Minute), "nbf": at(time.Minute)}))).wantToken(t)
	tokens := map[string]string{}
	for name, change := range map[string]map[string]any{
		"iss of another cluster": {"iss": "https://other.example.com"}, "iss with a slash": {"iss": clusterURL + "/"}, "no iss": {"iss": nil},
		"exp passed": {"exp": at(0)}, "no exp": {"exp": nil}, "exp a year ahead": {"exp": at(365 * 24 * time.Hour)},
		"exp a second beyond an hour": {"exp": at(time.Hour + time.Second)}, "exp beyond all time": {"exp": 1e300},
		"no iat": {"iat": nil}, "iat ahead": {"iat": at(61 * time.Second)}, "iat long ago": {"iat": 0},
		"no nbf": {"nbf": nil}, "nbf ahead": {"nbf": at(61 * time.Second)},
		"legacy": {
			"iss": "kubernetes/serviceaccount", "aud": nil, "exp": nil, "iat": nil, "nbf": nil, "kubernetes.io": nil,
			"kubernetes.io/serviceaccount/namespace": "jobs", "kubernetes.io/serviceaccount/service-account.name": "runner",
		},
		"no kubernetes.io":     {"kubernetes.io": nil},
		"sub of another":       {"sub": "system:serviceaccount:jobs:other"},
		"sub is not ours":      {"sub": "jobs.runner"},
		"no sub":               {"sub": nil},
		"sub and pod disagree": {"kubernetes.io": map[string]any{"namespace": "courses", "serviceaccount": named("runner")}},
	} {
		tokens[name] = server.token(change)
	}
	w.wantRefusals(tokens)
}

func testServiceAccountForgeries(t *testing.T) {
	w, server := newCluster(t)
	forger, stranger := newAPIServer(t, server.kid), newAPIServer(t, "kid-of-nobody")
	header := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	good := strings.Split(server.token(nil), ".")
	public, err := x509.MarshalPKIXPublicKey(&server.key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	hs256, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: public}, (&jose.SignerOptions{}).WithHeader("kid", server.kid))
	if err != nil {
		t.Fatal(err)
	}
	hmac, err := hs256.Sign(projected(nil))
	if err != nil {
		t.Fatal(err)
	}
	hmacToken, err := hmac.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	kid := fmt.Sprintf("%q", server.kid)
	w.wantRefusals(map[string]string{
		"own key, the same kid": forger.token(nil),
		"own key, another kid":  stranger.token(nil),
		"HS256":                 hmacToken,
		"none":                  header(`{"alg":"none","kid":`+kid+`}`) + "." + good[1] + ".",
		"none, signed":          header(`{"alg":"none","kid":`+kid+`}`) + "." + good[1] + "." + good[2],
		"RS256":                 header(`{"alg":"RS256","kid":`+kid+`}`) + "." + good[1] + "." + good[2],
		"at+jwt":                header(`{"alg":"ES256","typ":"at+jwt","kid":`+kid+`}`) + "." + good[1] + "." + good[2],
		"no signature":          good[0] + "." + good[1] + ".",
		"another's claims":      good[0] + "." + base64.RawURLEncoding.EncodeToString(projected(ofAccount("jobs", "other"))) + "." + good[2],
		"cut":                   strings.Join(good, ".")[:200],
		"larger than 16 KiB":    server.token(map[string]any{"more": strings.Repeat("x", 16<<10)}),
		"an access token":       w.send(w.tokenRequest()).wantToken(t)["access_token"].(string),
	})
	w.send(w.asserted(strings.Join(good, "."))).wantToken(t)
}

// testServiceAccountKeys: what was fetched before is enough, and what is fetched later counts from then on.
func testServiceAccountKeys(t *testing.T) {
	w, server := newCluster(t)
	rotated, asked := newAPIServer(t, "kid-of-tomorrow"), 0
	known := server.cluster()
	known.Refetch = func() { asked++ }
	w.state.SetCluster(known)
	w.send(w.asserted(rotated.token(nil))).wantError(t, http.StatusUnauthorized, "invalid_client")
	w.send(w.asserted(server.token(nil))).wantToken(t)
	if asked != 1 {
		t.Errorf("the keys were asked for %d times", asked)
	}
	both := server.cluster()
	both.Keys.Keys = append(both.Keys.Keys, rotated.cluster().Keys.Keys...)
	w.state.SetCluster(both)
	w.send(w.asserted(rotated.token(nil))).wantToken(t)
	w.send(w.asserted(server.token(nil))).wantToken(t)
	w.state.SetCluster(rotated.cluster())
	w.send(w.asserted(server.token(nil))).wantError(t, http.StatusUnauthorized, "invalid_client")

	unknown := newWorld(t) // a server that has not heard of the cluster yet: others are served
	unknown.byAccount("jobs", "runner", "runner", nil)
	unknown.send(unknown.asserted(server.token(nil))).wantError(t, http.StatusUnauthorized, "invalid_client")
	unknown.send(unknown.tokenRequest()).wantToken(t)
}

func testServiceAccountReuse(t *testing.T) {
	w, server := newCluster(t)
	token := server.token(nil)
	for range 3 {
		w.send(w.asserted(token)).wantToken(t)
		w.later(19*time.Minute + 59*time.Second)
	}
	w.later(3 * time.Second) // an hour
	w.send(w.asserted(token)).wantError(t, http.StatusUnauthorized, "invalid_client")
}

func testServiceAccountAudit(t *testing.T) {
	w, server := newCluster(t)
	w.send(w.asserted(server.token(nil))).wantToken(t)
	w.send(w.asserted(server.token(ofAccount("jobs", "nobody")))).wantError(t, http.StatusUnauthorized, "invalid_client")
	w.send(w.asserted(newAPIServer(t, server.kid).token(ofAccount("jobs", "forged-name")))).wantError(t, http.StatusUnauthorized, "invalid_client")
	log := w.audit.String()
	for _, part := range []string{
		"service_account_token", `"jobs.runner"`, `"runner-7d9c"`, `"uid-of-runner-7d9c"`, `"node-1"`, `"uid-of-runner"`, server.kid, `"nobody"`,
	} {
		if !strings.Contains(log, part) {
			t.Errorf("%s is not in the audit log:\n%s", part, log)
		}
	}
	if strings.Contains(log, "forged-name") {
		t.Errorf("what nobody verified is in the audit log:\n%s", log)
	}
}

func testServiceAccountNames(t *testing.T) {
	w, server := newCluster(t)
	w.byAccount("jobs", "dotted", "a.b", nil)
	w.byAccount("jobs", "pattern", "x-y", nil)
	w.grant("courses", "dotted", "course-api", "jobs", "dotted", "courses:write")
	if got := w.claims(w.send(w.asserted(server.token(ofAccount("jobs", "a.b")))).wantToken(t))["client_id"]; got != "jobs.dotted" {
		t.Errorf("it proves %v", got)
	}
	tokens := map[string]string{}
	for _, account := range [][2]string{
		{"jobs", "axb"}, {"jobs", "a.bc"}, {"jobs", "xa.b"}, {"jobs", "a"}, {"jobs", "A.B"}, {"jobs", ".*"}, {"jobs", ""},
		{"job", "runner"}, {"jobs2", "runner"}, {"courses", "runner"}, {"strangers", "a.b"}, {"", "runner"}, {"jobs:runner", "runner"},
	} {
		tokens[account[0]+"/"+account[1]] = server.token(ofAccount(account[0], account[1]))
	}
	w.wantRefusals(tokens)
}

func testServiceAccountTokenIsSecret(t *testing.T) {
	w, server := newCluster(t)
	for _, token := range []string{
		server.token(nil), server.token(map[string]any{"exp": epoch.Unix()}), server.token(ofAccount("jobs", "nobody")),
		server.token(map[string]any{"aud": clusterURL}), newAPIServer(t, server.kid).token(nil),
	} {
		for _, pairs := range [][]string{nil, {"client_id", publisher}, {"scope", token}, {"audience", token}, {"grant_type", token}} {
			answer := w.send(w.asserted(token, pairs...))
			parts := strings.Split(token, ".")
			for _, text := range []string{answer.body, fmt.Sprint(answer.header), w.log.String(), w.audit.String()} {
				for _, part := range []string{token, parts[1], parts[2]} {
					if strings.Contains(text, part) {
						t.Fatalf("a token, or a part of one, is in\n%s", text)
					}
				}
			}
		}
	}
	if !strings.Contains(w.audit.String(), "service_account_token") {
		t.Error("there is nothing in the audit log")
	}
}
