package conformance

import (
	"net/http"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
)

var grants = []statement{
	{"S-1", "grant_type", testGrantType},
	{"S-2", "client_is_authenticated", testGrantNeedsAuthentication},
	{"S-3", "scope_grammar", testScopeGrammar},
	{"S-4", "order_and_repetition_of_scopes", testScopeOrder},
	{"S-5", "scope_omitted", testScopeOmitted},
	{"S-6", "some_scopes_refused", testPartialGrant},
	{"S-6", "grants_come_and_go", testGrantLife},
	{"S-7", "scope_always_in_the_response", testScopeInResponse},
	{"S-8", "resource_is_an_absolute_URI", testResourceSyntax},
	{"S-9", "invalid_target_tells_nothing", testUniformTarget},
	{"S-10", "resource_repeated", testResourceRepeated},
	{"S-11", "resource_omitted", testResourceOmitted},
	{"S-12", "resource_is_compared_as_a_string", testResourceCompared},
	{"S-13", "scopes_of_one_resource", testScopesOfOneResource},
	{"S-14", "token_for_one_resource", testAudienceRestricted},
	{"S-15", "audience_is_resource", testAudienceAlias},
}

func testGrantType(t *testing.T) {
	w := newWorld(t)
	w.send(w.requestOf(publisher, "audience", courses)).wantError(t, http.StatusBadRequest, "invalid_request")
	w.send(w.requestOf(publisher, "grant_type", "", "audience", courses)).wantError(t, http.StatusBadRequest, "invalid_request")
	for _, grantType := range []string{"password", "authorization_code", "refresh_token", "client_credentials ", "x\"\\\n\xff", "urn:ietf:params:oauth:grant-type:token-exchange"} {
		w.send(w.requestOf(publisher, "grant_type", grantType, "audience", courses)).wantError(t, http.StatusBadRequest, "unsupported_grant_type")
	}
}

func testGrantNeedsAuthentication(t *testing.T) {
	w := newWorld(t)
	for _, pairs := range [][]string{{}, {"grant_type", "x"}, {"grant_type", "client_credentials", "audience", "unknown"}} {
		w.send(w.requestOf(publisher, pairs...).bare()).wantError(t, http.StatusUnauthorized, "invalid_client")
	}
}

