package issuer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/credential"
	"github.com/m2m-operator/m2m-operator/internal/token"
)

const (
	auditSecret   = "a-secret-of-the-publisher"
	auditAudience = "https://courses.example.com"
)

// tokenAnswer is what is looked at of the answer to a token request.
type tokenAnswer struct {
	AccessToken string `json:"access_token"`
	Scope       string `json:"scope"`
}

// lines keeps what is written, or refuses to.
type lines struct {
	mu      sync.Mutex
	text    bytes.Buffer
	failure error
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failure != nil {
		return 0, l.failure
	}
	return l.text.Write(p)
}

// take returns the lines so far, and forgets them.
func (l *lines) take(t *testing.T) []map[string]any {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []map[string]any
	for line := range strings.Lines(l.text.String()) {
		fields := map[string]any{}
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all = append(all, fields)
	}
	l.text.Reset()
	return all
}

// newAudited makes a server with the client jobs.publisher, which was granted the scope "read" of courses/course-api.
func newAudited(t *testing.T) (*Server, *lines) {
	t.Helper()
	audit := &lines{}
	s := newServer(0)
	s.auditLog = &auditLog{out: audit}
	furnish(t, s, func(string) {})
	addAPI(s, "courses", "course-api", auditAudience)
	addClient(s, "jobs", "publisher", "thesecret", auditSecret)
	s.state.index.Upsert(&v1alpha1.ScopeGrant{
		ObjectMeta: metav1.ObjectMeta{Namespace: "courses", Name: "nightly"},
		Spec: v1alpha1.ScopeGrantSpec{
			ApiResourceRef: v1alpha1.LocalApiResourceReference{Name: "course-api"},
			Subjects:       []v1alpha1.GrantSubject{{Namespace: "jobs", Name: "publisher"}},
			Scopes:         []v1alpha1.ScopeName{"read"},
		},
	})
	return s, audit
}

// addClient adds one with a secret, and the id of that.
func addClient(s *Server, namespace, name, id, secret string) {
	client := &v1alpha1.M2MClient{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       v1alpha1.M2MClientSpec{IssuerRef: v1alpha1.TokenIssuerReference{Name: "default"}},
	}
	owner := credential.Owner{Issuer: "default", ClientID: client.ClientID()}
	entry := s.state.pepper.Load().Entry(owner, credential.Credential{ID: id, Secret: secret}, v1alpha1.CredentialCurrent, time.Now(), time.Time{})
	client.Status.Credentials = []v1alpha1.CredentialStatus{entry}
	s.state.index.Upsert(client)
}

func addAPI(s *Server, namespace, name, identifier string) {
	s.state.index.Upsert(&v1alpha1.ApiResource{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1alpha1.ApiResourceSpec{
			IssuerRef: v1alpha1.TokenIssuerReference{Name: "default"}, Identifier: identifier,
			Scopes: []v1alpha1.ApiScope{{Name: "read"}, {Name: "write"}},
		},
	})
}

