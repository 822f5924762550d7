package conformance

import (
	"net/http"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/keyring"
	"github.com/m2m-operator/m2m-operator/internal/token"
)

const (
	introspectionPath = "/oauth2/introspect"
	owner             = "courses.course-api" // a client in the namespace of the courses API
	stranger          = "strangers.reader"
)

var introspection = []statement{
	{"I-1", "request", testIntrospectionRequest},
	{"I-1", "POST_only", testIntrospectionPostOnly},
	{"I-1", "body_limit", testIntrospectionBodyLimit},
	{"I-2", "caller_is_authenticated", testIntrospectionCaller},
	{"I-2", "guessing_is_throttled", testIntrospectionThrottled},
	{"I-2", "unavailable", testIntrospectionUnavailable},
	{"I-3", "every_inactive_answer_is_the_same", testInactiveIsUniform},
	{"I-4", "times", testIntrospectionTimes},
	{"I-4", "signature", testIntrospectionSignature},
	{"I-5", "only_the_APIs_namespace", testIntrospectionOwner},
	{"I-5", "identifier_that_moved", testIntrospectionMoved},
	{"I-6", "members", testIntrospectionMembers},
	{"I-7", "no_store", testIntrospectionNoStore},
	{"I-8", "other_JWTs", testIntrospectionOtherJWTs},
	{"I-8", "other_issuers", testIntrospectionOtherIssuers},
	{"I-9", "grant_removed", testIntrospectionGrants},
	{"I-9", "client_suspended_deleted_made_anew", testIntrospectionClient},
	{"I-9", "revoked_by_client_or_issuer", testIntrospectionRevoked},
	{"I-9", "key_revoked", testIntrospectionKey},
	{"I-9", "API_deleted", testIntrospectionAPI},
}

// newIntrospectionWorld has a client beside the API, and one elsewhere.
func newIntrospectionWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.client("courses", "course-api", nil)
	w.client("strangers", "reader", nil)
	return w
}

// introspectionRequest is a good one.
func (w *world) introspectionRequest(caller, presented string, pairs ...string) request {
	r := w.requestOf(caller, append([]string{"token", presented}, pairs...)...)
	r.target = introspectionPath
	return r
}

func (w *world) introspect(caller, presented string) answer {
	w.t.Helper()
	return w.send(w.introspectionRequest(caller, presented))
}

// newToken is a token of the publisher.
func (w *world) newToken(pairs ...string) string {
	w.t.Helper()
	return w.send(w.tokenRequest(pairs...)).wantToken(w.t)["access_token"].(string)
}

// wantActive returns the answer's members.
func (a answer) wantActive(t *testing.T) map[string]any {
	t.Helper()
	if a.status != http.StatusOK {
		t.Fatalf("status %d %s", a.status, a.body)
	}
	fields := a.fields(t)
	if fields["active"] != true {
		t.Fatalf("%s is not active", a.body)
	}
	a.wantPrivate(t)
	return fields
}

func (a answer) wantInactive(t *testing.T) {
	t.Helper()
	if a.status != http.StatusOK || a.body != `{"active":false}`+"\n" {
		t.Errorf("status %d %s, want an inactive token", a.status, a.body)
	}
	a.wantPrivate(t)
}

// changeClient puts a client in the index anew, with another spec.
func (w *world) changeClient(namespace, name string, change func(*v1alpha1.M2MClient)) {
	client := &v1alpha1.M2MClient{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, CreationTimestamp: metav1.NewTime(epoch)},
		Spec:       v1alpha1.M2MClientSpec{IssuerRef: v1alpha1.TokenIssuerReference{Name: "default"}},
	}
	known, _ := w.index.Client(client.ClientID())
	client.Status.Credentials = known.Credentials
	change(client)
	w.index.Upsert(client)
}

func (w *world) delete(kind access.Kind, namespace, name string) {
	w.index.Delete(access.Ref{Kind: kind, Namespace: namespace, Name: name})
}

