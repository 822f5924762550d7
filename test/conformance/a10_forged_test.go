package conformance

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/keyring"
	"github.com/m2m-operator/m2m-operator/internal/token"
)

// signingKey is the active key of an algorithm.
func signingKey(algorithm v1alpha1.SigningAlgorithm) jose.JSONWebKey {
	set, err := keyring.NewKeySet(fixed().ring, fixed().keys)
	if err != nil {
		panic(err)
	}
	key, _ := set.SigningKey(algorithm)
	return key
}

// sign makes a JWT of any type and claims.
func (w *world) sign(key jose.JSONWebKey, typ string, claims map[string]any) string {
	w.t.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		w.t.Fatal(err)
	}
	options := &jose.SignerOptions{}
	if typ != "" {
		options = options.WithType(jose.ContentType(typ))
	}
	return w.signPayload(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(key.Algorithm), Key: key}, options, string(payload))
}

func (w *world) signPayload(key jose.SigningKey, options *jose.SignerOptions, payload string) string {
	w.t.Helper()
	signer, err := jose.NewSigner(key, options)
	if err != nil {
		w.t.Fatal(err)
	}
	signed, err := signer.Sign([]byte(payload))
	if err != nil {
		w.t.Fatal(err)
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		w.t.Fatal(err)
	}
	return compact
}

// ownClaims are those of a good token.
func (w *world) ownClaims(change func(map[string]any)) map[string]any {
	claims := map[string]any{
		"iss": issuerURL, "sub": publisher, "client_id": publisher, "aud": courses, "scope": "courses:publish",
		"iat": w.now().Unix(), "exp": w.now().Add(time.Hour).Unix(), "jti": "AAAAAAAAAAAAAAAAAAAAAA",
	}
	if change != nil {
		change(claims)
	}
	return claims
}