// post sends parameters to the token endpoint, as a client if it is named.
func post(s *Server, clientID, secret string, pairs ...string) *httptest.ResponseRecorder {
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	r := httptest.NewRequest("POST", "/oauth2/token", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if clientID != "" {
		r.SetBasicAuth(clientID, secret)
	}
	w := httptest.NewRecorder()
	s.servePublic(w, r)
	return w
}

// wantLine is a line without what differs from one request to the next.
func wantLine(fields map[string]any) map[string]any {
	line := map[string]any{"level": "INFO", "msg": "token request", "log": "audit", "source": "192.0.2.1", "authenticated": false}
	maps.Copy(line, fields)
	return line
}

func TestAuditLine(t *testing.T) {
	const grant = "client_credentials"
	proven := map[string]any{
		"client": "jobs.publisher", "authenticated": true, "method": "client_secret_basic", "credential": "thesecret",
	}
	with := func(fields map[string]any) map[string]any { maps.Copy(fields, proven); return fields }
	granted := []any{map[string]any{"scope": "read", "grants": []any{"courses/nightly"}}}
	for name, test := range map[string]struct {
		client, secret string
		form           []string
		want           map[string]any
	}{
		"issued": {"jobs.publisher", auditSecret, []string{"grant_type", grant, "audience", auditAudience},
			with(map[string]any{"api": "courses/course-api", "granted": granted, "outcome": "issued", "reason": "Granted", "lifetimeSeconds": 3600.0})},
		"issued in part": {"jobs.publisher", auditSecret, []string{"grant_type", grant, "audience", auditAudience, "scope", "read write else"},
			with(map[string]any{"api": "courses/course-api", "granted": granted, "outcome": "issued", "reason": "PartiallyGranted", "lifetimeSeconds": 3600.0,
				"rejected": []any{map[string]any{"scope": "else", "reason": "UnknownScope"}, map[string]any{"scope": "write", "reason": "NotGranted"}}})},
		"nothing granted": {"jobs.publisher", auditSecret, []string{"grant_type", grant, "audience", auditAudience, "scope", "write"},
			with(map[string]any{"api": "courses/course-api", "outcome": "invalid_scope", "reason": "NotGranted",
				"rejected": []any{map[string]any{"scope": "write", "reason": "NotGranted"}}})},
		"malformed scope": {"jobs.publisher", auditSecret, []string{"grant_type", grant, "audience", auditAudience, "scope", "a  b"},
			with(map[string]any{"api": "courses/course-api", "outcome": "invalid_scope", "reason": "MalformedScope"})},
		"unknown audience": {"jobs.publisher", auditSecret, []string{"grant_type", grant, "audience", "https://else.example.com"},
			with(map[string]any{"outcome": "invalid_target", "reason": "ApiResourceNotFound"})},
		"several audiences": {"jobs.publisher", auditSecret, []string{"grant_type", grant, "audience", "a", "resource", "b"},
			with(map[string]any{"outcome": "invalid_target", "reason": "SeveralAudiences"})},
		"other grant type": {"jobs.publisher", auditSecret, []string{"grant_type", "password"},
			with(map[string]any{"outcome": "unsupported_grant_type", "reason": "UnsupportedGrantType"})},
		"wrong secret": {"jobs.publisher", "wrong", []string{"grant_type", grant},
			map[string]any{"client": "jobs.publisher", "method": "client_secret_basic", "outcome": "invalid_client", "reason": "WrongSecret"}},
		"unknown client": {"jobs.nobody", auditSecret, []string{"grant_type", grant},
			map[string]any{"method": "client_secret_basic", "outcome": "invalid_client", "reason": "UnknownClient"}},
		"no credentials": {"", "", []string{"grant_type", grant, "client_id", "jobs.publisher"},
			map[string]any{"outcome": "invalid_client", "reason": "NoCredentials"}},
	} {
		t.Run(name, func(t *testing.T) {
			s, audit := newAudited(t)
			w := post(s, test.client, test.secret, test.form...)
			got := audit.take(t)
			if len(got) != 1 {
				t.Fatalf("%d lines", len(got))
			}
			issued := test.want["outcome"] == "issued"
			for field, wanted := range map[string]bool{"time": true, "requestID": true, "latencySeconds": true, "jti": issued, "kid": issued} {
				if _, ok := got[0][field]; ok != wanted {
					t.Errorf("%s is there: %t", field, ok)
				}
				delete(got[0], field)
			}
			if want := wantLine(test.want); !reflect.DeepEqual(got[0], want) {
				t.Errorf("got  %v\nwant %v", got[0], want)
			}
			if issued != (w.Code == http.StatusOK) {
				t.Errorf("the answer is %d %s", w.Code, w.Body)
			}
		})
	}
}

// TestAuditSaysWhichToken: the line names the token that was handed out, and does not hold it.
func TestAuditSaysWhichToken(t *testing.T) {
	s, audit := newAudited(t)
	w := post(s, "jobs.publisher", auditSecret, "grant_type", "client_credentials", "audience", auditAudience)
	line := audit.take(t)[0]
	var answer tokenAnswer
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Fatal(err)
	}
	issuer, _ := s.state.issuer()
	verified, reason := token.Verify(answer.AccessToken, issuer.URL, s.state.publicKey, s.now())
	if reason != "" || line["jti"] != verified.ID || line["kid"] != verified.KeyID {
		t.Errorf("the line is %v, the token %+v, %s", line, verified, reason)
	}
	if strings.Contains(fmt.Sprint(line), answer.AccessToken) {
		t.Error("the line holds the token")
	}
}

