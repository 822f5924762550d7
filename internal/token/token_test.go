package token

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/keyring"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var now = time.Date(2026, 11, 22, 18, 0, 0, 999_999_999, time.UTC)

func courses() Grant {
	return Grant{
		Issuer:   "https://tokens.example.com",
		ClientID: "jobs.publisher",
		Audience: "https://courses.example.com/api",
		Scopes:   []string{"courses:publish", "courses:read-approved"},
		Lifetime: 15 * time.Minute,
	}
}

// fixedKey is an Ed25519 key: its signatures are the same every time.
func fixedKey(t *testing.T) jose.JSONWebKey {
	t.Helper()
	private := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	key := jose.JSONWebKey{Key: private, Algorithm: "EdDSA", Use: "sig"}
	kid, err := keyring.Thumbprint(key)
	if err != nil {
		t.Fatal(err)
	}
	key.KeyID = kid
	return key
}

func zeros() *bytes.Reader { return bytes.NewReader(make([]byte, 1024)) }

// TestGolden pins the whole token, header and claims and their order.
func TestGolden(t *testing.T) {
	minted, err := Mint(fixedKey(t), courses(), now, zeros())
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	parts := strings.Split(string(minted.JWT), ".")
	for _, part := range parts[:2] {
		text, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(text)
		out.WriteByte('\n')
	}
	out.WriteString(string(minted.JWT) + "\n")

	golden := filepath.Join("testdata", "token.golden")
	if *update {
		if err := os.WriteFile(golden, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if out.String() != string(want) {
		t.Errorf("token is\n%swant\n%s", out.String(), want)
	}
}

// TestMintEveryAlgorithm checks tokens with go-jose, and then their claims by hand: a library that accepts a token
// without an end would hide its absence.
func TestMintEveryAlgorithm(t *testing.T) {
	for _, algorithm := range []v1alpha1.SigningAlgorithm{v1alpha1.ES256, v1alpha1.RS256, v1alpha1.PS256, v1alpha1.EdDSA} {
		t.Run(string(algorithm), func(t *testing.T) {
			key, err := keyring.Generate(algorithm)
			if err != nil {
				t.Fatal(err)
			}
			minted, err := Mint(key, courses(), now, zeros())
			if err != nil {
				t.Fatal(err)
			}
			signed, err := jose.ParseSignedCompact(string(minted.JWT), []jose.SignatureAlgorithm{jose.SignatureAlgorithm(algorithm)})
			if err != nil {
				t.Fatal(err)
			}
			payload, err := signed.Verify(key.Public())
			if err != nil {
				t.Fatal(err)
			}
			header := signed.Signatures[0].Protected
			if header.KeyID != key.KeyID || header.ExtraHeaders[jose.HeaderType] != "at+jwt" || header.JSONWebKey != nil {
				t.Errorf("header is %+v", header)
			}
			want := `{"iss":"https://tokens.example.com","sub":"jobs.publisher","aud":"https://courses.example.com/api",` +
				`"exp":1795371300,"iat":1795370400,"jti":"AAAAAAAAAAAAAAAAAAAAAA","client_id":"jobs.publisher",` +
				`"scope":"courses:publish courses:read-approved"}`
			if string(payload) != want {
				t.Errorf("claims are\n%s, want\n%s", payload, want)
			}
			if minted.ID != "AAAAAAAAAAAAAAAAAAAAAA" || minted.Lifetime != 15*time.Minute {
				t.Errorf("token is %+v", minted)
			}
		})
	}
}

// TestES256SignatureIsOfFixedWidth: each of its two numbers has 32 bytes (RFC 7518 section 3.4), also the one in 128 that
// would do with fewer.
func TestES256SignatureIsOfFixedWidth(t *testing.T) {
	key, err := keyring.Generate(v1alpha1.ES256)
	if err != nil {
		t.Fatal(err)
	}
	for short := 0; short < 2; {
		minted, err := Mint(key, courses(), now, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		signed, err := jose.ParseSignedCompact(string(minted.JWT), []jose.SignatureAlgorithm{jose.ES256})
		if err != nil {
			t.Fatal(err)
		}
		signature := signed.Signatures[0].Signature
		if _, err := signed.Verify(key.Public()); err != nil || len(signature) != 64 {
			t.Fatalf("%d bytes: %v", len(signature), err)
		}
		if signature[0] == 0 || signature[32] == 0 {
			short++
		}
	}
}

// TestMintAsGoJoseWould: what is signed is, byte by byte, what go-jose would have signed.
func TestMintAsGoJoseWould(t *testing.T) {
	key := fixedKey(t)
	for _, name := range []string{"plain", "with \"quotes\" and \\", "<&>", "é", "\xff"} {
		grant := courses()
		grant.ClientID, grant.Scopes = name, []string{name}
		grant.Claims = map[string]json.RawMessage{"team": json.RawMessage(`{"a":[1,"b"]}`), "kind": json.RawMessage(`"x"`)}
		minted, err := Mint(key, grant, now, zeros())
		if err != nil {
			t.Fatal(err)
		}
		signed, err := jose.ParseSignedCompact(string(minted.JWT), []jose.SignatureAlgorithm{jose.EdDSA})
		if err != nil {
			t.Fatal(err)
		}
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: key}, (&jose.SignerOptions{}).WithType(Type))
		if err != nil {
			t.Fatal(err)
		}
		again, err := signer.Sign(signed.UnsafePayloadWithoutVerification())
		if err != nil {
			t.Fatal(err)
		}
		if text, err := again.CompactSerialize(); err != nil || text != string(minted.JWT) {
			t.Errorf("%q: %s, by go-jose %s, %v", name, string(minted.JWT), text, err)
		}
		var payload map[string]any
		if err := json.Unmarshal(signed.UnsafePayloadWithoutVerification(), &payload); err != nil || payload["kind"] != "x" || len(payload) != 10 {
			t.Errorf("%q: %v, %v", name, payload, err)
		}
	}
}

func TestMintRefuses(t *testing.T) {
	private := fixedKey(t)
	nameless := private
	nameless.KeyID = ""
	for name, test := range map[string]struct {
		key    jose.JSONWebKey
		change func(*Grant)
	}{
		"no issuer":                {private, func(g *Grant) { g.Issuer = "" }},
		"no client":                {private, func(g *Grant) { g.ClientID = "" }},
		"no audience":              {private, func(g *Grant) { g.Audience = "" }},
		"no scopes":                {private, func(g *Grant) { g.Scopes = nil }},
		"no lifetime":              {private, func(g *Grant) { g.Lifetime = 0 }},
		"less than a second":       {private, func(g *Grant) { g.Lifetime = time.Second - 1 }},
		"negative lifetime":        {private, func(g *Grant) { g.Lifetime = -time.Hour }},
		"public key":               {private.Public(), func(*Grant) {}},
		"key without a kid":        {nameless, func(*Grant) {}},
		"shared secret as the key": {jose.JSONWebKey{Key: []byte("secret"), KeyID: "k", Algorithm: "HS256"}, func(*Grant) {}},
		"key of other algorithm":   {jose.JSONWebKey{Key: private.Key, KeyID: "k", Algorithm: "RS256"}, func(*Grant) {}},
	} {
		t.Run(name, func(t *testing.T) {
			grant := courses()
			test.change(&grant)
			if minted, err := Mint(test.key, grant, now, zeros()); err == nil {
				t.Errorf("minted %s", string(minted.JWT))
			}
		})
	}
	if _, err := Mint(private, courses(), now, bytes.NewReader(make([]byte, 15))); err == nil {
		t.Error("minted without 128 random bits")
	}
}

func TestLifetimeIsWholeSeconds(t *testing.T) {
	grant := courses()
	grant.Lifetime = 90*time.Second + 999*time.Millisecond
	minted, err := Mint(fixedKey(t), grant, now, zeros())
	if err != nil {
		t.Fatal(err)
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(string(minted.JWT), ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var times struct{ Exp, Iat json.Number }
	if err := json.Unmarshal(payload, &times); err != nil {
		t.Fatal(err)
	}
	if times.Iat != "1795370400" || times.Exp != "1795370490" || minted.Lifetime != 90*time.Second {
		t.Errorf("times are %+v, lifetime %s", times, minted.Lifetime)
	}
}

func TestSizeLimit(t *testing.T) {
	grant := courses()
	largest := 0
	for n := 1; ; n++ {
		grant.Scopes = []string{strings.Repeat("a", n*100)}
		minted, err := Mint(fixedKey(t), grant, now, zeros())
		if err != nil {
			if !errors.Is(err, ErrTooLarge) {
				t.Fatal(err)
			}
			break
		}
		largest = len(minted.JWT)
	}
	if largest > MaxSize || largest < MaxSize-200 {
		t.Errorf("the largest token has %d bytes, the limit is %d", largest, MaxSize)
	}
}
