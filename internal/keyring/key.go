package keyring

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

const rsaBits = 2048

// Generate makes a private key for an algorithm. Its kid is the RFC 7638 SHA-256 thumbprint, base64url.
//
// The standard library takes randomness for keys from the system alone, so there is no reader to inject.
func Generate(algorithm v1alpha1.SigningAlgorithm) (jose.JSONWebKey, error) {
	private, err := generate(algorithm)
	if err != nil {
		return jose.JSONWebKey{}, err
	}
	key := jose.JSONWebKey{Key: private, Algorithm: string(algorithm), Use: "sig"}
	if key.KeyID, err = Thumbprint(key); err != nil {
		return jose.JSONWebKey{}, err
	}
	return key, nil
}

func generate(algorithm v1alpha1.SigningAlgorithm) (crypto.Signer, error) {
	switch algorithm {
	case v1alpha1.ES256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case v1alpha1.RS256, v1alpha1.PS256:
		return rsa.GenerateKey(rand.Reader, rsaBits)
	case v1alpha1.EdDSA:
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return private, err
	}
	return nil, fmt.Errorf("no keys for algorithm %q", algorithm)
}

// Thumbprint is the kid of a key: its RFC 7638 SHA-256 thumbprint, base64url without padding.
func Thumbprint(key jose.JSONWebKey) (string, error) {
	sum, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(sum), nil
}

// MarshalPrivate is the form in which a private key is kept in its Secret: a JWK (RFC 7517).
func MarshalPrivate(key jose.JSONWebKey) ([]byte, error) {
	if key.IsPublic() {
		return nil, errors.New("not a private key")
	}
	return key.MarshalJSON()
}

// ParsePrivate reads what MarshalPrivate wrote. It fails when the key is not private, not valid, or not named by its
// thumbprint. The error never holds key material.
func ParsePrivate(data []byte) (jose.JSONWebKey, error) {
	var key jose.JSONWebKey
	if err := key.UnmarshalJSON(data); err != nil {
		return jose.JSONWebKey{}, errors.New("not a JWK")
	}
	if !key.Valid() || key.IsPublic() {
		return jose.JSONWebKey{}, errors.New("not a valid private key")
	}
	if private, ok := key.Key.(*rsa.PrivateKey); ok {
		private.Precompute() // otherwise every signature does it anew
	}
	return key, checkKey(key)
}

// checkKey reports whether a key is named by its thumbprint and fits its algorithm.
func checkKey(key jose.JSONWebKey) error {
	kid, err := Thumbprint(key)
	if err != nil || kid != key.KeyID {
		return errors.New("kid is not the key's thumbprint")
	}
	if !fits(v1alpha1.SigningAlgorithm(key.Algorithm), key.Public().Key) {
		return fmt.Errorf("key %s does not fit algorithm %q", key.KeyID, key.Algorithm)
	}
	return nil
}

func fits(algorithm v1alpha1.SigningAlgorithm, public any) bool {
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		return algorithm == v1alpha1.ES256 && k.Curve == elliptic.P256()
	case *rsa.PublicKey:
		return (algorithm == v1alpha1.RS256 || algorithm == v1alpha1.PS256) && k.N.BitLen() >= rsaBits
	case ed25519.PublicKey:
		return algorithm == v1alpha1.EdDSA
	}
	return false
}
