package token

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/keyring"
)

const tokensURL = "https://tokens.example.com"

// published finds the public halves of keys, each under its kid.
func published(keys ...jose.JSONWebKey) func(string) (jose.JSONWebKey, bool) {
	return func(kid string) (jose.JSONWebKey, bool) {
		at := slices.IndexFunc(keys, func(k jose.JSONWebKey) bool { return k.KeyID == kid })
		if at < 0 {
			return jose.JSONWebKey{}, false
		}
		return keys[at].Public(), true
	}
}

func mint(t testing.TB, key jose.JSONWebKey, grant Grant) string {
	t.Helper()
	minted, err := Mint(key, grant, now, zeros())
	if err != nil {
		t.Fatal(err)
	}
	return string(minted.JWT)
}

// forge signs what it is told to, with the header that it is told to have.
func forge(t testing.TB, key any, algorithm jose.SignatureAlgorithm, header map[jose.HeaderKey]any, payload string) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, &jose.SignerOptions{ExtraHeaders: header})
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign([]byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return compact
}

const good = `{"iss":"https://tokens.example.com","sub":"jobs.publisher","aud":"https://courses.example.com/api",` +
	`"exp":1795371300,"iat":1795370400,"jti":"AAAA","client_id":"jobs.publisher","scope":"a b"}`

func TestVerifyEveryAlgorithm(t *testing.T) {
	for _, algorithm := range []v1alpha1.SigningAlgorithm{v1alpha1.ES256, v1alpha1.RS256, v1alpha1.PS256, v1alpha1.EdDSA} {
		key, err := keyring.Generate(algorithm)
		if err != nil {
			t.Fatal(err)
		}
		v, reason := Verify(mint(t, key, courses()), tokensURL, published(fixedKey(t), key), now)
		if reason != "" {
			t.Fatalf("%s: %s", algorithm, reason)
		}
		if v.Issuer != tokensURL || v.ClientID != "jobs.publisher" || v.Audience != "https://courses.example.com/api" ||
			!slices.Equal(v.Scopes, []string{"courses:publish", "courses:read-approved"}) || v.ID != "AAAAAAAAAAAAAAAAAAAAAA" ||
			v.IssuedAt.Unix() != 1795370400 || v.Expiry.Unix() != 1795371300 || v.KeyID != key.KeyID {
			t.Errorf("%s: %+v", algorithm, v)
		}
	}
}

// goJose says whether go-jose verifies a token by a key, with the algorithm of the key.
func goJose(compact string, key jose.JSONWebKey) bool {
	signed, err := jose.ParseSignedCompact(compact, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(key.Algorithm)})
	if err != nil {
		return false
	}
	_, err = signed.Verify(key.Public())
	return err == nil
}