func TestEveryDecisionHasOneLine(t *testing.T) {
	s, audit := newAudited(t)
	for _, test := range []struct {
		method, target string
		body           io.Reader
		header         string
		outcome        string // "": no line
		reason         string
	}{
		{"GET", "/oauth2/token", nil, "", "invalid_request", "WrongMethod"},
		{"POST", "/oauth2/token", nil, "", "invalid_request", "WrongContentType"},
		{"POST", "/oauth2/token?client_secret=x", nil, "", "invalid_request", "ParametersInURI"},
		{"POST", "/oauth2/token", strings.NewReader(strings.Repeat("x", maxBody+1)), "", "invalid_request", "BodyTooLarge"},
		{"POST", "/oauth2/token", nil, strings.Repeat("x", maxHeader), "invalid_request", "HeaderTooLarge"},
		{"GET", "/oauth2/introspect", nil, "", "invalid_request", "WrongMethod"},
		{"GET", "/oauth2/jwks", nil, "", "", ""},
		{"GET", "/livez", nil, "", "", ""},
		{"GET", "/unknown", nil, "", "", ""},
	} {
		r := httptest.NewRequest(test.method, test.target, test.body)
		r.Header.Set("X-Large", test.header)
		s.servePublic(httptest.NewRecorder(), r)
		got := audit.take(t)
		if test.outcome == "" {
			if len(got) > 0 {
				t.Errorf("%s %s: %v", test.method, test.target, got)
			}
			continue
		}
		if len(got) != 1 || got[0]["outcome"] != test.outcome || got[0]["reason"] != test.reason || got[0]["authenticated"] != false {
			t.Errorf("%s %s: %v, want %s, %s", test.method, test.target, got, test.outcome, test.reason)
		}
	}
	for range 51 {
		post(s, "jobs.publisher", "wrong", "grant_type", "client_credentials")
	}
	all := audit.take(t)
	if last := all[len(all)-1]; len(all) != 51 || last["outcome"] != "throttled" || last["reason"] != "WrongSecret" {
		t.Errorf("%d lines, the last is %v", len(all), last)
	}
}

func TestAuditBoundsAndRedactsScopes(t *testing.T) {
	s, audit := newAudited(t)
	scopes := []string{"read", "a" + auditSecret + "b", "beginning-" + "eyJhbGciOiJub25lIn0.e30.", strings.Repeat("l", 500)}
	for i := range 40 {
		scopes = append(scopes, fmt.Sprintf("scope-%02d", i))
	}
	post(s, "jobs.publisher", auditSecret, "grant_type", "client_credentials", "audience", auditAudience, "scope", strings.Join(scopes, " "))
	line := audit.take(t)[0]
	rejected, _ := line["rejected"].([]any)
	if len(rejected) != maxRejected || line["rejectedMore"] != 43.0-maxRejected {
		t.Errorf("%d are named, and %v more", len(rejected), line["rejectedMore"])
	}
	count := map[string]int{}
	for _, one := range rejected {
		count[one.(map[string]any)["scope"].(string)]++
	}
	if count[redacted] != 2 || count[strings.Repeat("l", maxScopeName)] != 1 || count["scope-00"] != 1 {
		t.Errorf("named are %v", count)
	}
}

// TestAuditRedactsGrantedScopes: where a grant covers every id, the id is what the request says it is.
func TestAuditRedactsGrantedScopes(t *testing.T) {
	s, audit := newAudited(t)
	s.state.index.Upsert(&v1alpha1.ApiResource{
		ObjectMeta: metav1.ObjectMeta{Namespace: "courses", Name: "course-api"},
		Spec: v1alpha1.ApiResourceSpec{
			IssuerRef: v1alpha1.TokenIssuerReference{Name: "default"}, Identifier: auditAudience,
			ScopeSyntax: v1alpha1.ScopeSyntaxHierarchical, Scopes: []v1alpha1.ApiScope{{Name: "read"}},
		},
	})
	long := "read:" + strings.Repeat("l", 500) + ":x"
	post(s, "jobs.publisher", auditSecret, "grant_type", "client_credentials", "audience", auditAudience,
		"scope", "read:"+auditSecret+":x read:eyJhbGciOiJub25lIn0.e30.:x "+long)
	line := audit.take(t)[0]
	count := map[any]int{}
	granted, _ := line["granted"].([]any)
	for _, one := range granted {
		count[one.(map[string]any)["scope"]]++
	}
	if len(granted) != 3 || count[redacted] != 2 || count[long] != 1 {
		t.Errorf("the line is %v", line)
	}
}