func testScopeGrammar(t *testing.T) {
	w := newWorld(t)
	for _, scope := range []string{
		"courses:publish  courses:write", " courses:publish", "courses:publish ", " ", "courses:publish\tcourses:write", "courses:publish\n",
		`courses:publish "`, `courses:publish \`, "courses:publish caf\u00e9", "courses:publish \xff", "courses:publish\x00", "courses:publish \x7f", "courses:publish\u00a0x",
		strings.Repeat("courses:publish ", 512) + "courses:write", // more than an API can declare
	} {
		w.run(scope[:min(len(scope), 40)], func(t *testing.T) {
			w.send(w.tokenRequest("scope", scope)).wantError(t, http.StatusBadRequest, "invalid_scope")
		})
	}
	// Every character that the grammar allows is allowed.
	var all strings.Builder
	for c := byte(0x21); c <= 0x7e; c++ {
		if c != '"' && c != '\\' {
			all.WriteByte(c)
		}
	}
	got := w.send(w.tokenRequest("scope", all.String()+" courses:publish")).wantToken(t)
	if got["rejected_scope"] != all.String() {
		t.Errorf("rejected_scope %q", got["rejected_scope"])
	}
}

func testScopeOrder(t *testing.T) {
	w := newWorld(t)
	for _, scope := range []string{
		"courses:publish courses:read-approved", "courses:read-approved courses:publish",
		"courses:publish courses:read-approved courses:publish courses:publish",
	} {
		got := w.send(w.tokenRequest("scope", scope)).wantToken(t)
		if got["scope"] != "courses:publish courses:read-approved" || got["rejected_scope"] != nil {
			t.Errorf("%q: %v", scope, got)
		}
	}
	w.send(w.tokenRequest("scope", "Courses:Publish")).wantError(t, http.StatusBadRequest, "invalid_scope")
}

func testScopeOmitted(t *testing.T) {
	w := newWorld(t)
	got := w.send(w.tokenRequest()).wantToken(t)
	if got["scope"] != "courses:publish courses:read-approved" || got["rejected_scope"] != nil {
		t.Errorf("got %v", got)
	}
}

func testPartialGrant(t *testing.T) {
	w := newWorld(t)
	got := w.send(w.tokenRequest("scope", "courses:publish courses:write courses:unknown")).wantToken(t)
	if got["scope"] != "courses:publish" || got["rejected_scope"] != "courses:unknown courses:write" {
		t.Errorf("got %v", got)
	}
	if scope := w.claims(got)["scope"]; scope != "courses:publish" {
		t.Errorf("the token's scope is %v", scope)
	}
	for _, scope := range []string{"courses:write", "courses:unknown", "courses:write courses:unknown", "pay:read"} {
		w.send(w.tokenRequest("scope", scope)).wantError(t, http.StatusBadRequest, "invalid_scope")
	}
}

func testGrantLife(t *testing.T) {
	w := newWorld(t)
	ref := access.Ref{Kind: access.KindScopeGrant, Namespace: "courses", Name: "publisher"}
	w.send(w.tokenRequest()).wantToken(t)
	w.index.Delete(ref)
	w.send(w.tokenRequest()).wantError(t, http.StatusBadRequest, "invalid_target")

	grant := &v1alpha1.ScopeGrant{
		ObjectMeta: metav1.ObjectMeta{Namespace: "courses", Name: "publisher"},
		Spec: v1alpha1.ScopeGrantSpec{
			ApiResourceRef: v1alpha1.LocalApiResourceReference{Name: "course-api"},
			Subjects:       []v1alpha1.GrantSubject{{Namespace: "jobs", Name: "publisher"}},
			Scopes:         []v1alpha1.ScopeName{"courses:write"},
			NotBefore:      &metav1.Time{Time: w.now().Add(time.Minute)}, ExpiresAt: &metav1.Time{Time: w.now().Add(time.Hour)},
		},
	}
	w.index.Upsert(grant)
	w.send(w.tokenRequest()).wantError(t, http.StatusBadRequest, "invalid_target")
	w.later(time.Minute)
	w.send(w.tokenRequest()).wantToken(t)
	w.later(time.Hour)
	w.send(w.tokenRequest()).wantError(t, http.StatusBadRequest, "invalid_target")

	stranger := grant.DeepCopy()
	stranger.Namespace, stranger.Spec.NotBefore, stranger.Spec.ExpiresAt = "jobs", nil, nil
	w.index.Upsert(stranger)
	w.send(w.tokenRequest()).wantError(t, http.StatusBadRequest, "invalid_target")
}

func testScopeInResponse(t *testing.T) {
	w := newWorld(t)
	for asked, want := range map[string]string{
		"":                                      "courses:publish courses:read-approved",
		"courses:publish":                       "courses:publish",
		"courses:publish courses:write":         "courses:publish",
		"courses:read-approved courses:publish": "courses:publish courses:read-approved",
	} {
		if got := w.send(w.tokenRequest("scope", asked)).wantToken(t); got["scope"] != want {
			t.Errorf("%q: %v", asked, got)
		}
	}
}

// resourceRequest asks for exactly these audiences and resources.
func (w *world) resourceRequest(pairs ...string) request {
	return w.requestOf(publisher, append([]string{"grant_type", "client_credentials"}, pairs...)...)
}

func testResourceSyntax(t *testing.T) {
	w := newWorld(t)
	for _, resource := range []string{
		"/api", "api", "//courses.example.com/api", courses + "#", courses + "#fragment", courses + "?x=1", "https://", "://", "%", " " + courses,
		courses + " ", courses + "\x00", "https://courses.example.com/\u00e9", strings.Repeat("a", 10000), "https://courses.example.com:port/api",
	} {
		for _, name := range []string{"resource", "audience"} {
			w.run(name+" "+resource[:min(len(resource), 50)], func(t *testing.T) {
				w.send(w.resourceRequest(name, resource)).wantError(t, http.StatusBadRequest, "invalid_target")
			})
		}
	}
}

func testUniformTarget(t *testing.T) {
	w := newWorld(t)
	// A younger rival of the course API in another namespace, which grants what it does not have.
	rival := w.api("rivals", "course-api", courses, "courses:write")
	rival.CreationTimestamp = metav1.NewTime(epoch.Add(time.Second))
	w.index.Upsert(rival)
	w.grant("rivals", "rival", "course-api", "jobs", "publisher", "courses:write")
	// An API of another issuer, granted, and one whose namespace is being deleted.
	foreign := w.api("courses", "foreign-api", "https://foreign.example.com", "read")
	foreign.Spec.IssuerRef.Name = "other"
	w.index.Upsert(foreign)
	w.grant("courses", "foreign", "foreign-api", "jobs", "publisher", "read")
	w.api("terminating", "api", "https://terminating.example.com", "read")
	w.grant("terminating", "grant", "api", "jobs", "publisher", "read")
	w.index.SetNamespaceTerminating("terminating", true)

	want := ""
	for name, r := range map[string]request{
		"unknown":           w.resourceRequest("resource", "https://unknown.example.com"),
		"ungranted":         w.resourceRequest("resource", payments),
		"missing":           w.resourceRequest(),
		"relative":          w.resourceRequest("resource", "/api"),
		"fragment":          w.resourceRequest("resource", courses+"#x"),
		"malformed":         w.resourceRequest("resource", "\x00%"),
		"repeated":          w.resourceRequest("resource", courses, "resource", payments),
		"two":               w.resourceRequest("resource", courses, "audience", payments),
		"of another issuer": w.resourceRequest("resource", "https://foreign.example.com"),
		"terminating":       w.resourceRequest("resource", "https://terminating.example.com"),
		"audience":          w.resourceRequest("audience", payments),
		"with a scope":      w.resourceRequest("resource", payments, "scope", "pay:read"),
		"with a bad scope":  w.resourceRequest("resource", payments, "scope", "a  b"),
	} {
		w.run(name, func(t *testing.T) {
			a := w.send(r)
			a.wantError(t, http.StatusBadRequest, "invalid_target")
			if want == "" {
				want = a.fingerprint()
			}
			if a.fingerprint() != want {
				t.Errorf("differs:\n%s\n%s", a.fingerprint(), want)
			}
		})
	}
	w.send(w.resourceRequest("resource", courses, "scope", "courses:write")).wantError(t, http.StatusBadRequest, "invalid_scope")
}

func testResourceRepeated(t *testing.T) {
	w := newWorld(t)
	for _, pairs := range [][]string{
		{"resource", courses, "resource", courses}, {"resource", courses, "resource", payments}, {"resource", "", "resource", ""},
	} {
		w.send(w.resourceRequest(pairs...)).wantError(t, http.StatusBadRequest, "invalid_target")
	}
	// Without a value a parameter counts as omitted (T-8), and resource may be repeated.
	for _, pairs := range [][]string{
		{"resource", courses, "resource", ""}, {"resource", "", "resource", courses}, {"audience", courses, "resource", "", "resource", ""},
	} {
		w.send(w.resourceRequest(pairs...)).wantToken(t)
	}
}

func testResourceOmitted(t *testing.T) {
	w := newWorld(t)
	w.send(w.resourceRequest()).wantError(t, http.StatusBadRequest, "invalid_target")
	id := w.client("jobs", "homely", func(c *v1alpha1.M2MClient) { c.Spec.DefaultAudience = courses })
	ask := func() answer { return w.send(w.requestOf(id, "grant_type", "client_credentials")) }
	ask().wantError(t, http.StatusBadRequest, "invalid_target")
	w.grant("courses", "homely", "course-api", "jobs", "homely", "courses:write")
	if got := w.claims(ask().wantToken(t)); got["aud"] != courses || got["scope"] != "courses:write" {
		t.Errorf("got %v", got)
	}
	w.send(w.requestOf(id, "grant_type", "client_credentials", "audience", payments)).wantError(t, http.StatusBadRequest, "invalid_target")
}

func testResourceCompared(t *testing.T) {
	w := newWorld(t)
	for _, resource := range []string{
		"https://COURSES.example.com/api", "HTTPS://courses.example.com/api", courses + "/", "https://courses.example.com:443/api",
		"https://courses.example.com/%61pi", "https://courses.example.com/./api", "https://courses.example.com//api", "https://courses.example.com",
	} {
		w.send(w.resourceRequest("resource", resource)).wantError(t, http.StatusBadRequest, "invalid_target")
	}
	w.send(w.resourceRequest("resource", courses)).wantToken(t)
}

func testScopesOfOneResource(t *testing.T) {
	w := newWorld(t)
	w.grant("payments", "publisher", "pay-api", "jobs", "publisher", "pay:read")
	got := w.send(w.tokenRequest("scope", "courses:publish pay:read")).wantToken(t)
	if got["scope"] != "courses:publish" || got["rejected_scope"] != "pay:read" {
		t.Errorf("got %v", got)
	}
	if got := w.send(w.tokenRequest()).wantToken(t); got["scope"] != "courses:publish courses:read-approved" {
		t.Errorf("got %v", got)
	}
}

func testAudienceRestricted(t *testing.T) {
	w := newWorld(t)
	w.grant("payments", "publisher", "pay-api", "jobs", "publisher", "pay:read")
	for _, audience := range []string{courses, payments} {
		if got := w.claims(w.send(w.resourceRequest("audience", audience)).wantToken(t)); got["aud"] != audience {
			t.Errorf("got %v", got)
		}
	}
}

func testAudienceAlias(t *testing.T) {
	w := newWorld(t)
	for _, pairs := range [][]string{{"audience", courses}, {"resource", courses}, {"audience", courses, "resource", courses}, {"audience", "", "resource", courses}} {
		if got := w.claims(w.send(w.resourceRequest(pairs...)).wantToken(t)); got["aud"] != courses {
			t.Errorf("%v: %v", pairs, got)
		}
	}
	w.send(w.resourceRequest("audience", courses, "resource", payments)).wantError(t, http.StatusBadRequest, "invalid_target")
	w.send(w.resourceRequest("audience", courses, "resource", courses+"/")).wantError(t, http.StatusBadRequest, "invalid_target")
}
