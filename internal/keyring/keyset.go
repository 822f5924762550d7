package keyring

import (
	"encoding/json"

	"github.com/go-jose/go-jose/v4"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

// KeySet is a ring together with the private keys that are at hand: what a token server signs with and publishes.
// It is immutable.
type KeySet struct {
	ring    Ring
	jwks    []byte
	public  map[string]jose.JSONWebKey // by kid
	signers map[v1alpha1.SigningAlgorithm]jose.JSONWebKey
}

// NewKeySet joins a ring with private keys. Private keys that the ring does not name as active are not used: nothing
// is signed by an unpublished key.
func NewKeySet(ring Ring, private []jose.JSONWebKey) (*KeySet, error) {
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	public := map[string]jose.JSONWebKey{}
	signers := map[v1alpha1.SigningAlgorithm]jose.JSONWebKey{}
	for _, key := range ring.Keys {
		set.Keys = append(set.Keys, key.Public)
		public[key.KID] = key.Public
		if key.State != v1alpha1.KeyActive {
			continue
		}
		for _, candidate := range private {
			if candidate.KeyID == key.KID && !candidate.IsPublic() {
				signers[key.Algorithm] = candidate
			}
		}
	}
	jwks, err := json.Marshal(set)
	if err != nil {
		return nil, err
	}
	return &KeySet{ring: ring, jwks: jwks, public: public, signers: signers}, nil
}

// JWKS is the public key set (RFC 7517), the same bytes for the same ring.
func (s *KeySet) JWKS() []byte { return s.jwks }

// PublicKey is the published key of a kid, in whichever state, with the one algorithm that it is for.
func (s *KeySet) PublicKey(kid string) (jose.JSONWebKey, bool) {
	key, ok := s.public[kid]
	return key, ok
}

// SigningKey is the active private key of an algorithm, and whether it is at hand.
func (s *KeySet) SigningKey(algorithm v1alpha1.SigningAlgorithm) (jose.JSONWebKey, bool) {
	key, ok := s.signers[algorithm]
	return key, ok
}

// Keys are all that are published.
func (s *KeySet) Keys() []Key { return s.ring.Keys }

// Empty reports whether there is nothing to publish.
func (s *KeySet) Empty() bool { return len(s.ring.Keys) == 0 }
