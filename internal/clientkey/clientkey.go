package clientkey

import (
	"crypto"
	"errors"

	"github.com/go-jose/go-jose/v4"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

// Key verifies assertions of one client by one algorithm.
type Key struct {
	// ID is the kid, "" for the key that has none.
	ID string
	// Algorithm is the only one that the key is used with.
	Algorithm jose.SignatureAlgorithm
	Public    crypto.PublicKey
}

// Parse takes in a set of public keys. One that is unfit makes the whole set an error, which names it and says why.
func Parse(set v1alpha1.JSONWebKeySet) ([]Key, error) {
	return nil, errors.New("not yet")
}
