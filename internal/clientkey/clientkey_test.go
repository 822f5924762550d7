package clientkey

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// one is a set of one key.
func one(k v1alpha1.JSONWebKey) v1alpha1.JSONWebKeySet {
	return v1alpha1.JSONWebKeySet{Keys: []v1alpha1.JSONWebKey{k}}
}

// ecKey makes a key of a curve by its name.
func ecKey(t *testing.T, crv, kid string) (v1alpha1.JSONWebKey, *ecdsa.PublicKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(map[string]elliptic.Curve{
		"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521(),
	}[crv], rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	half := len(point) / 2
	return v1alpha1.JSONWebKey{Type: "EC", KeyID: kid, Curve: crv, X: encode(point[1 : 1+half]), Y: encode(point[1+half:])}, &key.PublicKey
}

func edKey(t *testing.T, kid string) (v1alpha1.JSONWebKey, ed25519.PublicKey) {
	t.Helper()
	key, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return v1alpha1.JSONWebKey{Type: "OKP", KeyID: kid, Curve: "Ed25519", X: encode(key)}, key
}

var rsa2048 = sync.OnceValue(func() *rsa.PublicKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return &key.PublicKey
})

func rsaKey(modulus *big.Int, kid string) v1alpha1.JSONWebKey {
	return v1alpha1.JSONWebKey{Type: "RSA", KeyID: kid, N: encode(modulus.Bytes()), E: "AQAB"}
}

// hardNumber has so many bits and no factor that is found at once. Whether it is the product of two primes nobody can
// see.
func hardNumber(bits uint) *big.Int {
	n := new(big.Int).Lsh(big.NewInt(0xC0FFEE), bits-24)
	for n.Add(n, big.NewInt(1)); factorsAtOnce(n); {
		n.Add(n, big.NewInt(1))
	}
	return n
}

func TestParse(t *testing.T) {
	p256, public256 := ecKey(t, "P-256", "a")
	p384, public384 := ecKey(t, "P-384", "b")
	ed, publicEd := edKey(t, "c")
	rsaDefault, rsaPSS := rsaKey(rsa2048().N, "d"), rsaKey(hardNumber(4096), "e")
	rsaPSS.Algorithm, rsaPSS.Use, rsaPSS.Operations = "PS256", "sig", []string{"verify"}
	keys, err := Parse(v1alpha1.JSONWebKeySet{Keys: []v1alpha1.JSONWebKey{p256, p384, ed, rsaDefault, rsaPSS}})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []Key{
		{"a", jose.ES256, public256}, {"b", jose.ES384, public384}, {"c", jose.EdDSA, publicEd},
		{"d", jose.RS256, rsa2048()}, {"e", jose.PS256, &rsa.PublicKey{N: hardNumber(4096), E: 65537}},
	} {
		got := keys[i]
		if got.ID != want.ID || got.Algorithm != want.Algorithm || !got.Public.(interface{ Equal(crypto.PublicKey) bool }).Equal(want.Public) {
			t.Errorf("got %+v, want %+v", got, want)
		}
		if !slices.Contains(Algorithms, got.Algorithm) {
			t.Errorf("%s is not among %v", got.Algorithm, Algorithms)
		}
	}
	if !slices.IsSorted(Algorithms) || len(Algorithms) != len(keys) {
		t.Errorf("%v", Algorithms)
	}
}

// TestParseWithoutKIDs: one key of each algorithm may do without.
func TestParseWithoutKIDs(t *testing.T) {
	p256, _ := ecKey(t, "P-256", "")
	ed, _ := edKey(t, "")
	named, _ := ecKey(t, "P-256", "named")
	if keys, err := Parse(v1alpha1.JSONWebKeySet{Keys: []v1alpha1.JSONWebKey{p256, ed, named}}); err != nil || len(keys) != 3 {
		t.Errorf("%v, %v", keys, err)
	}
	if keys, err := Parse(v1alpha1.JSONWebKeySet{}); err != nil || len(keys) != 0 {
		t.Errorf("no keys: %v, %v", keys, err)
	}
}

