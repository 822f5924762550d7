package conformance

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/clientkey"
	"github.com/m2m-operator/m2m-operator/test/assertion"
)

func testAssertionAlgorithms(t *testing.T) {
	w := newWorld(t)
	for _, algorithm := range clientkey.Algorithms {
		s := signingClient{world: w, id: signer, key: assertion.NewKey(string(algorithm))}
		s.byKeys("signer", s.key.JWK("k"))
		s.grant("courses", "signer", "course-api", "jobs", "signer", "courses:publish")
		s.wantGood(map[string]string{string(algorithm): s.with(nil)})
		s.wantBad(map[string]string{
			string(algorithm) + " as another's": s.key.Sign(s.header(object{"alg": other(string(algorithm))}), s.payload(nil)),
			string(algorithm) + ", none":        s.headed(object{"alg": "none"}),
		})
	}
	rsa := signingClient{world: w, id: signer, key: assertion.NewKey("RS256")}
	rsa.byKeys("signer", rsa.key.JWK("k"))
	rsa.wantGood(map[string]string{"the key's algorithm": rsa.with(nil)})
	pss := rsa
	pss.key = rsa.key.As("PS256")
	rsa.wantBad(map[string]string{"the key with another algorithm": pss.with(nil)})
}

// other is an algorithm that is not this one.
func other(algorithm string) string {
	for _, a := range clientkey.Algorithms {
		if string(a) != algorithm {
			return string(a)
		}
	}
	return ""
}

func testAssertionForgeries(t *testing.T) {
	s := newSigner(t)
	jwk := s.key.JWK("k")
	public, err := json.Marshal(jwk)
	if err != nil {
		t.Fatal(err)
	}
	x, err := base64.RawURLEncoding.DecodeString(jwk.X)
	if err != nil {
		t.Fatal(err)
	}
	hs256 := func(secret []byte) string {
		return assertion.Compact(s.header(object{"alg": "HS256"}), s.payload(nil), func(input []byte) []byte {
			mac := hmac.New(sha256.New, secret)
			mac.Write(input)
			return mac.Sum(nil)
		})
	}
	parts := strings.Split(s.with(nil), ".")
	forged := func(alg string, signature []byte) string {
		return assertion.Compact(s.header(object{"alg": alg}), s.payload(nil), func([]byte) []byte { return signature })
	}
	s.wantBad(map[string]string{
		"none":                     forged("none", []byte("x")),
		"none, empty":              forged("none", nil),
		"None":                     forged("None", []byte("x")),
		"HS256, JWK":               hs256(public),
		"HS256, x":                 hs256(x),
		"HS256, empty":             hs256(nil),
		"zeros":                    forged("ES256", make([]byte, 64)),
		"DER":                      forged("ES256", []byte("0\x06\x02\x01\x01\x02\x01\x01")),
		"no signature":             parts[0] + "." + parts[1] + ".",
		"two parts":                parts[0] + "." + parts[1],
		"other claims":             parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(s.payload(nil))) + "." + parts[2],
		"JSON":                     fmt.Sprintf(`{"protected":%q,"payload":%q,"signature":%q}`, parts[0], parts[1], parts[2]),
		"alg twice":                s.key.Sign(strings.Replace(s.header(nil), "{", `{"alg":"none",`, 1), s.payload(nil)),
		"crit":                     s.headed(object{"crit": []string{"exp"}, "exp": 1}),
		"a token of our own issue": s.send(s.tokenRequest()).wantToken(t)["access_token"].(string),
	})
	s.ask(strings.Join(parts, ".")).wantToken(t)
}