func testIntrospectionSignature(t *testing.T) {
	w := newIntrospectionWorld(t)
	good := w.newToken()
	parts := strings.Split(good, ".")
	key := signingKey(v1alpha1.ES256)
	fresh, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	header := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	public, err := json.Marshal(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	widened := header(strings.Replace(decoded(t, parts[1]), "courses:publish", "courses:write", 1))
	protected := decoded(t, parts[0])
	own, err := json.Marshal(w.ownClaims(nil))
	if err != nil {
		t.Fatal(err)
	}
	typed := func() *jose.SignerOptions { return (&jose.SignerOptions{}).WithType(token.Type) }
	hmac := jose.SigningKey{Algorithm: jose.HS256, Key: public}
	for name, presented := range map[string]string{
		"other claims":             parts[0] + "." + widened + "." + parts[2],
		"signature of another":     parts[0] + "." + parts[1] + "." + strings.Split(w.newToken(), ".")[2],
		"no signature":             parts[0] + "." + parts[1] + ".",
		"alg none":                 header(`{"alg":"none","kid":"`+key.KeyID+`","typ":"at+jwt"}`) + "." + parts[1] + ".",
		"alg none with signature":  header(`{"alg":"none","kid":"`+key.KeyID+`","typ":"at+jwt"}`) + "." + parts[1] + "." + parts[2],
		"HS256 with a public key":  w.signPayload(hmac, typed(), string(own)),
		"the same, and our kid":    w.signPayload(hmac, typed().WithHeader("kid", key.KeyID), string(own)),
		"kid of another of ours":   header(strings.Replace(protected, key.KeyID, signingKey(v1alpha1.RS256).KeyID, 1)) + "." + parts[1] + "." + parts[2],
		"another's key, our kid":   w.sign(jose.JSONWebKey{Key: fresh, KeyID: key.KeyID, Algorithm: "ES256"}, token.Type, w.ownClaims(nil)),
		"another's key, its kid":   w.sign(jose.JSONWebKey{Key: fresh, KeyID: "x", Algorithm: "ES256"}, token.Type, w.ownClaims(nil)),
		"leading garbage":          "x" + good,
		"trailing garbage":         good + "x",
		"leading space":            " " + good,
		"trailing line break":      good + "\n",
		"padding":                  good + "=",
		"one more segment":         good + ".",
		"two more segments":        good + ".e30.x",
		"JSON serialization":       `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`,
		"general serialization":    `{"payload":"` + parts[1] + `","signatures":[{"protected":"` + parts[0] + `","signature":"` + parts[2] + `"}]}`,
		"two tokens":               good + " " + good,
		"with the scheme":          "Bearer " + good,
		"repeated claim":           w.signPayload(jose.SigningKey{Algorithm: jose.ES256, Key: key}, typed(), `{"scope":"courses:publish",`+string(own[1:])),
		"audience is a list":       w.sign(key, token.Type, w.ownClaims(func(c map[string]any) { c["aud"] = []string{courses} })),
		"sub is not the client_id": w.sign(key, token.Type, w.ownClaims(func(c map[string]any) { c["sub"] = "jobs.other" })),
	} {
		w.run(name, func(t *testing.T) { w.introspect(owner, presented).wantInactive(t) })
	}
	for _, key := range []v1alpha1.SigningAlgorithm{v1alpha1.ES256, v1alpha1.RS256} {
		w.introspect(owner, w.sign(signingKey(key), token.Type, w.ownClaims(nil))).wantActive(t)
	}
}

func decoded(t *testing.T, part string) string {
	t.Helper()
	text, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func testIntrospectionOtherJWTs(t *testing.T) {
	w := newIntrospectionWorld(t)
	ours := signingKey(v1alpha1.ES256)
	fresh, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	theirs := jose.JSONWebKey{Key: fresh, KeyID: "k", Algorithm: "ES256"}
	assertion := w.ownClaims(func(c map[string]any) { c["iss"], c["aud"] = publisher, issuerURL })
	serviceAccount := map[string]any{
		"iss": "https://kubernetes.default.svc", "aud": []string{issuerURL}, "sub": "system:serviceaccount:jobs:publisher",
		"iat": w.now().Unix(), "nbf": w.now().Unix(), "exp": w.now().Add(time.Hour).Unix(), "jti": "x",
		"kubernetes.io": map[string]any{"namespace": "jobs", "serviceaccount": map[string]any{"name": "publisher", "uid": "1"}},
	}
	for name, presented := range map[string]string{
		"client assertion":                w.sign(theirs, "JWT", assertion),
		"client assertion, typed":         w.sign(theirs, "client-authentication+jwt", assertion),
		"client assertion as a token":     w.sign(theirs, token.Type, assertion),
		"ServiceAccount token":            w.sign(theirs, "", serviceAccount),
		"ServiceAccount token, our key":   w.sign(ours, "", serviceAccount),
		"ServiceAccount token as a token": w.sign(ours, token.Type, serviceAccount),
		"no type":                         w.sign(ours, "", w.ownClaims(nil)),
		"JWT":                             w.sign(ours, "JWT", w.ownClaims(nil)),
		"ID token":                        w.sign(ours, "JWT", w.ownClaims(func(c map[string]any) { c["nonce"] = "x" })),
		"other case":                      w.sign(ours, "AT+JWT", w.ownClaims(nil)),
		"full media type":                 w.sign(ours, "application/at+jwt", w.ownClaims(nil)),
		"logout token":                    w.sign(ours, "logout+jwt", w.ownClaims(nil)),
		"DPoP proof":                      w.sign(ours, "dpop+jwt", w.ownClaims(nil)),
		"client secret":                   w.secrets[publisher],
	} {
		w.run(name, func(t *testing.T) { w.introspect(owner, presented).wantInactive(t) })
	}
	w.introspect(owner, w.sign(ours, token.Type, w.ownClaims(nil))).wantActive(t)
}

func testIntrospectionOtherIssuers(t *testing.T) {
	w := newIntrospectionWorld(t)
	foreign, err := keyring.Generate(v1alpha1.ES256)
	if err != nil {
		t.Fatal(err)
	}
	of := func(key jose.JSONWebKey, url string) string {
		return w.sign(key, token.Type, w.ownClaims(func(c map[string]any) { c["iss"] = url }))
	}
	for name, presented := range map[string]string{
		"a stranger":                   of(foreign, "https://accounts.example.org"),
		"a stranger in our name":       of(foreign, issuerURL),
		"the second issuer here":       of(foreign, "https://other.example.com"),
		"the second issuer, our key":   of(signingKey(v1alpha1.ES256), "https://other.example.com"),
		"we, with a slash":             of(signingKey(v1alpha1.ES256), issuerURL+"/"),
		"we, in other case":            of(signingKey(v1alpha1.ES256), strings.ToUpper(issuerURL)),
		"we, before the URL was other": of(signingKey(v1alpha1.ES256), "https://old.example.com"),
	} {
		w.run(name, func(t *testing.T) { w.introspect(owner, presented).wantInactive(t) })
	}
	good := w.newToken()
	w.issuer("default", "https://new.example.com")
	w.introspect(owner, good).wantInactive(t)
	w.introspect(owner, w.newToken()).wantActive(t)
	w.issuer("default", issuerURL)
	w.introspect(owner, good).wantActive(t)
	w.changeClient("jobs", "publisher", func(c *v1alpha1.M2MClient) { c.Spec.IssuerRef.Name = "other" })
	w.introspect(owner, good).wantInactive(t)
}