const (
	isPrivateKey   = "it has private members: make a new key pair, for this one is no secret any more, and put only its public half here"
	rsaSize        = "its modulus must have 2048 to 4096 bits: make a new key pair"
	rsaEasy        = "its modulus is easy to factor: make a new key pair with another generator, such as openssl"
	rsaNotANumber  = "its n must be a number as unpadded base64url"
	exponent       = "its public exponent must be 65537 (e: AQAB)"
	noType         = "it must be an RSA key, an EC key on P-256 or P-384, or an OKP key on Ed25519"
	ec32           = "its x and y must be 32 bytes each, as unpadded base64url"
	notOnP256      = "its x and y are no point on P-256: export the public key anew"
	ed32           = "its x must be 32 bytes, as unpadded base64url"
	notOnEd25519   = "its x is no point on Ed25519, or one that everybody can sign for: make a new key pair"
	usedOtherwise  = "its use must be sig, or absent"
	otherOperation = "its key_ops must be verify alone, or absent"
)

type change func(*v1alpha1.JSONWebKey)

func TestUnfitKeys(t *testing.T) {
	p256, _ := ecKey(t, "P-256", "one")
	p384, _ := ecKey(t, "P-384", "one")
	p521, _ := ecKey(t, "P-521", "one")
	ed, _ := edKey(t, "one")
	rsaGood := rsaKey(rsa2048().N, "one")
	x, y := func(k *v1alpha1.JSONWebKey, v string) { k.X = v }, func(k *v1alpha1.JSONWebKey, v string) { k.Y = v }
	set := func(member func(*v1alpha1.JSONWebKey, string), value string) change {
		return func(k *v1alpha1.JSONWebKey) { member(k, value) }
	}
	modulus := func(n *big.Int) change { return func(k *v1alpha1.JSONWebKey) { k.N = encode(n.Bytes()) } }
	short, long := encode(make([]byte, 31)), encode(make([]byte, 33))
	for name, test := range map[string]struct {
		key    v1alpha1.JSONWebKey
		change change
		want   string
	}{
		"d":        {p256, func(k *v1alpha1.JSONWebKey) { k.D = "c2VjcmV0" }, isPrivateKey},
		"p":        {rsaGood, func(k *v1alpha1.JSONWebKey) { k.P = "c2VjcmV0" }, isPrivateKey},
		"q":        {rsaGood, func(k *v1alpha1.JSONWebKey) { k.Q = "c2VjcmV0" }, isPrivateKey},
		"dp":       {rsaGood, func(k *v1alpha1.JSONWebKey) { k.DP = "c2VjcmV0" }, isPrivateKey},
		"dq":       {rsaGood, func(k *v1alpha1.JSONWebKey) { k.DQ = "c2VjcmV0" }, isPrivateKey},
		"qi":       {rsaGood, func(k *v1alpha1.JSONWebKey) { k.QI = "c2VjcmV0" }, isPrivateKey},
		"oth":      {rsaGood, func(k *v1alpha1.JSONWebKey) { k.Oth = []string{"c2VjcmV0"} }, isPrivateKey},
		"k":        {v1alpha1.JSONWebKey{Type: "oct", KeyID: "one"}, func(k *v1alpha1.JSONWebKey) { k.K = "c2VjcmV0" }, isPrivateKey},
		"enc":      {p256, func(k *v1alpha1.JSONWebKey) { k.Use = "enc" }, usedOtherwise},
		"sign":     {p256, func(k *v1alpha1.JSONWebKey) { k.Operations = []string{"verify", "sign"} }, otherOperation},
		"no type":  {p256, func(k *v1alpha1.JSONWebKey) { k.Type = "" }, noType},
		"oct":      {p256, func(k *v1alpha1.JSONWebKey) { k.Type = "oct" }, noType},
		"no curve": {p256, func(k *v1alpha1.JSONWebKey) { k.Curve = "" }, noType},
		"RSA, crv": {rsaGood, func(k *v1alpha1.JSONWebKey) { k.Curve = "P-256" }, noType},
		"P-521":    {p521, nil, noType},
		"X25519":   {ed, func(k *v1alpha1.JSONWebKey) { k.Curve = "X25519" }, noType},

		"none":           {p256, func(k *v1alpha1.JSONWebKey) { k.Algorithm = "none" }, "its alg must be one of [ES256], or absent"},
		"HS256":          {rsaGood, func(k *v1alpha1.JSONWebKey) { k.Algorithm = "HS256" }, "its alg must be one of [RS256 PS256], or absent"},
		"ES384 on P-256": {p256, func(k *v1alpha1.JSONWebKey) { k.Algorithm = "ES384" }, "its alg must be one of [ES256], or absent"},
		"ES256 on P-384": {p384, func(k *v1alpha1.JSONWebKey) { k.Algorithm = "ES256" }, "its alg must be one of [ES384], or absent"},
		"RS256 on EdDSA": {ed, func(k *v1alpha1.JSONWebKey) { k.Algorithm = "RS256" }, "its alg must be one of [EdDSA], or absent"},

		"no x":                {p256, set(x, ""), ec32},
		"no y":                {p256, set(y, ""), ec32},
		"short x":             {p256, set(x, short), ec32},
		"long y":              {p256, set(y, long), ec32},
		"coordinates swept":   {p256, func(k *v1alpha1.JSONWebKey) { k.X, k.Y = k.Y, k.X }, notOnP256},
		"zero":                {p256, func(k *v1alpha1.JSONWebKey) { k.X, k.Y = encode(make([]byte, 32)), encode(make([]byte, 32)) }, notOnP256},
		"x twice":             {p256, func(k *v1alpha1.JSONWebKey) { k.Y = k.X }, notOnP256},
		"P-384 as P-256":      {p384, func(k *v1alpha1.JSONWebKey) { k.Curve = "P-256" }, ec32},
		"padded":              {p256, func(k *v1alpha1.JSONWebKey) { k.X += "=" }, ec32},
		"with an end of line": {p256, func(k *v1alpha1.JSONWebKey) { k.X = "====" + k.X[4:] }, ec32},

		"no Ed25519":     {ed, set(x, ""), ed32},
		"short Ed25519":  {ed, set(x, short), ed32},
		"long Ed25519":   {ed, set(x, long), ed32},
		"Ed25519 and y":  {ed, set(y, short), "an Ed25519 key has no y: take it out"},
		"not on Ed25519": {ed, set(x, encode(littleEndian(2))), notOnEd25519},

		"no exponent":        {rsaGood, func(k *v1alpha1.JSONWebKey) { k.E = "" }, exponent},
		"exponent 3":         {rsaGood, func(k *v1alpha1.JSONWebKey) { k.E = "Aw" }, exponent},
		"exponent not coded": {rsaGood, func(k *v1alpha1.JSONWebKey) { k.E = "65537" }, exponent},
		"no modulus":         {rsaGood, func(k *v1alpha1.JSONWebKey) { k.N = "" }, rsaSize},
		"not base64url":      {rsaGood, func(k *v1alpha1.JSONWebKey) { k.N = strings.Repeat("/", 342) }, rsaNotANumber},
		"2047 bits":          {rsaGood, modulus(hardNumber(2047)), rsaSize},
		"4097 bits":          {rsaGood, modulus(hardNumber(4097)), rsaSize},
		"a million bits":     {rsaGood, func(k *v1alpha1.JSONWebKey) { k.N = strings.Repeat("A", 200_000) }, rsaSize},
		"even":               {rsaGood, modulus(new(big.Int).Sub(hardNumber(2048), big.NewInt(1))), rsaEasy},
		"a small factor":     {rsaGood, modulus(new(big.Int).Mul(hardNumber(2047), big.NewInt(751))), rsaEasy},
		"a square":           {rsaGood, modulus(new(big.Int).Mul(hardNumber(1024), hardNumber(1024))), rsaEasy},
		"close primes":       {rsaGood, modulus(closePrimes()), rsaEasy},
	} {
		t.Run(name, func(t *testing.T) {
			key := test.key
			if test.change != nil {
				test.change(&key)
			}
			keys, err := Parse(one(key))
			if err == nil || keys != nil {
				t.Fatalf("accepted: %v", keys)
			}
			if want := `spec.jwks.keys[0] (kid "one"): ` + test.want; err.Error() != want {
				t.Errorf("got  %s\nwant %s", err, want)
			}
			for _, material := range []string{key.X, key.Y, key.N, key.D, key.P, key.Q, key.DP, key.DQ, key.QI, key.K} {
				if material != "" && strings.Contains(err.Error(), material) {
					t.Errorf("%s holds what the key is made of", err)
				}
			}
		})
	}
}

