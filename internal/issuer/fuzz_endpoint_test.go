package issuer

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/credential"
	"github.com/m2m-operator/m2m-operator/internal/keyring"
	"github.com/m2m-operator/m2m-operator/internal/token"
	"github.com/m2m-operator/m2m-operator/test/assertion"
)

const (
	fuzzedURL    = "https://tokens.example.com"
	fuzzedClient = "jobs.publisher"
	fuzzedOwner  = "courses.course-api"
	ownerSecret  = "a-secret-of-the-owner"
	jwtBearer    = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
)

var fuzzedNow = time.Date(2026, 11, 22, 18, 0, 0, 0, time.UTC)

// fuzzed is a server whose keys, clients and clock are the same in every process: fuzzing takes several. It has
// jobs.publisher and courses.course-api with a secret, and jobs.signer with a key, of which the first and the last were
// granted the scope "read" of courses/course-api.
type fuzzed struct {
	*Server
	audit, developers *lines
	// token of jobs.publisher, and assertion of jobs.signer.
	token, assertion string
}

func newFuzzed(f *testing.F) fuzzed {
	f.Helper()
	must := func(err error) {
		if err != nil {
			f.Fatal(err)
		}
	}
	s := fuzzed{audit: &lines{}, developers: &lines{}}
	s.Server = New(NewState("default", access.NewIndex("m2m-system")), Options{
		Now: func() time.Time { return fuzzedNow }, Random: zeros{}, Audit: s.audit,
		Logger: slog.New(slog.NewJSONHandler(s.developers, nil)),
	})
	s.state.SetSynced(func() bool { return true })
	issuer := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	issuer.Spec.URL, issuer.Spec.TrustedProxies = fuzzedURL, []string{"10.0.0.0/8"}
	issuer.Spec.Signing.Algorithms = []v1alpha1.SigningAlgorithm{v1alpha1.EdDSA}
	s.state.index.Upsert(issuer)

	key := jose.JSONWebKey{Key: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize)), Algorithm: "EdDSA", Use: "sig"}
	var err error
	key.KeyID, err = keyring.Thumbprint(key)
	must(err)
	keys, err := keyring.NewKeySet(keyring.Ring{}.Fill(keyring.Slot{Algorithm: v1alpha1.EdDSA, Generation: 1}, key, fuzzedNow), []jose.JSONWebKey{key})
	must(err)
	s.state.SetKeys(keys)
	pepper, err := credential.ParsePepper(bytes.Repeat([]byte{1}, 32))
	must(err)
	s.state.SetPepper(pepper)

	addAPI(s.Server, "courses", "course-api", auditAudience)
	addClient(s.Server, "jobs", "publisher", "thesecret", auditSecret)
	addClient(s.Server, "courses", "course-api", "owners", ownerSecret)
	signer := &v1alpha1.M2MClient{ObjectMeta: metav1.ObjectMeta{Namespace: "jobs", Name: "signer"}}
	signer.Spec.Authentication = []v1alpha1.AuthenticationMethod{v1alpha1.AuthenticateByKey}
	signer.Spec.JWKS = &v1alpha1.JSONWebKeySet{Keys: []v1alpha1.JSONWebKey{assertion.Fixed().JWK("k")}}
	s.state.index.Upsert(signer)
	grant := &v1alpha1.ScopeGrant{ObjectMeta: metav1.ObjectMeta{Namespace: "courses", Name: "nightly"}}
	grant.Spec.ApiResourceRef.Name, grant.Spec.Scopes = "course-api", []v1alpha1.ScopeName{"read"}
	grant.Spec.Subjects = []v1alpha1.GrantSubject{{Namespace: "jobs", Name: "publisher"}, {Namespace: "jobs", Name: "signer"}}
	s.state.index.Upsert(grant)

	minted, err := token.Mint(key, token.Grant{
		Issuer: fuzzedURL, ClientID: fuzzedClient, Audience: auditAudience, Scopes: []string{"read"}, Lifetime: time.Hour,
	}, fuzzedNow, s.random)
	must(err)
	s.token = string(minted.JWT)
	s.assertion = assertion.Fixed().Sign(`{"alg":"EdDSA","kid":"k"}`,
		`{"iss":"jobs.signer","sub":"jobs.signer","aud":"`+fuzzedURL+`","exp":1795370460,"jti":"one"}`)
	return s
}

// zeros is no randomness at all, so that a token is the same in every process.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// answered is what the transport is given.
type answered struct {
	header http.Header
	status []int
	body   bytes.Buffer
}

func (a *answered) Header() http.Header         { return a.header }
func (a *answered) Write(p []byte) (int, error) { return a.body.Write(p) }
func (a *answered) WriteHeader(status int)      { a.status = append(a.status, status) }

// request is one as net/http hands it over, or a worse one. It has a field of the header a line.
func request(method, path, query, header, body string) *http.Request {
	r := &http.Request{
		Method: method, URL: &url.URL{Path: path, RawQuery: query}, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{},
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), RemoteAddr: "10.0.0.1:4711",
	}
	for line := range strings.Lines(header) {
		if name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ":"); ok {
			r.Header.Add(name, strings.Trim(value, " \t"))
		}
	}
	return r
}

