// Package assertion makes client assertions (RFC 7523) for tests: good ones, and such as no library would make.
package assertion

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

// Key is a key pair of a client, for one algorithm.
type Key struct {
	Algorithm string
	private   crypto.Signer
}

// NewKey makes one for ES256, ES384, EdDSA, PS256 or RS256.
func NewKey(algorithm string) Key {
	var private crypto.Signer
	var err error
	switch algorithm {
	case "ES256":
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		private, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "EdDSA":
		_, private, err = ed25519.GenerateKey(rand.Reader)
	case "PS256", "RS256":
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	default:
		panic("no key for " + algorithm)
	}
	must(err)
	return Key{Algorithm: algorithm, private: private}
}

// Fixed is a key for EdDSA that is the same in every process.
func Fixed() Key {
	return Key{Algorithm: "EdDSA", private: ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))}
}

// As is the key, used with another algorithm.
func (k Key) As(algorithm string) Key { return Key{Algorithm: algorithm, private: k.private} }

// Public half of the key.
func (k Key) Public() crypto.PublicKey { return k.private.Public() }

// JWK is the public half as an M2MClient names it.
func (k Key) JWK(kid string) v1alpha1.JSONWebKey {
	jwk := v1alpha1.JSONWebKey{KeyID: kid, Algorithm: k.Algorithm}
	switch public := k.private.Public().(type) {
	case *ecdsa.PublicKey:
		point, err := public.Bytes() // 4, x, y
		must(err)
		half := len(point) / 2
		jwk.Type, jwk.Curve, jwk.X, jwk.Y = "EC", public.Params().Name, encode(point[1:1+half]), encode(point[1+half:])
	case ed25519.PublicKey:
		jwk.Type, jwk.Curve, jwk.X = "OKP", "Ed25519", encode(public)
	case *rsa.PublicKey:
		jwk.Type, jwk.N, jwk.E = "RSA", encode(public.N.Bytes()), "AQAB"
	}
	return jwk
}

// Sign makes a JWS in compact serialization (RFC 7515 section 7.1) of exactly these texts.
func (k Key) Sign(header, payload string) string {
	return Compact(header, payload, k.signature)
}

// Compact joins a header, a payload, and what sign makes of them.
func Compact(header, payload string, sign func(input []byte) []byte) string {
	input := encode([]byte(header)) + "." + encode([]byte(payload))
	return input + "." + encode(sign([]byte(input)))
}

func (k Key) signature(input []byte) []byte {
	hash, digest := crypto.SHA256, sha256.Sum256(input)
	hashed := digest[:]
	var signature []byte
	var err error
	switch key := k.private.(type) {
	case *ecdsa.PrivateKey:
		if k.Algorithm == "ES384" {
			long := sha512.Sum384(input)
			hashed = long[:]
		}
		r, s, signErr := ecdsa.Sign(rand.Reader, key, hashed)
		size := (key.Params().BitSize + 7) / 8
		signature, err = append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...), signErr
	case *rsa.PrivateKey:
		var options crypto.SignerOpts = hash
		if k.Algorithm == "PS256" {
			options = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash}
		}
		signature, err = key.Sign(rand.Reader, hashed, options)
	default:
		signature, err = k.private.Sign(rand.Reader, input, crypto.Hash(0))
	}
	must(err)
	return signature
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func must(err error) {
	if err != nil {
		panic(err)
	}
}