// closePrimes is the product of a prime and the next one.
func closePrimes() *big.Int {
	p := hardNumber(1024)
	for !p.ProbablyPrime(1) {
		p.Add(p, big.NewInt(2))
	}
	q := new(big.Int).Add(p, big.NewInt(2))
	for !q.ProbablyPrime(1) {
		q.Add(q, big.NewInt(2))
	}
	return q.Mul(p, q)
}

// TestFermatRounds: of two factors, the further apart the more rounds it takes; a hundred are tried.
func TestFermatRounds(t *testing.T) {
	mean := hardNumber(1024)
	for rounds, want := range map[int64]bool{1: true, 50: true, 99: true, 102: false} {
		// (a - b)(a + b) = a² - b² has a root of about a - b²/2a.
		b := new(big.Int).Mul(mean, big.NewInt(2*rounds))
		n := new(big.Int)
		for b.Sqrt(b); hasSmallFactor(n.Mul(new(big.Int).Sub(mean, b), new(big.Int).Add(mean, b))); {
			b.Add(b, big.NewInt(1))
		}
		if got := factorsAtOnce(n); got != want {
			t.Errorf("%d rounds: factored %t", rounds, got)
		}
	}
}

func TestKeysThatCannotBeToldApart(t *testing.T) {
	a, _ := ecKey(t, "P-256", "a")
	b, _ := edKey(t, "b")
	with := func(k v1alpha1.JSONWebKey, kid, alg string) v1alpha1.JSONWebKey {
		k.KeyID, k.Algorithm = kid, alg
		return k
	}
	other, _ := ecKey(t, "P-256", "")
	rsaGood := rsaKey(rsa2048().N, "a")
	for name, test := range map[string]struct {
		keys []v1alpha1.JSONWebKey
		want string
	}{
		"one kid twice": {[]v1alpha1.JSONWebKey{a, b, with(other, "a", "")},
			`spec.jwks.keys[2] (kid "a"): keys[0] has the same kid: give each key a kid of its own`},
		"no kid twice": {[]v1alpha1.JSONWebKey{with(a, "", "ES256"), other},
			"spec.jwks.keys[1] (without kid): keys[0] has no kid and the same alg: give each key a kid of its own"},
		"one key twice": {[]v1alpha1.JSONWebKey{b, a, with(a, "c", "ES256")},
			`spec.jwks.keys[2] (kid "c"): keys[1] is the same key: take one of the two out`},
		"one key for two algorithms": {[]v1alpha1.JSONWebKey{rsaGood, with(rsaGood, "b", "PS256")},
			`spec.jwks.keys[1] (kid "b"): keys[0] is the same key: take one of the two out`},
		"a good one before a bad one": {[]v1alpha1.JSONWebKey{a, with(b, "b", "none")},
			`spec.jwks.keys[1] (kid "b"): its alg must be one of [EdDSA], or absent`},
	} {
		if keys, err := Parse(v1alpha1.JSONWebKeySet{Keys: test.keys}); keys != nil || err == nil || err.Error() != test.want {
			t.Errorf("%s: got %v, %v\nwant %s", name, keys, err, test.want)
		}
	}
}

