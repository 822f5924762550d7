package keyring

import (
	"crypto/ed25519"
	"encoding/binary"

	"github.com/go-jose/go-jose/v4"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

// modelKey is cheap and always the same: an Ed25519 key that says that it is for the algorithm.
func modelKey(n uint64, algorithm v1alpha1.SigningAlgorithm) jose.JSONWebKey {
	seed := make([]byte, ed25519.SeedSize)
	binary.BigEndian.PutUint64(seed, n)
	key := jose.JSONWebKey{Key: ed25519.NewKeyFromSeed(seed), Algorithm: string(algorithm), Use: "sig"}
	kid, err := Thumbprint(key)
	if err != nil {
		panic(err)
	}
	key.KeyID = kid
	return key
}