// TestSignedBy wants the verdict of go-jose on signatures of which a bit is another, that are shorter or longer, or by
// another key or algorithm.
func TestSignedBy(t *testing.T) {
	algorithms := []v1alpha1.SigningAlgorithm{v1alpha1.ES256, v1alpha1.RS256, v1alpha1.PS256, v1alpha1.EdDSA}
	var keys []jose.JSONWebKey
	for _, algorithm := range slices.Concat(algorithms, algorithms) {
		key, err := keyring.Generate(algorithm)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	for _, key := range keys[:len(algorithms)] {
		compact := mint(t, key, courses())
		end := strings.LastIndexByte(compact, '.')
		input, encoded := compact[:end], compact[end+1:]
		signature, err := base64.RawURLEncoding.DecodeString(encoded)
		if err != nil {
			t.Fatal(err)
		}
		check := func(name string, by jose.JSONWebKey, signature []byte, want bool) {
			t.Helper()
			theirs := goJose(input+"."+base64.RawURLEncoding.EncodeToString(signature), by)
			if ours := signedBy(by.Public(), []byte(input), signature); ours != want || theirs != want {
				t.Errorf("%s, %s: %v, go-jose %v, want %v", key.Algorithm, name, ours, theirs, want)
			}
		}
		for _, by := range keys {
			check("by "+by.Algorithm, by, signature, by.KeyID == key.KeyID)
		}
		for i := range signature {
			other := bytes.Clone(signature)
			other[i] ^= 1 << (i % 8)
			check("another bit", key, other, false)
		}
		check("shorter", key, signature[:len(signature)-1], false)
		check("longer", key, append(bytes.Clone(signature), 0), false)
		check("zeros", key, make([]byte, len(signature)), false)
		check("none", key, nil, false)
		for _, algorithm := range algorithms {
			if other := key; string(algorithm) != key.Algorithm {
				other.Algorithm = string(algorithm)
				check("as "+other.Algorithm, other, signature, false)
			}
		}
	}
}

func TestVerifyRefusesOtherHeaders(t *testing.T) {
	key := fixedKey(t)
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	strangers := jose.JSONWebKey{Key: stranger, KeyID: key.KeyID}
	kid, typ := jose.HeaderKey("kid"), jose.HeaderKey("typ")
	type header = map[jose.HeaderKey]any
	for name, test := range map[string]struct {
		key       any
		algorithm jose.SignatureAlgorithm
		header    header
		want      string
	}{
		"good":                    {key, jose.EdDSA, header{typ: Type}, ""},
		"no type":                 {key, jose.EdDSA, header{}, ReasonOtherType},
		"JWT":                     {key, jose.EdDSA, header{typ: "JWT"}, ReasonOtherType},
		"other case":              {key, jose.EdDSA, header{typ: "AT+JWT"}, ReasonOtherType},
		"full media type":         {key, jose.EdDSA, header{typ: "application/at+jwt"}, ReasonOtherType},
		"client assertion":        {key, jose.EdDSA, header{typ: "client-authentication+jwt"}, ReasonOtherType},
		"type is a list":          {key, jose.EdDSA, header{typ: []string{Type}}, ReasonMalformed},
		"no kid":                  {key.Key, jose.EdDSA, header{typ: Type, "x": "y"}, ReasonUnknownKey},
		"unknown kid":             {key.Key, jose.EdDSA, header{typ: Type, kid: "unknown"}, ReasonUnknownKey},
		"kid is a number":         {key.Key, jose.EdDSA, header{typ: Type, kid: 1}, ReasonMalformed},
		"more members":            {key, jose.EdDSA, header{typ: Type, "jku": "https://evil.example"}, ReasonMalformed},
		"a key of its own":        {key, jose.EdDSA, header{typ: Type, "jwk": map[string]string{"kty": "oct"}}, ReasonMalformed},
		"critical":                {key, jose.EdDSA, header{typ: Type, "crit": []string{"b64"}, "b64": true}, ReasonMalformed},
		"another's key, our kid":  {strangers, jose.ES256, header{typ: Type}, ReasonSignature},
		"HS256 of the public key": {[]byte(key.Public().Key.(ed25519.PublicKey)), jose.HS256, header{typ: Type, kid: key.KeyID}, ReasonSignature},
	} {
		t.Run(name, func(t *testing.T) {
			compact := forge(t, test.key, test.algorithm, test.header, good)
			if v, reason := Verify(compact, tokensURL, published(key), now); reason != test.want || (reason != "") != (v.ID == "") {
				t.Errorf("reason %q, want %q; %+v", reason, test.want, v)
			}
		})
	}
}

// sealed signs a payload as Mint does.
func sealed(t testing.TB, key jose.JSONWebKey, payload string) string {
	t.Helper()
	compact, err := sign(key, []byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	return string(compact)
}

func TestVerifyRefusesOtherClaims(t *testing.T) {
	key := fixedKey(t)
	for name, test := range map[string]struct{ old, replacement, want string }{
		"good":                   {"", "", ""},
		"another claim":          {`"jti"`, `"scp":["a"],"jti"`, ""},
		"issued a minute ahead":  {`"iat":1795370400`, `"iat":1795370460`, ""},
		"and a second":           {`"iat":1795370400`, `"iat":1795370461`, ReasonNotYetValid},
		"expires in this second": {`"exp":1795371300,"iat":1795370400`, `"exp":1795370400,"iat":1795370399`, ReasonExpired},
		"expires in the next":    {`"exp":1795371300`, `"exp":1795370401`, ""},
		"other issuer":           {`"iss":"https://tokens.example.com"`, `"iss":"https://tokens.example.com/"`, ReasonOtherIssuer},
		"issuer in other case":   {`"iss":"https://tokens`, `"iss":"https://Tokens`, ReasonOtherIssuer},
		"no issuer":              {`"iss":"https://tokens.example.com",`, ``, ReasonMalformed},
		"issuer null":            {`"iss":"https://tokens.example.com"`, `"iss":null`, ReasonMalformed},
		"subject of another":     {`"sub":"jobs.publisher"`, `"sub":"jobs.other"`, ReasonMalformed},
		"no subject":             {`"sub":"jobs.publisher",`, ``, ReasonMalformed},
		"no client":              {`"sub":"jobs.publisher",`, `"sub":"",`, ReasonMalformed},
		"several audiences":      {`"https://courses.example.com/api"`, `["https://courses.example.com/api","x"]`, ReasonMalformed},
		"a list of one audience": {`"https://courses.example.com/api"`, `["https://courses.example.com/api"]`, ReasonMalformed},
		"no audience":            {`"aud":"https://courses.example.com/api",`, ``, ReasonMalformed},
		"no end":                 {`"exp":1795371300,`, ``, ReasonMalformed},
		"end is a text":          {`"exp":1795371300`, `"exp":"1795371300"`, ReasonMalformed},
		"end has a fraction":     {`"exp":1795371300`, `"exp":1795371300.5`, ReasonMalformed},
		"end beyond all numbers": {`"exp":1795371300`, `"exp":1e400`, ReasonMalformed},
		"end before beginning":   {`"exp":1795371300`, `"exp":1795370399`, ReasonMalformed},
		"no beginning":           {`"iat":1795370400,`, ``, ReasonMalformed},
		"negative beginning":     {`"iat":1795370400`, `"iat":-1`, ReasonMalformed},
		"no id":                  {`"jti":"AAAA",`, ``, ReasonMalformed},
		"id is a number":         {`"jti":"AAAA"`, `"jti":1`, ReasonMalformed},
		"no scope":               {`,"scope":"a b"`, ``, ReasonMalformed},
		"scope is a list":        {`"scope":"a b"`, `"scope":["a","b"]`, ReasonMalformed},
		"repeated claim":         {`"scope":"a b"`, `"scope":"a b","scope":"a b"`, ReasonMalformed},
		"repeated unknown claim": {`"jti"`, `"x":1,"x":1,"jti"`, ReasonMalformed},
		"client in other case":   {`"client_id"`, `"Client_id"`, ReasonMalformed},
		"more after the claims":  {`"scope":"a b"}`, `"scope":"a b"}{}`, ReasonMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(good, test.old) {
				t.Fatalf("%s is not in %s", test.old, good)
			}
			compact := sealed(t, key, strings.Replace(good, test.old, test.replacement, 1))
			if _, reason := Verify(compact, tokensURL, published(key), now); reason != test.want {
				t.Errorf("reason %q, want %q", reason, test.want)
			}
		})
	}
	for _, payload := range []string{"", "null", "[]", `"x"`, "{}", "1", "{", "\xff"} {
		if _, reason := Verify(sealed(t, key, payload), tokensURL, published(key), now); reason != ReasonMalformed {
			t.Errorf("%q: %q", payload, reason)
		}
	}
	v, reason := Verify(sealed(t, key, good), tokensURL, published(key), now.Add(time.Hour))
	if reason != ReasonExpired || v.ID != "AAAA" || v.ClientID != "jobs.publisher" {
		t.Errorf("of an expired token it is said: %q, %+v", reason, v)
	}
}

func TestVerifyRefusesOtherSpellings(t *testing.T) {
	key := fixedKey(t)
	compact := mint(t, key, courses())
	parts := strings.Split(compact, ".")
	signature := parts[2]
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	// The last character of 64 bytes holds four bits that say nothing.
	spare := signature[:len(signature)-1] + string(alphabet[strings.IndexByte(alphabet, signature[len(signature)-1])|1])
	twice := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"EdDSA","kid":"x","kid":"` + key.KeyID + `","typ":"at+jwt"}`))
	for name, test := range map[string]struct{ compact, want string }{
		"nothing":             {"", ReasonMalformed},
		"dots":                {"..", ReasonMalformed},
		"many dots":           {strings.Repeat(".", 10000), ReasonMalformed},
		"leading space":       {" " + compact, ReasonMalformed},
		"trailing space":      {compact + " ", ReasonMalformed},
		"trailing line break": {compact + "\n", ReasonMalformed},
		"line break inside":   {parts[0] + "\r\n." + parts[1] + "." + parts[2], ReasonMalformed},
		"padding":             {compact + "==", ReasonMalformed},
		"spare bits":          {parts[0] + "." + parts[1] + "." + spare, ReasonMalformed},
		"a fourth part":       {compact + ".", ReasonMalformed},
		"a fifth part":        {compact + ".x.y", ReasonMalformed},
		"two parts":           {parts[0] + "." + parts[1], ReasonMalformed},
		"no signature":        {parts[0] + "." + parts[1] + ".", ReasonSignature},
		"no payload":          {parts[0] + ".." + parts[2], ReasonSignature},
		"a longer signature":  {compact + "AAAA", ReasonSignature},
		"repeated kid":        {twice + "." + parts[1] + "." + parts[2], ReasonMalformed},
		"scheme before it":    {"Bearer " + compact, ReasonMalformed},
		"JSON serialization":  {`{"protected":"` + parts[0] + `","payload":"` + parts[1] + `","signature":"` + parts[2] + `"}`, ReasonMalformed},
		"16 KiB":              {strings.Repeat("A", 16<<10), ReasonMalformed},
		"and a byte":          {strings.Repeat("A", 16<<10+1), ReasonTooLarge},
		"unsecured": {base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","kid":"`+key.KeyID+`","typ":"at+jwt"}`)) +
			"." + parts[1] + ".", ReasonSignature},
	} {
		t.Run(name, func(t *testing.T) {
			if _, reason := Verify(test.compact, tokensURL, published(key), now); reason != test.want {
				t.Errorf("reason %q, want %q", reason, test.want)
			}
		})
	}
	// Whichever character is another, the token is none.
	for i := range compact {
		other := byte('A')
		if compact[i] == other {
			other = 'B'
		}
		if _, reason := Verify(compact[:i]+string(other)+compact[i+1:], tokensURL, published(key), now); reason == "" {
			t.Errorf("another character %d makes no difference", i)
		}
	}
}

// FuzzVerify knows the only tokens that the key has signed: no other text is one.
func FuzzVerify(f *testing.F) {
	private := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	key := jose.JSONWebKey{Key: private, KeyID: "k", Algorithm: "EdDSA"}
	own := mint(f, key, courses())
	parts := strings.Split(own, ".")
	for _, seed := range []string{
		own, own + ".", own + "=", " " + own, parts[0] + "." + parts[1] + ".", parts[0] + ".." + parts[2], "..", "", "x",
		forge(f, key, jose.EdDSA, nil, good), sealed(f, key, "{}"), sealed(f, key, good[:len(good)-1]), sealed(f, key, good),
		`{"protected":"` + parts[0] + `","payload":"` + parts[1] + `","signature":"` + parts[2] + `"}`,
	} {
		f.Add(seed)
	}
	accepted := []string{own, sealed(f, key, good)}
	f.Fuzz(func(t *testing.T, compact string) {
		v, reason := Verify(compact, tokensURL, published(key), now)
		if (reason == "") != slices.Contains(accepted, compact) {
			t.Errorf("%q: reason %q, %+v", compact, reason, v)
		}
		if reason == "" && !goJose(compact, key) {
			t.Errorf("%q: go-jose does not verify it", compact)
		}
	})
}
