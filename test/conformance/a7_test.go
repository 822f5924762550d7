package conformance

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

var accessTokens = []statement{
	{"A-1", "header", testTokenHeader},
	{"A-2", "claims", testClaims},
	{"A-3", "sub_is_the_client", testSubject},
	{"A-4", "aud_is_the_resource", testAudienceString},
	{"A-5", "times", testTimes},
	{"A-5", "lifetime_is_the_shortest", testLifetimes},
	{"A-6", "jti", testTokenID},
	{"A-7", "algorithms", testAlgorithms},
	{"A-8", "claims_cannot_be_overridden", testClaimsCannotBeOverridden},
	{"A-9", "size", testTokenSize},
	{"A-10", "a_retired_key_outlives_its_tokens", testRetiredKey},
}

// parts verifies the token of an answer with the published keys, and returns its header and claims as they are written.
func (w *world) parts(response map[string]any) (header, claims []byte) {
	w.t.Helper()
	compact := response["access_token"].(string)
	keys := jose.JSONWebKeySet{}
	if err := json.Unmarshal([]byte(w.get(jwksPath).body), &keys); err != nil {
		w.t.Error(err)
	}
	signed, err := jose.ParseSignedCompact(compact, []jose.SignatureAlgorithm{jose.ES256, jose.RS256})
	if err != nil {
		w.t.Errorf("%s: %v", compact, err)
		return nil, nil
	}
	payload, err := signed.Verify(&keys)
	if err != nil {
		w.t.Errorf("no published key verifies %s: %v", compact, err)
	}
	if found := keys.Key(signed.Signatures[0].Header.KeyID); len(found) != 1 || found[0].Algorithm != signed.Signatures[0].Header.Algorithm {
		w.t.Errorf("%d published keys for the token", len(found))
	}
	header, err = base64.RawURLEncoding.DecodeString(strings.Split(compact, ".")[0])
	if err != nil {
		w.t.Error(err)
	}
	return header, payload
}

// claims verifies the token of an answer and returns its claims.
func (w *world) claims(response map[string]any) map[string]any {
	w.t.Helper()
	_, payload := w.parts(response)
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil {
		w.t.Errorf("%s: %v", payload, err)
	}
	return claims
}

func testTokenHeader(t *testing.T) {
	w := newWorld(t)
	header, _ := w.parts(w.send(w.tokenRequest()).wantToken(t))
	var fields map[string]any
	if err := json.Unmarshal(header, &fields); err != nil {
		t.Fatal(err)
	}
	if fields["typ"] != "at+jwt" || fields["alg"] != "ES256" || fields["kid"] == "" || len(fields) != 3 {
		t.Errorf("header %s", header)
	}
}

func testClaims(t *testing.T) {
	w := newWorld(t)
	got := w.claims(w.send(w.tokenRequest()).wantToken(t))
	want := []string{"aud", "client_id", "exp", "iat", "iss", "jti", "scope", "sub"}
	if names := slices.Sorted(maps.Keys(got)); !slices.Equal(names, want) {
		t.Errorf("claims %v, want %v", names, want)
	}
	if got["iss"] != issuerURL || got["client_id"] != publisher || got["scope"] != "courses:publish courses:read-approved" {
		t.Errorf("claims %v", got)
	}
}

func testSubject(t *testing.T) {
	w := newWorld(t)
	got := w.claims(w.send(w.tokenRequest("sub", "jobs.other", "client_id", publisher)).wantToken(t))
	if got["sub"] != publisher || got["client_id"] != publisher {
		t.Errorf("claims %v", got)
	}
}

func testAudienceString(t *testing.T) {
	w := newWorld(t)
	odd := "urn:Courses:API;a=1&b=<2>?x=%2F/"
	w.api("courses", "odd", odd, "read")
	w.grant("courses", "odd", "odd", "jobs", "publisher", "read")
	for _, audience := range []string{courses, odd} {
		if got := w.claims(w.send(w.resourceRequest("resource", audience)).wantToken(t)); got["aud"] != audience {
			t.Errorf("aud %v, want the string %q", got["aud"], audience)
		}
	}
}

func testTimes(t *testing.T) {
	w := newWorld(t)
	w.later(999 * time.Millisecond)
	_, payload := w.parts(w.send(w.tokenRequest()).wantToken(t))
	want := fmt.Sprintf(`"exp":%d,"iat":%d,`, epoch.Add(time.Hour).Unix(), epoch.Unix())
	if !strings.Contains(string(payload), want) || strings.Contains(string(payload), `"nbf"`) {
		t.Errorf("claims %s, want %s", payload, want)
	}
}