func testIntrospectionRequest(t *testing.T) {
	w := newIntrospectionWorld(t)
	good := w.newToken()
	w.introspect(owner, good).wantActive(t)
	for _, hint := range []string{"access_token", "refresh_token", "x", ""} {
		w.send(w.introspectionRequest(owner, good, "token_type_hint", hint, "resource", "x", "resource", "y", "unknown", "z")).wantActive(t)
	}
	inBody := w.introspectionRequest(owner, good, "client_id", owner, "client_secret", w.secrets[owner]).bare()
	w.send(inBody).wantActive(t)
	missing := w.introspectionRequest(owner, good)
	missing.body = encode("token_type_hint", "access_token", "Token", good, "access_token", good)
	w.send(missing).wantError(t, http.StatusBadRequest, "invalid_request")
	w.introspect(owner, "").wantError(t, http.StatusBadRequest, "invalid_request")
	for _, name := range []string{"token", "token_type_hint", "client_id", "client_secret", "client_assertion", "client_assertion_type"} {
		for _, value := range []string{"", good} {
			w.run(name, func(t *testing.T) {
				inURI := w.introspectionRequest(owner, good)
				inURI.target += "?" + encode(name, value)
				w.send(inURI).wantError(t, http.StatusBadRequest, "invalid_request")
				w.send(w.introspectionRequest(owner, good, name, value, name, value)).wantError(t, http.StatusBadRequest, "invalid_request")
			})
		}
	}
	w.send(w.introspectionRequest(owner, good).with("Content-Type", "text/plain")).wantError(t, http.StatusBadRequest, "invalid_request")
	malformed := w.introspectionRequest(owner, good)
	malformed.body += "&x=%zz"
	w.send(malformed).wantError(t, http.StatusBadRequest, "invalid_request")
	slash := w.introspectionRequest(owner, good)
	slash.target += "/"
	w.send(slash).wantError(t, http.StatusNotFound, "not_found")
}

func testIntrospectionPostOnly(t *testing.T) {
	w := newIntrospectionWorld(t)
	for _, method := range []string{"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"} {
		w.run(method, func(t *testing.T) {
			r := w.introspectionRequest(owner, w.newToken())
			r.method = method
			a := w.raw(method, r.text("Connection: close"))
			if a.status != http.StatusMethodNotAllowed || a.header.Get("Allow") != "POST" {
				t.Errorf("%d, Allow %q", a.status, a.header.Get("Allow"))
			}
		})
	}
}

func testIntrospectionBodyLimit(t *testing.T) {
	w := newIntrospectionWorld(t)
	good := w.newToken()
	base := w.introspectionRequest(owner, good, "x", "")
	room := 64<<10 - len(base.body)
	w.send(w.introspectionRequest(owner, good, "x", strings.Repeat("x", room))).wantActive(t)
	a, closed := w.rawUntilClosed("POST", w.introspectionRequest(owner, good, "x", strings.Repeat("x", room+1)).text())
	a.wantError(t, http.StatusBadRequest, "invalid_request")
	if !closed {
		t.Error("the connection stays open")
	}
	many := w.introspectionRequest(owner, good)
	for range 64 {
		many = many.add("x", "y")
	}
	w.send(many).wantError(t, http.StatusBadRequest, "invalid_request")
}

func testIntrospectionCaller(t *testing.T) {
	w := newIntrospectionWorld(t)
	w.client("courses", "suspended", func(c *v1alpha1.M2MClient) { c.Spec.Suspend = true })
	w.client("courses", "elsewhere", func(c *v1alpha1.M2MClient) { c.Spec.IssuerRef.Name = "other" })
	good := w.newToken()
	refused := map[string]request{
		"wrong secret":           w.introspectionRequest(owner, good).with("Authorization", basic(owner, "wrong")),
		"another's secret":       w.introspectionRequest(owner, good).with("Authorization", basic(owner, w.secrets[publisher])),
		"unknown client":         w.introspectionRequest(owner, good).with("Authorization", basic("courses.unknown", "x")),
		"suspended client":       w.introspectionRequest("courses.suspended", good),
		"client of other issuer": w.introspectionRequest("courses.elsewhere", good),
		"and no token":           w.introspectionRequest(owner, "").with("Authorization", basic(owner, "wrong")),
	}
	fingerprints := map[string]bool{}
	for name, r := range refused {
		w.run(name, func(t *testing.T) {
			a := w.send(r)
			a.wantError(t, http.StatusUnauthorized, "invalid_client")
			fingerprints[a.fingerprint()] = true
		})
	}
	fingerprints[w.send(w.tokenRequest().with("Authorization", basic(publisher, "wrong"))).fingerprint()] = true
	if len(fingerprints) != 1 {
		t.Errorf("there are %d different refusals", len(fingerprints))
	}
	for name, r := range map[string]request{
		"no credentials":  w.introspectionRequest(owner, good).bare(),
		"client_id alone": w.introspectionRequest(owner, good, "client_id", owner).bare(),
		"a token":         w.introspectionRequest(owner, good).with("Authorization", "Bearer "+good),
	} {
		w.run(name, func(t *testing.T) { w.send(r).wantError(t, http.StatusUnauthorized, "invalid_client") })
	}
	twice := w.introspectionRequest(owner, good, "client_id", owner, "client_secret", w.secrets[owner])
	w.send(twice).wantError(t, http.StatusBadRequest, "invalid_request")
	if strings.Contains(w.log.String()+w.audit.String(), good) {
		t.Error("a log holds a token")
	}
}

