package clientkey

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/go-jose/go-jose/v4"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

// Algorithms that keys are used with, sorted. All are of public keys: none is "none", and none takes a shared secret.
var Algorithms = []jose.SignatureAlgorithm{jose.ES256, jose.ES384, jose.EdDSA, jose.PS256, jose.RS256}

// Key verifies assertions of one client by one algorithm.
type Key struct {
	// ID is the kid, "" for the key that has none.
	ID string
	// Algorithm is the only one that the key is used with.
	Algorithm jose.SignatureAlgorithm
	// Public is an *rsa.PublicKey, an *ecdsa.PublicKey or an ed25519.PublicKey.
	Public crypto.PublicKey
}

// Parse takes in a set of public keys. One that is unfit makes the whole set an error, which names it and says why.
//
// Much of this the API server refuses already. What a key is made of it cannot judge; and no assertion shall ever be
// verified with a key for which that were all the check there is.
func Parse(set v1alpha1.JSONWebKeySet) ([]Key, error) {
	keys := make([]Key, 0, len(set.Keys))
	for i := range set.Keys {
		key, err := parse(&set.Keys[i])
		if err == nil {
			err = distinct(key, keys)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name(i, set.Keys[i].KeyID), err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// name says which key an error is about.
func name(index int, kid string) string {
	if kid == "" {
		return fmt.Sprintf("spec.jwks.keys[%d] (without kid)", index)
	}
	return fmt.Sprintf("spec.jwks.keys[%d] (kid %q)", index, kid)
}

// distinct compares a key with those before it: a kid, or an algorithm where there is none, must lead to one key, and
// one key must not be used in two ways (RFC 8725 section 3.1).
func distinct(key Key, others []Key) error {
	for i, other := range others {
		switch {
		case key.ID != "" && key.ID == other.ID:
			return fmt.Errorf("keys[%d] has the same kid: give each key a kid of its own", i)
		case key.ID == "" && other.ID == "" && key.Algorithm == other.Algorithm:
			return fmt.Errorf("keys[%d] has no kid and the same alg: give each key a kid of its own", i)
		case key.Public.(interface{ Equal(crypto.PublicKey) bool }).Equal(other.Public):
			return fmt.Errorf("keys[%d] is the same key: take one of the two out", i)
		}
	}
	return nil
}

func parse(k *v1alpha1.JSONWebKey) (Key, error) {
	if isPrivate(&k.ForbiddenJWKMembers) {
		return Key{}, errors.New("it has private members: make a new key pair, for this one is no secret any more, and put only its public half here")
	}
	if k.Use != "" && k.Use != "sig" {
		return Key{}, errors.New("its use must be sig, or absent")
	}
	if slices.ContainsFunc(k.Operations, func(o string) bool { return o != "verify" }) {
		return Key{}, errors.New("its key_ops must be verify alone, or absent")
	}
	t, ok := types[keyType{k.Type, k.Curve}]
	if !ok {
		return Key{}, errors.New("it must be an RSA key, an EC key on P-256 or P-384, or an OKP key on Ed25519")
	}
	key := Key{ID: k.KeyID, Algorithm: t.algorithms[0]}
	if k.Algorithm != "" {
		key.Algorithm = jose.SignatureAlgorithm(k.Algorithm)
	}
	if !slices.Contains(t.algorithms, key.Algorithm) {
		return Key{}, fmt.Errorf("its alg must be one of %v, or absent", t.algorithms)
	}
	var err error
	key.Public, err = t.parse(k)
	return key, err
}

func isPrivate(m *v1alpha1.ForbiddenJWKMembers) bool {
	return m.D != "" || m.P != "" || m.Q != "" || m.DP != "" || m.DQ != "" || m.QI != "" || m.K != "" || len(m.Oth) > 0
}

type keyType struct{ kty, crv string }

// types are the types of keys, with what they are used for by default first.
var types = map[keyType]struct {
	algorithms []jose.SignatureAlgorithm
	parse      func(*v1alpha1.JSONWebKey) (crypto.PublicKey, error)
}{
	{"RSA", ""}:        {[]jose.SignatureAlgorithm{jose.RS256, jose.PS256}, parseRSA},
	{"EC", "P-256"}:    {[]jose.SignatureAlgorithm{jose.ES256}, onCurve(elliptic.P256())},
	{"EC", "P-384"}:    {[]jose.SignatureAlgorithm{jose.ES384}, onCurve(elliptic.P384())},
	{"OKP", "Ed25519"}: {[]jose.SignatureAlgorithm{jose.EdDSA}, parseEd25519},
}

// onCurve reads EC keys (RFC 7518 section 6.2.1). Coordinates have the full length of the field.
func onCurve(curve elliptic.Curve) func(*v1alpha1.JSONWebKey) (crypto.PublicKey, error) {
	size := (curve.Params().BitSize + 7) / 8
	return func(k *v1alpha1.JSONWebKey) (crypto.PublicKey, error) {
		x, errX := decode(k.X)
		y, errY := decode(k.Y)
		if errX != nil || errY != nil || len(x) != size || len(y) != size {
			return nil, fmt.Errorf("its x and y must be %d bytes each, as unpadded base64url", size)
		}
		key, err := ecdsa.ParseUncompressedPublicKey(curve, slices.Concat([]byte{4}, x, y))
		if err != nil {
			return nil, fmt.Errorf("its x and y are no point on %s: export the public key anew", k.Curve)
		}
		return key, nil
	}
}

// decode takes in no character more than it must (RFC 7515 section 2): one key has one spelling.
func decode(text string) ([]byte, error) { return base64.RawURLEncoding.Strict().DecodeString(text) }

func bigEndian(b []byte) *big.Int { return new(big.Int).SetBytes(b) }