func testLifetimes(t *testing.T) {
	w := newWorld(t)
	duration := func(d time.Duration) *metav1.Duration { return &metav1.Duration{Duration: d} }
	for name, test := range map[string]struct {
		issuer v1alpha1.TokenIssuerTokens
		api    *metav1.Duration
		client *metav1.Duration
		want   time.Duration
	}{
		"nothing said":         {want: time.Hour},
		"issuer":               {issuer: v1alpha1.TokenIssuerTokens{DefaultLifetime: duration(2 * time.Hour)}, want: 2 * time.Hour},
		"api":                  {api: duration(24 * time.Hour), want: 24 * time.Hour},
		"client shortens":      {api: duration(time.Hour), client: duration(10 * time.Minute), want: 10 * time.Minute},
		"client cannot extend": {api: duration(time.Minute), client: duration(time.Hour), want: time.Minute},
		"issuer bounds":        {issuer: v1alpha1.TokenIssuerTokens{MaxLifetime: duration(30 * time.Second)}, api: duration(time.Hour), want: 30 * time.Second},
	} {
		w.run(name, func(t *testing.T) {
			w.index.Upsert(&v1alpha1.TokenIssuer{
				ObjectMeta: metav1.ObjectMeta{Name: "default"}, Spec: v1alpha1.TokenIssuerSpec{URL: issuerURL, Tokens: test.issuer},
			})
			api := w.api("courses", "course-api", courses, "courses:publish")
			api.Spec.Token.Lifetime = test.api
			w.index.Upsert(api)
			w.client("jobs", "publisher", func(c *v1alpha1.M2MClient) { c.Spec.TokenLifetime = test.client })
			got := w.send(w.tokenRequest()).wantToken(t)
			claims := w.claims(got)
			if got["expires_in"] != test.want.Seconds() || claims["exp"].(float64)-claims["iat"].(float64) != test.want.Seconds() {
				t.Errorf("got %v, want %s", got, test.want)
			}
		})
	}
}

func testTokenID(t *testing.T) {
	w := newWorld(t)
	jti := w.claims(w.send(w.tokenRequest()).wantToken(t))["jti"].(string)
	if !regexp.MustCompile(`^[A-Za-z0-9_-]{22,}$`).MatchString(jti) {
		t.Errorf("jti %q has less than 128 bits", jti)
	}
}

func testAlgorithms(t *testing.T) {
	w := newWorld(t)
	api := w.api("courses", "course-api", courses, "courses:publish")
	for _, algorithm := range []v1alpha1.SigningAlgorithm{v1alpha1.RS256, v1alpha1.ES256} {
		api.Spec.Token.SigningAlgorithm = algorithm
		w.index.Upsert(api)
		header, _ := w.parts(w.send(w.tokenRequest()).wantToken(t))
		if !strings.Contains(string(header), `"alg":"`+string(algorithm)+`"`) {
			t.Errorf("header %s, want %s", header, algorithm)
		}
	}
	algorithms := w.get(openIDPath).fields(t)["id_token_signing_alg_values_supported"]
	if fmt.Sprint(algorithms) != "[ES256 RS256]" {
		t.Errorf("metadata says %v", algorithms)
	}
}

func testClaimsCannotBeOverridden(t *testing.T) {
	w := newWorld(t)
	r := w.tokenRequest("iss", "https://evil.example.com", "sub", "x", "aud", "x", "exp", "9999999999", "jti", "x", "alg", "none",
		"claims", `{"sub":"x"}`, "lifetime", "999999", "expires_in", "999999", "requested_subject", "x")
	got := w.claims(w.send(r).wantToken(t))
	if got["iss"] != issuerURL || got["sub"] != publisher || got["aud"] != courses || got["jti"] == "x" || got["exp"] != float64(epoch.Add(time.Hour).Unix()) {
		t.Errorf("claims %v", got)
	}
}

func testTokenSize(t *testing.T) {
	w := newWorld(t)
	var many []string
	for i := range 100 {
		many = append(many, fmt.Sprintf("%s%02d", strings.Repeat("s", 100), i))
	}
	w.api("courses", "many", "https://many.example.com", many...)
	w.grant("courses", "many", "many", "jobs", "publisher", many...)
	w.send(w.resourceRequest("audience", "https://many.example.com")).wantError(t, http.StatusBadRequest, "invalid_scope")
	got := w.send(w.resourceRequest("audience", "https://many.example.com", "scope", strings.Join(many[:50], " "))).wantToken(t)
	if size := len(got["access_token"].(string)); size > 8<<10 || size < 6<<10 {
		t.Errorf("a token of %d bytes", size)
	}
	if w.secrets[publisher] == "" || strings.Contains(got["access_token"].(string), w.secrets[publisher]) {
		t.Error("the token holds the secret")
	}
}

func testRetiredKey(t *testing.T) {
	w := newWorld(t)
	api := w.api("courses", "course-api", courses, "courses:publish")
	api.Spec.Token.Lifetime = &metav1.Duration{Duration: v1alpha1.MaxTokenLifetime}
	w.index.Upsert(api)
	before := w.send(w.tokenRequest()).wantToken(t)
	header, _ := w.parts(before)
	var kid struct{ Kid string }
	if err := json.Unmarshal(header, &kid); err != nil {
		t.Fatal(err)
	}
	ring := retire(kid.Kid)
	w.setRing(ring)
	after, _ := w.parts(w.send(w.tokenRequest()).wantToken(t))
	if string(after) == string(header) {
		t.Error("the retired key still signs")
	}
	w.later(v1alpha1.MaxTokenLifetime) // the token dies now, and may be looked at for a moment longer
	w.parts(before)
}
