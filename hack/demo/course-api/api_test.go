package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"
)

const audience = "https://courses.example.com/api"

// world is the API before an issuer's JWKS that is served over TLS.
type world struct {
	api    http.Handler
	issuer *httptest.Server
	key    crypto.Signer
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{key: newKey(t)}
	w.issuer = httptest.NewTLSServer(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(out).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
			{Key: w.key.Public(), KeyID: "k1", Algorithm: "ES256", Use: "sig"},
		}})
	}))
	t.Cleanup(w.issuer.Close)
	dir := t.TempDir()
	for name, text := range map[string]string{
		"issuer":   w.issuer.URL,
		"audience": audience,
		"jwks_uri": w.issuer.URL + "/oauth2/jwks",
		"ca.crt":   string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.issuer.Certificate().Raw})),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tokens, err := newVerifier(context.Background(), dir)
	if err != nil {
		t.Fatal(err)
	}
	w.api = newAPI(tokens, sampleCourses(time.Now()))
	return w
}

func newKey(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// token signs good claims, with changes.
func (w *world) token(t *testing.T, key crypto.Signer, typ string, changes map[string]any) string {
	t.Helper()
	now := time.Now()
	claims := map[string]any{
		"iss": w.issuer.URL, "sub": "jobs.publisher", "client_id": "jobs.publisher", "aud": audience,
		"iat": now.Unix(), "exp": now.Add(time.Minute).Unix(), "jti": "1",
		"scope": "courses:read-approved courses:publish",
	}
	maps.Copy(claims, changes)
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "k1"}},
		(&jose.SignerOptions{}).WithType(jose.ContentType(typ)))
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return compact
}

func (w *world) call(method, path, body string, authorization ...string) *http.Response {
	request := httptest.NewRequest(method, path, strings.NewReader(body))
	for _, value := range authorization {
		request.Header.Add("Authorization", value)
	}
	recorder := httptest.NewRecorder()
	w.api.ServeHTTP(recorder, request)
	return recorder.Result()
}

func TestScopesDecide(t *testing.T) {
	w := newWorld(t)
	publisher := "Bearer " + w.token(t, w.key, "at+jwt", nil)
	author := "bearer " + w.token(t, w.key, "application/AT+JWT", map[string]any{"scope": "courses:write"})
	nobody := "Bearer " + w.token(t, w.key, "at+jwt", map[string]any{"scope": nil})
	const newCourse = `{"name":"Logic","details":"Proofs","startDate":"2030-01-01"}`
	for _, test := range []struct {
		name, as, method, path, body string
		status                       int
		missing                      string // the scope that a 403 must name
	}{
		{"read approved", publisher, "GET", "/api/courses?status=approved", "", 200, ""},
		{"publish an approved course", publisher, "PATCH", "/api/courses/3", `{"status":"published"}`, 200, ""},
		{"publish it again", publisher, "PATCH", "/api/courses/3", `{"status":"published"}`, 200, ""},
		{"publish an unapproved course", publisher, "PATCH", "/api/courses/8", `{"status":"published"}`, 409, ""},
		{"publish no course", publisher, "PATCH", "/api/courses/x", `{"status":"published"}`, 404, ""},
		{"take a publication back", publisher, "PATCH", "/api/courses/3", `{"status":"approved"}`, 400, ""},
		{"read published", publisher, "GET", "/api/courses", "", 403, "courses:read-published"},
		{"read pending", publisher, "GET", "/api/courses?status=pending", "", 403, "courses:write"},
		{"create", publisher, "POST", "/api/courses", newCourse, 403, "courses:write"},
		{"create as an author", author, "POST", "/api/courses", newCourse, 201, ""},
		{"create nonsense", author, "POST", "/api/courses", `{"name":"Logic"}`, 400, ""},
		{"publish as an author", author, "PATCH", "/api/courses/4", `{"status":"published"}`, 403, "courses:publish"},
		{"a token without scopes", nobody, "GET", "/api/courses?status=approved", "", 403, "courses:read-approved"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := w.call(test.method, test.path, test.body, test.as)
			if got.StatusCode != test.status {
				body, _ := io.ReadAll(got.Body)
				t.Fatalf("status %d, want %d: %s", got.StatusCode, test.status, body)
			}
			challenge := got.Header.Get("WWW-Authenticate")
			if want := `error="insufficient_scope"`; test.status == 403 &&
				(!strings.Contains(challenge, want) || !strings.Contains(challenge, `scope="`+test.missing+`"`)) {
				t.Errorf("challenge %q, want %s and scope %s", challenge, want, test.missing)
			}
		})
	}
}

func TestBadTokensAreRefused(t *testing.T) {
	w := newWorld(t)
	good := w.token(t, w.key, "at+jwt", nil)
	past := time.Now().Add(-time.Minute).Unix()
	for _, test := range []struct {
		name          string
		authorization []string
		status        int
		code          string
	}{
		{"none", nil, 401, ""},
		{"another scheme", []string{"Basic am9iczpzZWNyZXQ="}, 401, ""},
		{"no token after the scheme", []string{"Bearer"}, 400, "invalid_request"},
		{"two headers", []string{"Bearer " + good, "Bearer " + good}, 400, "invalid_request"},
		{"garbage", []string{"Bearer garbage"}, 401, "invalid_token"},
		{"a broken signature", []string{"Bearer " + good[:len(good)-4] + "AAAA"}, 401, "invalid_token"},
		{"another key", []string{"Bearer " + w.token(t, newKey(t), "at+jwt", nil)}, 401, "invalid_token"},
		{"an ID token", []string{"Bearer " + w.token(t, w.key, "JWT", nil)}, 401, "invalid_token"},
		{"another issuer", []string{"Bearer " + w.token(t, w.key, "at+jwt", map[string]any{"iss": "https://x.example"})}, 401, "invalid_token"},
		{"another audience", []string{"Bearer " + w.token(t, w.key, "at+jwt", map[string]any{"aud": audience + "/"})}, 401, "invalid_token"},
		{"expired", []string{"Bearer " + w.token(t, w.key, "at+jwt", map[string]any{"exp": past})}, 401, "invalid_token"},
		{"without expiry", []string{"Bearer " + w.token(t, w.key, "at+jwt", map[string]any{"exp": nil})}, 401, "invalid_token"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := w.call("GET", "/api/courses?status=approved", "", test.authorization...)
			challenge := got.Header.Get("WWW-Authenticate")
			if got.StatusCode != test.status || !strings.HasPrefix(challenge, `Bearer realm="course-api"`) {
				t.Errorf("status %d and challenge %q, want %d", got.StatusCode, challenge, test.status)
			}
			if want := `error="` + test.code + `"`; test.code != "" && !strings.Contains(challenge, want) {
				t.Errorf("challenge %q, want %s", challenge, want)
			}
			if test.code == "" && strings.Contains(challenge, "error") {
				t.Errorf("challenge %q names an error for a request without a token", challenge)
			}
		})
	}
}

func TestATokenThatCannotBeCheckedIsNotCalledBad(t *testing.T) {
	w := newWorld(t)
	token := w.token(t, w.key, "at+jwt", nil)
	w.issuer.Close()
	got := w.call("GET", "/api/courses?status=approved", "", "Bearer "+token)
	if got.StatusCode != http.StatusServiceUnavailable || got.Header.Get("Retry-After") == "" {
		t.Errorf("status %d, Retry-After %q; want 503 with one", got.StatusCode, got.Header.Get("Retry-After"))
	}
}
