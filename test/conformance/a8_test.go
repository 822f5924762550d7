package conformance

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/m2m-operator/m2m-operator/internal/keyring"
)

var jwks = []statement{
	{"JWKS-1", "response", testJWKSResponse},
	{"JWKS-1", "conditional_request", testJWKSConditional},
	{"JWKS-2", "public_members_only", testJWKSMembers},
	{"JWKS-3", "active_and_next_keys", testJWKSKeys},
	{"JWKS-4", "size", testJWKSSize},
	{"JWKS-5", "same_on_every_replica", testJWKSReplicas},
	{"JWKS-6", "never_empty", testJWKSNeverEmpty},
}

func testJWKSResponse(t *testing.T) {
	w := newWorld(t)
	for _, method := range []string{"GET", "HEAD"} {
		a := w.send(request{method: method, target: jwksPath, header: http.Header{}})
		cache := a.header.Get("Cache-Control")
		if a.status != http.StatusOK || a.header.Get("Content-Type") != "application/jwk-set+json" ||
			!strings.HasPrefix(cache, "public, max-age=300") || a.header.Get("ETag") == "" ||
			a.header.Get("Access-Control-Allow-Origin") != "*" || a.header.Get("Pragma") != "" {
			t.Errorf("%s: %s", method, a.fingerprint())
		}
		if (a.body == "") != (method == "HEAD") {
			t.Errorf("%s: body %q", method, a.body)
		}
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS"} {
		a := w.send(request{method: method, target: jwksPath, header: http.Header{}})
		a.wantError(t, http.StatusMethodNotAllowed, "invalid_request")
		if a.header.Get("Allow") != "GET, HEAD" {
			t.Errorf("Allow %q", a.header.Get("Allow"))
		}
	}
}

func testJWKSConditional(t *testing.T) {
	w := newWorld(t)
	etag := w.get(jwksPath).header.Get("ETag")
	get := request{method: "GET", target: jwksPath, header: http.Header{}}
	for _, tag := range []string{etag, "W/" + etag, `"x", ` + etag, "*", etag + `,"y"`} {
		a := w.send(get.with("If-None-Match", tag))
		if a.status != http.StatusNotModified || a.body != "" || a.header.Get("ETag") != etag || !strings.Contains(a.header.Get("Cache-Control"), "max-age=300") {
			t.Errorf("%s: %s", tag, a.fingerprint())
		}
	}
	for _, tag := range []string{`"x"`, "", "x", strings.Trim(etag, `"`)} {
		if a := w.send(get.with("If-None-Match", tag)); a.status != http.StatusOK {
			t.Errorf("%s: %d", tag, a.status)
		}
	}
	ring := fixed().ring
	w.setRing(keyring.Ring{Keys: ring.Keys[:2]})
	if a := w.send(get.with("If-None-Match", etag)); a.status != http.StatusOK || a.header.Get("ETag") == etag {
		t.Errorf("other keys have the same ETag: %s", a.fingerprint())
	}
}

func testJWKSMembers(t *testing.T) {
	w := newWorld(t)
	var set struct{ Keys []map[string]string }
	if err := json.Unmarshal([]byte(w.get(jwksPath).body), &set); err != nil {
		t.Fatal(err)
	}
	members := map[string][]string{"EC": {"crv", "x", "y"}, "RSA": {"n", "e"}}
	seen := map[string]bool{}
	for _, key := range set.Keys {
		if key["use"] != "sig" || key["alg"] == "" || key["kid"] == "" || seen[key["kid"]] {
			t.Errorf("key %v", key)
		}
		seen[key["kid"]] = true
		for member := range key {
			if !slices.Contains([]string{"kty", "use", "alg", "kid"}, member) && !slices.Contains(members[key["kty"]], member) {
				t.Errorf("a key has the member %s", member)
			}
		}
		text, err := json.Marshal(key)
		if err != nil {
			t.Fatal(err)
		}
		var parsed jose.JSONWebKey
		if err := parsed.UnmarshalJSON(text); err != nil {
			t.Fatal(err)
		}
		if thumbprint, err := keyring.Thumbprint(parsed); err != nil || thumbprint != key["kid"] {
			t.Errorf("kid %s, thumbprint %s, %v", key["kid"], thumbprint, err)
		}
	}
}

func testJWKSKeys(t *testing.T) {
	w := newWorld(t)
	var set jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(w.get(jwksPath).body), &set); err != nil {
		t.Fatal(err)
	}
	for _, key := range fixed().ring.Keys {
		if len(set.Key(key.KID)) != 1 {
			t.Errorf("the %s key %s is not published", key.State, key.KID)
		}
	}
	if len(set.Keys) != 4 {
		t.Errorf("%d keys for two algorithms", len(set.Keys))
	}
}

func testJWKSSize(t *testing.T) {
	w := newWorld(t)
	if body := w.get(jwksPath).body; len(body) >= 16<<10 || strings.Count(body, `"kid"`) > 10 {
		t.Errorf("%d bytes", len(body))
	}
}

func testJWKSReplicas(t *testing.T) {
	one, two := newWorld(t), newWorld(t)
	if a, b := one.get(jwksPath), two.get(jwksPath); a.fingerprint() != b.fingerprint() {
		t.Errorf("they differ:\n%s\n%s", a.fingerprint(), b.fingerprint())
	}
	if a, b := one.get(oauthPath), two.get(oauthPath); a.fingerprint() != b.fingerprint() {
		t.Errorf("they differ:\n%s\n%s", a.fingerprint(), b.fingerprint())
	}
}

func testJWKSNeverEmpty(t *testing.T) {
	w := startWorld(t)
	w.get(jwksPath).wantError(t, http.StatusServiceUnavailable, "temporarily_unavailable")
	w.fill()
	if got := w.get(jwksPath).header.Get("Cache-Control"); !strings.Contains(got, "stale-if-error=") {
		t.Errorf("Cache-Control %q lets nobody keep the keys when the server fails", got)
	}
	w.setRing(keyring.Ring{})
	a := w.get(jwksPath)
	a.wantError(t, http.StatusServiceUnavailable, "temporarily_unavailable")
	if a.header.Get("Retry-After") == "" {
		t.Error("there is no Retry-After")
	}
}