func TestAuditThatCannotBeWritten(t *testing.T) {
	s, audit := newAudited(t)
	audit.failure = errors.New("the disk is full")
	for range 3 {
		if w := post(s, "jobs.publisher", auditSecret, "grant_type", "client_credentials", "audience", auditAudience); w.Code != http.StatusOK {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
	if got := testutil.ToFloat64(s.metrics.auditFailures); got != 3 {
		t.Errorf("%v failures are counted", got)
	}
}

// TestRequestIDIsOurs: it joins the lines of the two logs, differs from request to request, and is not the client's.
func TestRequestIDIsOurs(t *testing.T) {
	s, audit := newAudited(t)
	developers := &lines{}
	s.log = slog.New(slog.NewJSONHandler(developers, nil))
	s.state.SetSynced(func() bool { panic("inside") })
	seen := map[any]bool{}
	for range 2 {
		r := httptest.NewRequest("POST", "/oauth2/token", nil)
		r.Header.Set("X-Request-Id", "chosen")
		s.servePublic(httptest.NewRecorder(), r)
		line, problem := audit.take(t)[0], developers.take(t)[0]
		if line["requestID"] != problem["requestID"] || line["outcome"] != "server_error" || line["reason"] != "InternalError" {
			t.Errorf("%v\n%v", line, problem)
		}
		seen[line["requestID"]] = true
	}
	if seen["chosen"] || seen[nil] || seen[""] || len(seen) != 2 {
		t.Errorf("the ids are %v", seen)
	}
}

func TestAuditLinesOfConcurrentRequests(t *testing.T) {
	s, audit := newAudited(t)
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			post(s, "jobs.publisher", auditSecret, "grant_type", "client_credentials", "audience", auditAudience)
		})
	}
	all.Wait()
	ids := map[any]bool{}
	for _, line := range audit.take(t) {
		ids[line["requestID"]] = true
	}
	if len(ids) != 100 {
		t.Errorf("%d lines are whole", len(ids))
	}
}

// TestAuditOfIntrospection: the caller is the client of the line, and the token is named once it is known to be ours.
func TestAuditOfIntrospection(t *testing.T) {
	s, audit := newAudited(t)
	addClient(s, "courses", "gateway", "thegateway", "a-secret-of-the-gateway")
	var answer tokenAnswer
	w := post(s, "jobs.publisher", auditSecret, "grant_type", "client_credentials", "audience", auditAudience)
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Fatal(err)
	}
	issued := audit.take(t)[0]
	for name, test := range map[string]struct {
		caller, secret, token string
		want                  map[string]any
	}{
		"active": {"courses.gateway", "a-secret-of-the-gateway", answer.AccessToken, map[string]any{
			"client": "courses.gateway", "credential": "thegateway", "tokenClient": "jobs.publisher", "jti": issued["jti"], "kid": issued["kid"],
			"api": "courses/course-api", "granted": issued["granted"], "outcome": "active", "reason": "Granted"}},
		"of somebody else": {"jobs.publisher", auditSecret, answer.AccessToken, map[string]any{
			"client": "jobs.publisher", "credential": "thesecret", "tokenClient": "jobs.publisher", "jti": issued["jti"], "kid": issued["kid"],
			"api": "courses/course-api", "outcome": "inactive", "reason": "CallerNotOfApiResource"}},
		"no token": {"courses.gateway", "a-secret-of-the-gateway", "x.y.z", map[string]any{
			"client": "courses.gateway", "credential": "thegateway", "outcome": "inactive", "reason": "TokenMalformed"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest("POST", "/oauth2/introspect", strings.NewReader("token="+test.token))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.SetBasicAuth(test.caller, test.secret)
			s.servePublic(httptest.NewRecorder(), r)
			got := audit.take(t)
			if len(got) != 1 {
				t.Fatalf("%d lines", len(got))
			}
			for _, field := range []string{"time", "requestID", "latencySeconds"} {
				delete(got[0], field)
			}
			want := wantLine(test.want)
			want["msg"], want["authenticated"], want["method"] = "introspection", true, "client_secret_basic"
			if !reflect.DeepEqual(got[0], want) {
				t.Errorf("got  %v\nwant %v", got[0], want)
			}
		})
	}
}
