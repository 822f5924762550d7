//go:build interop

package interop

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/keyring"
	"github.com/m2m-operator/m2m-operator/internal/token"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

// claims of an access token that matter here.
type claims struct {
	Issuer   string `json:"iss"`
	Audience string `json:"aud"`
	Subject  string `json:"sub"`
	ClientID string `json:"client_id"`
	Scope    string `json:"scope"`
}

// verify reads a token with go-oidc, by the keys that the issuer publishes.
func (i *issuer) verify(token, audience string) (claims, error) {
	keys := oidc.NewRemoteKeySet(oidc.ClientContext(ctx, i.http), i.endpoint("/oauth2/jwks"))
	verifier := oidc.NewVerifier(i.url, keys, &oidc.Config{ClientID: audience, SupportedSigningAlgs: []string{"RS256"}})
	var out claims
	verified, err := verifier.Verify(ctx, token)
	if err == nil {
		err = verified.Claims(&out)
	}
	return out, err
}

// tokenFor asks for a token by plain HTTP.
func (i *issuer) tokenFor(t *testing.T, c credentials, audience string) string {
	t.Helper()
	response, err := i.http.PostForm(i.endpoint("/oauth2/token"), url.Values{
		"grant_type": {"client_credentials"}, "client_id": {c.ID}, "client_secret": {c.Secret}, "audience": {audience},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	var out outcome
	if err == nil {
		err = json.Unmarshal(body, &out)
	}
	if err != nil || out.AccessToken == "" {
		t.Fatalf("no token: %v %s", err, body)
	}
	return out.AccessToken
}

// good is the one token that verifiers accept.
const good = "good"

// tokens are one that a verifier for audience accepts, and one of each kind that it must not.
func (i *issuer) tokens(t *testing.T) map[string]string {
	t.Helper()
	ensureWorld(t)
	other := root
	if i == root {
		other = slash
	}
	key := i.signingKey(t)
	stranger, err := keyring.Generate(v1alpha1.RS256)
	if err != nil {
		t.Fatal(err)
	}
	forger := stranger
	forger.KeyID = key.KeyID
	public, err := key.Public().MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	real := i.tokenFor(t, i.caller, audience)
	payload := strings.Split(real, ".")[1]
	decoded, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil || !bytes.Contains(decoded, []byte("publish")) {
		t.Fatalf("%v: %s", err, decoded)
	}
	encode := base64.RawURLEncoding.EncodeToString
	return map[string]string{
		good:                             real,
		"for another audience":           i.tokenFor(t, i.caller, elsewhere),
		"of another issuer":              other.tokenFor(t, other.caller, audience),
		"expired":                        i.mint(t, key, time.Now().Add(-time.Hour)),
		"of a kid that nobody published": i.mint(t, stranger, time.Now()),
		"of another key by the same kid": i.mint(t, forger, time.Now()),
		"signed with the public key":     hmacOf(t, public, decoded, key.KeyID),
		"not signed":                     encode([]byte(`{"alg":"none","typ":"at+jwt"}`)) + "." + payload + ".",
		"changed after it was signed":    strings.Replace(real, payload, encode(bytes.Replace(decoded, []byte("publish"), []byte("destroy"), 1)), 1),
		"of another issuer by this key":  (&issuer{url: other.url, caller: i.caller}).mint(t, key, time.Now()),
		"that is no JWT":                 "not.a.token",
	}
}

// mint makes what the issuer itself would have made at that time, with whichever key.
func (i *issuer) mint(t *testing.T, key jose.JSONWebKey, at time.Time) string {
	t.Helper()
	minted, err := token.Mint(key, token.Grant{
		Issuer: i.url, ClientID: i.caller.ID, Audience: audience, Scopes: strings.Fields(scopes), Lifetime: 10 * time.Minute,
	}, at, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return string(minted.JWT)
}

// hmacOf is the token of somebody who hopes that a verifier takes the public key for a shared secret.
func hmacOf(t *testing.T, public, claims []byte, kid string) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: public},
		(&jose.SignerOptions{}).WithType(token.Type).WithHeader("kid", kid))
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(claims)
	if err != nil {
		t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// signingKey is the private key that the issuer signs with by RS256.
func (i *issuer) signingKey(t *testing.T) jose.JSONWebKey {
	t.Helper()
	response, err := i.http.Get(i.endpoint("/oauth2/jwks"))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Fatal(response.Status)
	}
	var published jose.JSONWebKeySet
	if err := json.NewDecoder(response.Body).Decode(&published); err != nil {
		t.Fatal(err)
	}
	var secrets corev1.SecretList
	if err := world.Admin.List(ctx, &secrets, client.InNamespace(suite.InstallNamespace)); err != nil {
		t.Fatal(err)
	}
	for _, secret := range secrets.Items {
		var key jose.JSONWebKey
		if key.UnmarshalJSON(secret.Data["private.jwk"]) == nil && key.Algorithm == "RS256" && len(published.Key(key.KeyID)) == 1 {
			return key
		}
	}
	t.Fatal("none of the private keys is a published one")
	return jose.JSONWebKey{}
}

// wantVerdicts checks that a verifier accepted the good token and no other.
func wantVerdicts(t *testing.T, tokens map[string]string, verdicts map[string]string) {
	t.Helper()
	for name := range tokens {
		if verdict, asked := verdicts[name]; !asked || (verdict == "accepted") != (name == good) {
			t.Errorf("a token %s is %q", name, verdict)
		}
	}
}

// verdictsOf are those that a script printed.
func verdictsOf(t *testing.T, out map[string]json.RawMessage) map[string]string {
	t.Helper()
	var verdicts map[string]string
	if err := json.Unmarshal(out["verdicts"], &verdicts); err != nil {
		t.Fatalf("%v: %s", err, out["verdicts"])
	}
	return verdicts
}