func testIntrospectionThrottled(t *testing.T) {
	w := newIntrospectionWorld(t)
	good := w.newToken()
	wrong := w.introspectionRequest(owner, good).with("Authorization", basic(owner, "wrong"))
	for range 50 {
		w.send(wrong).wantError(t, http.StatusUnauthorized, "invalid_client")
	}
	w.send(wrong).wantError(t, http.StatusTooManyRequests, "invalid_client")
	elsewhere := w.tokenRequest().with("Authorization", basic(owner, "wrong"))
	w.send(elsewhere).wantError(t, http.StatusTooManyRequests, "invalid_client")
	w.introspect(owner, good).wantActive(t)
}

func testIntrospectionUnavailable(t *testing.T) {
	w := startWorld(t)
	empty := request{method: "POST", target: introspectionPath, header: http.Header{}}
	w.send(empty).wantError(t, http.StatusServiceUnavailable, "temporarily_unavailable")
	w.fill()
	w.client("courses", "course-api", nil)
	good := w.newToken()
	w.state.SetSynced(func() bool { return false })
	a := w.introspect(owner, good)
	a.wantError(t, http.StatusServiceUnavailable, "temporarily_unavailable")
	if a.header.Get("Retry-After") == "" {
		t.Error("there is no Retry-After")
	}
	w.state.SetSynced(func() bool { return true })
	w.setRing(keyring.Ring{})
	w.introspect(owner, good).wantError(t, http.StatusServiceUnavailable, "temporarily_unavailable")
	w.setRing(fixed().ring)
	w.introspect(owner, good).wantActive(t)
}

// testInactiveIsUniform holds one answer against all others, those of a token that is not for the caller among them.
func testInactiveIsUniform(t *testing.T) {
	w := newIntrospectionWorld(t)
	w.client("jobs", "suspended", nil)
	w.grant("courses", "suspended", "course-api", "jobs", "suspended", "courses:publish")
	good := w.newToken()
	r := w.requestOf("jobs.suspended", "grant_type", "client_credentials", "audience", courses)
	suspended := w.send(r).wantToken(t)["access_token"].(string)
	w.changeClient("jobs", "suspended", func(c *v1alpha1.M2MClient) { c.Spec.Suspend = true })
	unknown := w.sign(signingKey(v1alpha1.ES256), token.Type, w.ownClaims(func(c map[string]any) { c["sub"], c["client_id"] = "jobs.x", "jobs.x" }))
	expired := w.sign(signingKey(v1alpha1.ES256), token.Type, w.ownClaims(func(c map[string]any) { c["iat"], c["exp"] = epoch.Unix()-2, epoch.Unix()-1 }))
	want := w.introspect(owner, "junk")
	want.wantInactive(t)
	for name, a := range map[string]answer{
		"not for the caller": w.introspect(stranger, good),
		"the client's own":   w.introspect(publisher, good),
		"suspended client":   w.introspect(owner, suspended),
		"unknown client":     w.introspect(owner, unknown),
		"expired":            w.introspect(owner, expired),
		"malformed":          w.introspect(owner, "a.b.c"),
		"much junk":          w.introspect(owner, strings.Repeat("junk. ", 10<<10/6)),
		"too large":          w.introspect(owner, strings.Repeat("x", 20<<10)),
		"not text":           w.introspect(owner, "\x00\xff\r\nactive: true"),
		"tampered":           w.introspect(owner, good[:len(good)-10]+"AAAAAAAAAA"),
	} {
		if a.fingerprint() != want.fingerprint() {
			t.Errorf("%s differs:\n%s\n%s", name, a.fingerprint(), want.fingerprint())
		}
	}
	w.introspect(owner, good).wantActive(t)
}

func testIntrospectionTimes(t *testing.T) {
	w := newIntrospectionWorld(t)
	good := w.newToken()
	w.later(time.Hour - time.Millisecond)
	w.introspect(owner, good).wantActive(t)
	w.later(time.Millisecond)
	w.introspect(owner, good).wantInactive(t)
	for ahead, active := range map[time.Duration]bool{0: true, 60 * time.Second: true, 61 * time.Second: false, time.Hour: false} {
		future := w.sign(signingKey(v1alpha1.ES256), token.Type, w.ownClaims(func(c map[string]any) {
			c["iat"], c["exp"] = w.now().Add(ahead).Unix(), w.now().Add(2*time.Hour).Unix()
		}))
		if a := w.introspect(owner, future); a.fields(t)["active"] != active {
			t.Errorf("issued %s ahead: %s", ahead, a.body)
		}
	}
}
