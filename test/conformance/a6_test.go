package conformance

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/m2m-operator/m2m-operator/internal/keyring"
)

var responses = []statement{
	{"R-1", "headers", testHeaders},
	{"R-2", "members", testMembers},
	{"R-3", "token_type", testTokenType},
	{"R-4", "expires_in", testExpiresIn},
	{"R-5", "errors_echo_nothing", testErrorsEchoNothing},
	{"R-6", "unavailable", testUnavailable},
	{"R-6", "server_error_tells_nothing", testServerError},
	{"R-6", "registered_errors_only", testRegisteredErrors},
	{"R-7", "401_has_a_challenge", testChallenge},
	{"R-8", "precedence", testPrecedence},
	{"R-9", "every_token_is_another", testConcurrent},
}

func testHeaders(t *testing.T) {
	w := newWorld(t)
	w.send(w.tokenRequest()).wantPrivate(t)
	w.send(w.tokenRequest().bare()).wantPrivate(t)
	a := w.send(w.tokenRequest())
	for _, name := range []string{"Set-Cookie", "Location", "Access-Control-Allow-Origin", "Server", "ETag"} {
		if got := a.header.Values(name); got != nil {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func testMembers(t *testing.T) {
	w := newWorld(t)
	for member := range w.send(w.tokenRequest("scope", "courses:publish x")).wantToken(t) {
		switch member {
		case "access_token", "token_type", "expires_in", "scope", "rejected_scope":
		default:
			t.Errorf("there is a member %s", member)
		}
	}
}

func testTokenType(t *testing.T) {
	w := newWorld(t)
	if got := w.send(w.tokenRequest()).wantToken(t)["token_type"]; got != "Bearer" {
		t.Errorf("token_type %v", got)
	}
}

func testExpiresIn(t *testing.T) {
	w := newWorld(t)
	a := w.send(w.tokenRequest())
	claims := w.claims(a.wantToken(t))
	if claims["exp"].(float64)-claims["iat"].(float64) != 3600 || !regexp.MustCompile(`"expires_in":3600[,}]`).MatchString(a.body) {
		t.Errorf("%v in %s", claims, a.body)
	}
}

func testErrorsEchoNothing(t *testing.T) {
	w := newWorld(t)
	canary := "canary\"\\\r\n\u00e9<script>" + strings.Repeat("x", 10000)
	description := regexp.MustCompile(`^[\x20-\x21\x23-\x5B\x5D-\x7E]+$`)
	for name, r := range map[string]request{
		"client_id":     w.tokenRequest("client_id", canary, "client_secret", "x").bare(),
		"client_secret": w.tokenRequest("client_id", publisher, "client_secret", canary).bare(),
		"mismatch":      w.tokenRequest("client_id", canary),
		"grant_type":    w.requestOf(publisher, "grant_type", canary),
		"audience":      w.resourceRequest("audience", canary),
		"resource":      w.resourceRequest("resource", canary),
		"scope":         w.tokenRequest("scope", canary),
		"repeated":      w.tokenRequest("scope", canary, "scope", canary),
		"header":        w.tokenRequest().with("Authorization", "canary"),
		"basic":         w.tokenRequest().with("Authorization", basic(canary[:2000], canary[:2000])),
		"content type":  w.tokenRequest().with("Content-Type", "canary/"+strings.Repeat("x", 1000)),
		"path":          {method: "GET", target: "/canary", header: http.Header{}},
	} {
		w.run(name, func(t *testing.T) {
			a := w.send(r)
			if a.status < 400 || strings.Contains(a.fingerprint(), "canary") {
				t.Errorf("echoes: %.300s", a.fingerprint())
			}
			if got := a.fields(t)["error_description"].(string); !description.MatchString(got) {
				t.Errorf("error_description %q", got)
			}
		})
	}
	if log := w.log.String(); strings.Contains(log, "canary") || strings.Contains(log, w.secrets[publisher]) {
		t.Errorf("the log holds what requests carried: %.300s", log)
	}
}

func testUnavailable(t *testing.T) {
	w := startWorld(t)
	empty := request{method: "POST", target: tokenPath, header: http.Header{}}
	unavailable := func(what string) {
		t.Helper()
		for _, r := range []request{empty, {method: "GET", target: jwksPath, header: http.Header{}}, {method: "GET", target: oauthPath, header: http.Header{}}} {
			a := w.send(r)
			if (r.target == tokenPath || what == "everything") && a.status != http.StatusServiceUnavailable {
				t.Errorf("without %s %s answers %d", what, r.target, a.status)
			}
			if a.status == http.StatusServiceUnavailable {
				a.wantError(t, http.StatusServiceUnavailable, "temporarily_unavailable")
				if a.header.Get("Retry-After") == "" {
					t.Error("there is no Retry-After")
				}
			}
		}
		if a := w.get("/readyz"); a.status != http.StatusServiceUnavailable || !strings.HasPrefix(a.header.Get("Content-Type"), "text/plain") || len(a.body) < 10 {
			t.Errorf("without %s /readyz says %d %q", what, a.status, a.body)
		}
		if a := w.get("/livez"); a.status != http.StatusOK {
			t.Errorf("without %s /livez says %d", what, a.status)
		}
		if a, b := w.get("/readyz"), w.ops("/readyz"); a.status != b.status || a.body != b.body {
			t.Errorf("the ports differ: %q and %q", a.body, b.body)
		}
	}
	unavailable("everything")
	w.fill()
	w.send(w.tokenRequest()).wantToken(t)
	if a := w.get("/readyz"); a.status != http.StatusOK {
		t.Errorf("/readyz says %d %s", a.status, a.body)
	}
	w.state.SetKeys(nil)
	unavailable("keys")
	none, err := keyring.NewKeySet(fixed().ring, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.state.SetKeys(none)
	unavailable("private keys")
	w.setRing(fixed().ring)
	w.state.SetSynced(func() bool { return false })
	unavailable("sync")
	w.state.SetSynced(func() bool { return true })
	w.send(w.tokenRequest()).wantToken(t)
}

func testServerError(t *testing.T) {
	w := newWorld(t)
	w.broken.Store(true)
	a := w.send(w.tokenRequest())
	a.wantError(t, http.StatusInternalServerError, "server_error")
	if strings.Contains(a.body, errBroken.Error()) {
		t.Errorf("it tells why: %s", a.body)
	}
	w.broken.Store(false)
	w.send(w.tokenRequest()).wantToken(t)
	w.state.SetSynced(func() bool { panic("inside") })
	a = w.send(w.tokenRequest())
	a.wantError(t, http.StatusInternalServerError, "server_error")
	if strings.Contains(a.fingerprint(), "inside") || !strings.Contains(w.log.String(), "inside") {
		t.Errorf("it tells why, or the log does not: %s", a.fingerprint())
	}
	w.state.SetSynced(func() bool { return true })
	w.send(w.tokenRequest()).wantToken(t)
}

// errBroken is what the server's source of randomness says when it is broken.
var errBroken = errors.New("the canary of randomness has died")

func testRegisteredErrors(t *testing.T) {
	w := newWorld(t)
	for code, r := range map[string]request{
		"invalid_request":        w.tokenRequest("grant_type", "x"),
		"invalid_client":         w.tokenRequest().bare(),
		"unsupported_grant_type": w.requestOf(publisher, "grant_type", "x"),
		"invalid_scope":          w.tokenRequest("scope", "x"),
		"invalid_target":         w.resourceRequest(),
	} {
		status := http.StatusBadRequest
		if code == "invalid_client" {
			status = http.StatusUnauthorized
		}
		w.send(r).wantError(t, status, code)
	}
}

// testPrecedence piles mistake upon mistake: the first one wins, whatever follows.
func testPrecedence(t *testing.T) {
	w := newWorld(t)
	r := w.requestOf(publisher, "grant_type", "x", "audience", payments, "scope", "a  b")
	good := r.header.Get("Authorization")
	r = r.with("Authorization", basic(publisher, "wrong"))
	mixed := r.add("client_id", publisher, "client_secret", "x")
	repeated := mixed.add("scope", "x")
	malformed := repeated
	malformed.body += "&x=%zz"
	mistyped := malformed.with("Content-Type", "text/plain")
	oversized := mistyped
	oversized.body += strings.Repeat("x", 70<<10)
	wrongMethod := oversized
	wrongMethod.method = "PUT"
	authenticated := r.with("Authorization", good)
	supported := authenticated
	supported.body = encode("grant_type", "client_credentials", "audience", payments, "scope", "a  b")
	targeted := authenticated
	targeted.body = encode("grant_type", "client_credentials", "audience", courses, "scope", "a  b")

	descriptions := map[string]bool{}
	for _, step := range []struct {
		name    string
		request request
		status  int
		code    string
	}{
		{"method", wrongMethod, http.StatusMethodNotAllowed, "invalid_request"},
		{"size", oversized, http.StatusBadRequest, "invalid_request"},
		{"content type", mistyped, http.StatusBadRequest, "invalid_request"},
		{"form", malformed, http.StatusBadRequest, "invalid_request"},
		{"repetition", repeated, http.StatusBadRequest, "invalid_request"},
		{"mixed authentication", mixed, http.StatusBadRequest, "invalid_request"},
		{"authentication", r, http.StatusUnauthorized, "invalid_client"},
		{"grant type", authenticated, http.StatusBadRequest, "unsupported_grant_type"},
		{"resource", supported, http.StatusBadRequest, "invalid_target"},
		{"scope", targeted, http.StatusBadRequest, "invalid_scope"},
	} {
		w.run(step.name, func(t *testing.T) {
			a := w.raw(step.request.method, step.request.text())
			a.wantError(t, step.status, step.code)
			description := fmt.Sprint(a.fields(t)["error_description"])
			if descriptions[description] {
				t.Errorf("another mistake has this description too: %s", description)
			}
			descriptions[description] = true
		})
	}
	w.send(w.requestOf(publisher, "grant_type", "client_credentials", "audience", courses)).wantToken(t)
}

func testConcurrent(t *testing.T) {
	w := newWorld(t)
	r := w.tokenRequest()
	bodies := make(chan []byte, 80)
	var wait sync.WaitGroup
	for worker := range 8 {
		client := []*http.Client{w.http1, w.http2}[worker%2]
		wait.Go(func() {
			for range 10 {
				out, err := http.NewRequest(r.method, "https://"+w.address+r.target, strings.NewReader(r.body))
				if err != nil {
					t.Error(err)
					return
				}
				out.Header = r.header.Clone()
				response, err := client.Do(out)
				if err != nil {
					t.Error(err)
					return
				}
				body, err := io.ReadAll(response.Body)
				if err != nil {
					t.Error(err)
				}
				response.Body.Close()
				bodies <- body
			}
		})
	}
	for range 50 {
		w.client("jobs", "noise", nil)
		w.setRing(fixed().ring)
	}
	wait.Wait()
	close(bodies)
	seen := map[any]bool{}
	for body := range bodies {
		seen[w.claims(answer{body: string(body)}.fields(t))["jti"]] = true
	}
	if len(seen) != 80 {
		t.Errorf("%d different tokens", len(seen))
	}
}