// littleEndian is a y of an Ed25519 point.
func littleEndian(y int64) []byte {
	out := make([]byte, 32)
	big.NewInt(y).FillBytes(out)
	slices.Reverse(out)
	return out
}

// TestWeakPoints: all points of small order, and other spellings of some.
func TestWeakPoints(t *testing.T) {
	const negative = 0x80
	p := new(big.Int).Set(fieldPrime)
	for _, y := range []*big.Int{
		big.NewInt(0), big.NewInt(1), order8, new(big.Int).Sub(p, order8), new(big.Int).Sub(p, big.NewInt(1)),
		p, new(big.Int).Add(p, big.NewInt(1)),
	} {
		for _, sign := range []byte{0, negative} {
			point := make([]byte, 32)
			y.FillBytes(point)
			slices.Reverse(point)
			point[31] |= sign
			if strongPoint(point) {
				t.Errorf("%x is accepted", point)
			}
		}
	}
	// What it is about: with the neutral element as key, this signature is good for whatever anybody says.
	neutral := littleEndian(1)
	if !ed25519.Verify(neutral, []byte("anything"), append(slices.Clone(neutral), make([]byte, 32)...)) {
		t.Error("the neutral element verifies nothing: is this check needed?")
	}
	for range 64 {
		if _, key := edKey(t, ""); !strongPoint(key) {
			t.Errorf("%x is refused", key)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	set := one(rsaKey(hardNumber(4096), "one"))
	for b.Loop() {
		if _, err := Parse(set); err != nil {
			b.Fatal(err)
		}
	}
}
