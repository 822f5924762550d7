package keyring

import (
	"crypto/sha256"
	"encoding/json"
	"slices"

	"github.com/go-jose/go-jose/v4"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

// KeySet is a ring together with the private keys that are at hand: what a token server signs with and publishes.
// It is immutable.
type KeySet struct {
	keys    []Key
	version string
	jwks    []byte
	digest  [sha256.Size]byte
	public  map[string]jose.JSONWebKey // by kid
	signers map[v1alpha1.SigningAlgorithm]jose.JSONWebKey
}

// NewKeySet joins a ring with private keys. Private keys that the ring does not name as active are not used: nothing
// is signed by an unpublished key.
//
// Revoked keys are neither published nor used, whatever the ring says: a revocation does not wait for the manager. Where
// the active key is revoked, the announced one signs in its place.
func NewKeySet(ring Ring, private []jose.JSONWebKey, revoked ...string) (*KeySet, error) {
	s := &KeySet{
		version: ring.Version(), public: map[string]jose.JSONWebKey{}, signers: map[v1alpha1.SigningAlgorithm]jose.JSONWebKey{},
	}
	document := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	orphaned := map[v1alpha1.SigningAlgorithm]bool{}
	for _, key := range ring.Keys {
		if slices.Contains(revoked, key.KID) || slices.Contains(ring.Revoked, key.KID) {
			orphaned[key.Algorithm] = orphaned[key.Algorithm] || key.State == v1alpha1.KeyActive
			continue
		}
		s.keys = append(s.keys, key)
		s.public[key.KID] = key.Public
		document.Keys = append(document.Keys, key.Public)
	}
	for _, key := range s.keys {
		_, signs := s.signers[key.Algorithm]
		takesOver := orphaned[key.Algorithm] && key.State == v1alpha1.KeyAnnounced
		if signs || (key.State != v1alpha1.KeyActive && !takesOver) {
			continue
		}
		for _, candidate := range private {
			if candidate.KeyID == key.KID && !candidate.IsPublic() {
				s.signers[key.Algorithm] = candidate
			}
		}
	}
	var err error
	s.jwks, err = json.Marshal(document)
	s.digest = sha256.Sum256(s.jwks)
	return s, err
}

// JWKS is the public key set (RFC 7517), the same bytes for the same ring.
func (s *KeySet) JWKS() []byte { return s.jwks }

// Digest is the SHA-256 of JWKS.
func (s *KeySet) Digest() [sha256.Size]byte { return s.digest }

// Version of the ring that it was made from.
func (s *KeySet) Version() string { return s.version }

// PublicKey is the published key of a kid, in whichever state, with the one algorithm that it is for.
func (s *KeySet) PublicKey(kid string) (jose.JSONWebKey, bool) {
	key, ok := s.public[kid]
	return key, ok
}

// SigningKey is the private key that signs: of the first of the algorithms that has an active one at hand. The result is
// false if none has.
func (s *KeySet) SigningKey(algorithms ...v1alpha1.SigningAlgorithm) (jose.JSONWebKey, bool) {
	for _, algorithm := range algorithms {
		if key, ok := s.signers[algorithm]; ok {
			return key, true
		}
	}
	return jose.JSONWebKey{}, false
}

// Keys are all that are published.
func (s *KeySet) Keys() []Key { return s.keys }

// Empty reports whether there is nothing to publish.
func (s *KeySet) Empty() bool { return len(s.keys) == 0 }
