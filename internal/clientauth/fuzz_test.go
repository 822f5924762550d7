package clientauth

import (
	"strings"
	"testing"

	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/test/assertion"
)

// FuzzOwnAssertion: whatever is sent, nothing is taken but what the client has signed.
func FuzzOwnAssertion(f *testing.F) {
	key := assertion.Fixed() // workers are processes of their own
	header := with(goodHeader(), "alg", "EdDSA", "kid", "fixed")
	index := access.NewIndex("m2m-system")
	(&asserter{index: index}).client("signer", nil, key.JWK("fixed"))
	signed := func(header, claims object) string { return key.Sign(text(header), text(claims)) }
	good := signed(header, goodClaims())
	input := good[:strings.LastIndex(good, ".")]
	parts := strings.Split(good, ".")
	for _, seed := range []string{
		good, "", "..", "...", "a.b.c", good + ".", good + "\n", input + ".", parts[1] + "." + parts[0] + "." + parts[2],
		signed(with(header, "alg", "none"), goodClaims()),
		signed(with(header, "crit", []string{"b64"}, "b64", false), goodClaims()),
		signed(with(header, "jwk", object{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}), goodClaims()),
		signed(with(header, "x5c", []string{"MAA="}), goodClaims()),
		signed(header, with(goodClaims(), "aud", []any{[]any{}, 1, nil})),
		signed(header, with(goodClaims(), "exp", 1e300)),
		signed(with(header, "alg", "RS256", "kid", nil), with(goodClaims(), "aud", "https://other.example.com")),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, assertion string) {
		a := &asserter{t: t, index: index, Authenticator: New("default", index)}
		client, attempt, failure := a.try(assertion, now)
		switch {
		case failure != nil && assertion == good:
			t.Errorf("a good one is refused: %+v", failure)
		case failure == nil && (client.ID != signer || !strings.HasPrefix(assertion, input+".")):
			t.Errorf("%q proves %s", assertion, client.ID)
		case failure != nil && (client.ID != "" || attempt.CredentialID != "" || !same(failure, errBadCredentials)):
			t.Errorf("%q: %+v, %+v, %+v", assertion, client, attempt, failure)
		}
	})
}