func testAssertionKeys(t *testing.T) {
	s := newSigner(t)
	second, third := assertion.NewKey("ES256"), assertion.NewKey("EdDSA")
	s.byKeys("signer", s.key.JWK("k"), second.JWK("second"), third.JWK("third"))
	s.byKeys("other", assertion.NewKey("ES256").JWK("k"), assertion.NewKey("RS256").JWK("alone"))
	s.wantGood(map[string]string{
		"the first":             s.with(nil),
		"the second":            second.Sign(s.header(object{"kid": "second"}), s.payload(nil)),
		"the third, without":    third.Sign(s.header(object{"alg": "EdDSA", "kid": nil}), s.payload(nil)),
		"the third by its name": third.Sign(s.header(object{"alg": "EdDSA", "kid": "third"}), s.payload(nil)),
	})
	s.wantBad(map[string]string{
		"one of two, without":  s.headed(object{"kid": nil}),
		"another of one's own": s.headed(object{"kid": "second"}),
		"unknown":              s.headed(object{"kid": "unknown"}),
		"another client's":     s.headed(object{"kid": "alone"}),
		"other case":           s.headed(object{"kid": "K"}),
		"as another client":    s.with(object{"iss": "jobs.other", "sub": "jobs.other"}),
		"a path":               s.headed(object{"kid": "../k"}),
	})
	s.byKeys("signer", second.JWK("second"))
	s.wantBad(map[string]string{"a key that was taken out": s.with(nil)})
	s.wantGood(map[string]string{"the key that is left": second.Sign(s.header(object{"kid": "second"}), s.payload(nil))})
}

func testAssertionHeaderKeys(t *testing.T) {
	s := newSigner(t)
	attacker := assertion.NewKey("ES256")
	jwk := attacker.JWK("k")
	embedded := object{"kty": jwk.Type, "crv": jwk.Curve, "x": jwk.X, "y": jwk.Y, "kid": "k"}
	const evil = "https://127.0.0.1:1/keys"
	more := object{"jwk": embedded, "jku": evil, "x5u": evil, "x5t": "x", "x5t#S256": "x"}
	s.wantGood(map[string]string{"signed by the client": s.headed(more)})
	s.wantBad(map[string]string{
		"jwk":         attacker.Sign(s.header(object{"jwk": embedded}), s.payload(nil)),
		"jwk, no kid": attacker.Sign(s.header(object{"jwk": embedded, "kid": nil}), s.payload(nil)),
		"jku":         attacker.Sign(s.header(object{"jku": evil}), s.payload(nil)),
		"x5u":         attacker.Sign(s.header(object{"x5u": evil}), s.payload(nil)),
		"x5c":         attacker.Sign(s.header(object{"x5c": []string{base64.StdEncoding.EncodeToString(fixed().serving.Certificate[0])}}), s.payload(nil)),
		"all of it":   attacker.Sign(s.header(more), s.payload(nil)),
	})
}

// testAssertionRefusals compares every byte but the date.
func testAssertionRefusals(t *testing.T) {
	s := newSigner(t)
	suspended := s.byKeys("suspended", s.key.JWK("k"))
	suspended.Spec.Suspend = true
	s.index.Upsert(suspended)
	foreign := s.byKeys("foreign", s.key.JWK("k"))
	foreign.Spec.IssuerRef.Name = "other"
	s.index.Upsert(foreign)
	s.index.Delete(access.RefOf(s.byKeys("deleted", s.key.JWK("k"))))
	s.byKeys("unfit", s.key.JWK("k"), s.key.JWK("again"))
	as := func(id string) string { return s.with(object{"iss": id, "sub": id}) }
	used := s.with(nil)
	s.ask(used).wantToken(t)
	want := s.ask(assertion.NewKey("ES256").Sign(s.header(nil), s.payload(nil)))
	want.wantError(t, http.StatusUnauthorized, "invalid_client")
	for name, assertion := range map[string]string{
		"unknown": as("jobs.unknown"), "no ID": as("x"), "suspended": as("jobs.suspended"), "another issuer's": as("jobs.foreign"),
		"deleted": as("jobs.deleted"), "with unfit keys": as("jobs.unfit"), "with a secret": as(publisher),
		"used": used, "expired": s.with(object{"exp": 1}), "aud": s.with(object{"aud": "x"}), "kid": s.headed(object{"kid": "x"}),
		"alg": s.headed(object{"alg": "none"}), "typ": s.headed(object{"typ": "x"}), "no JWT": "x", "too long": strings.Repeat("x", 17<<10),
		"unknown, wrong signature": assertion.NewKey("ES256").Sign(s.header(nil), s.payload(object{"iss": "jobs.unknown", "sub": "jobs.unknown"})),
	} {
		if got := s.ask(assertion); got.fingerprint() != want.fingerprint() {
			t.Errorf("%s differs from a wrong signature:\n%s\n%s", name, got.fingerprint(), want.fingerprint())
		}
	}
}