// oauthErrors are all that these endpoints may answer, by status.
var oauthErrors = map[int][]string{
	http.StatusBadRequest:                  {"invalid_request", "unsupported_grant_type", "invalid_target", "invalid_scope"},
	http.StatusUnauthorized:                {"invalid_client"},
	http.StatusTooManyRequests:             {"invalid_client"},
	http.StatusMethodNotAllowed:            {"invalid_request"},
	http.StatusRequestHeaderFieldsTooLarge: {"invalid_request"},
}

// send answers a request, and checks what holds for every answer: it is one, no redirect and no fault of ours, its error
// is by RFC 6749 section 5.2, and neither it nor a log holds a secret. It returns the body of a 200.
func (s fuzzed) send(t *testing.T, r *http.Request) []byte {
	t.Helper()
	w := &answered{header: http.Header{}}
	s.servePublic(w, r)
	if len(w.status) != 1 {
		t.Fatalf("answered by %d", w.status)
	}
	if w.header.Get("Cache-Control") != "no-store" || w.header.Get("Content-Type") != "application/json" || w.header.Get("Location") != "" {
		t.Errorf("%d with %v", w.status, w.header)
	}
	audited, developers := s.audit.text.String(), s.developers.text.String()
	if lines := s.audit.take(t); len(lines) != 1 || len(s.developers.take(t)) > 0 {
		t.Errorf("%d audit lines, and to developers it says %s", len(lines), developers)
	}
	for what, secret := range map[string]string{
		"publisher's secret": auditSecret, "owner's secret": ownerSecret, "token": s.token, "assertion": s.assertion,
	} {
		// The token that is handed out is the one that there is: its id is no random one.
		if strings.Contains(audited, secret) || (what != "token" && strings.Contains(w.body.String()+toText(w.header), secret)) {
			t.Errorf("the %s is in the answer %s, or in the line %s", what, w.body.String(), audited)
		}
	}
	if w.status[0] == http.StatusOK {
		return w.body.Bytes()
	}
	var refusal struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	decoder := json.NewDecoder(&w.body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&refusal); err != nil || !slices.Contains(oauthErrors[w.status[0]], refusal.Error) {
		t.Errorf("%d with %+v, %v", w.status, refusal, err)
	}
	if refusal.Description == "" || strings.ContainsFunc(refusal.Description, func(c rune) bool { return c < 0x20 || c > 0x7e || c == '"' || c == '\\' }) {
		t.Errorf("the description is %q", refusal.Description)
	}
	for status, field := range map[int]string{
		http.StatusUnauthorized: "WWW-Authenticate", http.StatusMethodNotAllowed: "Allow", http.StatusTooManyRequests: "Retry-After",
	} {
		if (w.status[0] == status) != (w.header.Get(field) != "") {
			t.Errorf("%d with %s %q", w.status, field, w.header.Get(field))
		}
	}
	return nil
}

func toText(header http.Header) string {
	var text strings.Builder
	_ = header.Write(&text) // to memory
	return text.String()
}

// parameters are those of the body, as other readers find them.
func parameters(r *http.Request, body string) url.Values {
	values, err := url.ParseQuery(body)
	object := map[string]any{}
	if strings.Contains(strings.ToLower(r.Header.Get("Content-Type")), "json") && json.Unmarshal([]byte(body), &object) == nil {
		values, err = url.Values{}, nil
		for name, value := range object {
			if text, ok := value.(string); ok {
				values.Set(name, text)
			}
		}
	}
	if err != nil || r.URL.Query().Has("client_secret") || r.URL.Query().Has("client_assertion") {
		return url.Values{}
	}
	return values
}

// prover is the client whose good credentials are in the request and are the only ones, "" if there is none.
func (s fuzzed) prover(r *http.Request, sent url.Values) string {
	secrets := map[string]string{fuzzedClient: auditSecret, fuzzedOwner: ownerSecret}
	authorization := r.Header.Values("Authorization")
	id, secret := sent.Get("client_id"), sent.Get("client_secret")
	byAssertion := sent.Get("client_assertion") != ""
	switch {
	case len(authorization) == 1 && secret == "" && !byAssertion:
		scheme, encoded, _ := strings.Cut(authorization[0], " ")
		header := http.Header{"Authorization": {scheme + " " + strings.TrimLeft(encoded, " ")}}
		username, password, _ := (&http.Request{Header: header}).BasicAuth()
		name, err1 := url.QueryUnescape(username)
		presented, err2 := url.QueryUnescape(password)
		if presented != "" && secrets[name] == presented && err1 == nil && err2 == nil && (id == "" || id == name) {
			return name
		}
	case len(authorization) == 0 && secret != "" && secrets[id] == secret && !byAssertion:
		return id
	case len(authorization) == 0 && secret == "" && sent.Get("client_assertion") == s.assertion && sent.Get("client_assertion_type") == jwtBearer &&
		(id == "" || id == "jobs.signer"):
		return "jobs.signer"
	}
	return ""
}
