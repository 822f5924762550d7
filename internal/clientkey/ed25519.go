package clientkey

import (
	"crypto"
	"crypto/ed25519"
	"errors"
	"math/big"
	"slices"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

// parseEd25519 reads Ed25519 keys (RFC 8037 section 2).
func parseEd25519(k *v1alpha1.JSONWebKey) (crypto.PublicKey, error) {
	x, err := decode(k.X)
	if err != nil || len(x) != ed25519.PublicKeySize {
		return nil, errors.New("its x must be 32 bytes, as unpadded base64url")
	}
	if k.Y != "" {
		return nil, errors.New("an Ed25519 key has no y: take it out")
	}
	if !strongPoint(x) {
		return nil, errors.New("its x is no point on Ed25519, or one that everybody can sign for: make a new key pair")
	}
	return ed25519.PublicKey(x), nil
}

var (
	// fieldPrime is 2^255 - 19.
	fieldPrime = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	// edwardsD is -121665/121666, of the curve -x² + y² = 1 + dx²y² (RFC 8032 section 5.1).
	edwardsD = func() *big.Int {
		d := new(big.Int).ModInverse(big.NewInt(121666), fieldPrime)
		return d.Mul(d, big.NewInt(-121665)).Mod(d, fieldPrime)
	}()
)

// strongPoint reports whether the encoded point lies on the curve (RFC 8032 section 5.1.3) and generates more than a
// handful of points, for which a signature can be made without a private key.
func strongPoint(encoded []byte) bool {
	little := slices.Clone(encoded)
	slices.Reverse(little)
	little[0] &= 0x7f // the sign of x
	y := bigEndian(little)
	if y.Cmp(fieldPrime) >= 0 {
		return false
	}
	one := big.NewInt(1)
	square := new(big.Int).Mul(y, y)
	numerator := new(big.Int).Sub(square, one)
	denominator := new(big.Int).Mul(edwardsD, square)
	denominator.Add(denominator, one).Mod(denominator, fieldPrime).ModInverse(denominator, fieldPrime)
	square = numerator.Mul(numerator, denominator).Mod(numerator, fieldPrime)
	if square.Sign() == 0 || big.Jacobi(square, fieldPrime) != 1 { // x = 0 has the order 1 or 2
		return false
	}
	return !smallOrder(y)
}

// smallOrder reports whether a point with this y and x ≠ 0 has the order 4, with y = 0, or 8.
func smallOrder(y *big.Int) bool {
	return y.Sign() == 0 || y.Cmp(order8) == 0 || new(big.Int).Sub(fieldPrime, y).Cmp(order8) == 0
}

// order8 is the y, up to its sign, of the points of order 8.
var order8, _ = new(big.Int).SetString("05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826", 16)