// testUnfitKeys: the API server refuses most of these when they are written; what comes past it serves nobody.
func testUnfitKeys(t *testing.T) {
	s := newSigner(t)
	rsa := assertion.NewKey("RS256")
	change := func(k v1alpha1.JSONWebKey, change func(*v1alpha1.JSONWebKey)) v1alpha1.JSONWebKey {
		change(&k)
		return k
	}
	good := s.key.JWK("k")
	for name, keys := range map[string][]v1alpha1.JSONWebKey{
		"private":         {change(good, func(k *v1alpha1.JSONWebKey) { k.D = "c2VjcmV0" })},
		"not on a curve":  {good, change(assertion.NewKey("ES256").JWK("b"), func(k *v1alpha1.JSONWebKey) { k.Y = k.X })},
		"wrong curve":     {change(good, func(k *v1alpha1.JSONWebKey) { k.Curve, k.Algorithm = "P-384", "" })},
		"RSA, 1024 bits":  {good, change(rsa.JWK("b"), func(k *v1alpha1.JSONWebKey) { k.N = k.N[:171] })},
		"RSA, exponent 3": {good, change(rsa.JWK("b"), func(k *v1alpha1.JSONWebKey) { k.E = "Aw" })},
		"RSA, even":       {good, change(rsa.JWK("b"), func(k *v1alpha1.JSONWebKey) { k.N = k.N[:len(k.N)-1] + "A" })},
		"for encryption":  {change(good, func(k *v1alpha1.JSONWebKey) { k.Use = "enc" })},
		"for HS256":       {change(good, func(k *v1alpha1.JSONWebKey) { k.Algorithm = "HS256" })},
		"one kid twice":   {good, assertion.NewKey("ES256").JWK("k")},
	} {
		s.byKeys("signer", keys...)
		s.wantBad(map[string]string{name: s.with(nil)})
		key := types.NamespacedName{Namespace: "jobs", Name: "signer"}
		if verdict, _ := s.index.ClientVerdict(key, s.now()); verdict.Accepted.OK || verdict.Accepted.Reason != v1alpha1.ReasonJWKSInvalid {
			t.Errorf("%s: %+v", name, verdict.Accepted)
		}
	}
	s.byKeys("signer", good)
	s.wantGood(map[string]string{"a good one": s.with(nil)})
}

// testRegisteredMethod: what proves a client is only what it says that it proves itself by.
func testRegisteredMethod(t *testing.T) {
	s := newSigner(t)
	s.ask(s.with(nil)).wantToken(t)
	for _, r := range []request{
		s.requestOf(signer, "grant_type", "client_credentials", "audience", courses),
		s.tokenRequest("client_id", signer, "client_secret", s.secrets[signer]).bare(),
	} {
		s.send(r).wantError(t, http.StatusUnauthorized, "invalid_client")
	}
	client := s.byKeys("signer", s.key.JWK("k"))
	client.Spec.Authentication = append(client.Spec.Authentication, v1alpha1.AuthenticateBySecret)
	s.index.Upsert(client)
	s.send(s.requestOf(signer, "grant_type", "client_credentials", "audience", courses)).wantToken(t)
	s.ask(s.with(nil)).wantToken(t)
	client = client.DeepCopy()
	client.Spec.Authentication = []v1alpha1.AuthenticationMethod{v1alpha1.AuthenticateBySecret}
	s.index.Upsert(client)
	s.ask(s.with(nil)).wantError(t, http.StatusUnauthorized, "invalid_client")
}
