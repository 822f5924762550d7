package clientkey

import (
	"crypto"
	"crypto/rsa"
	"errors"
	"math/big"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

// The bounds of RSA keys. Fewer bits are too weak (RFC 7518 section 3.3), more cost too much to verify with.
const (
	MinRSABits  = 2048
	MaxRSABits  = 4096
	RSAExponent = 65537
)

// parseRSA reads RSA keys (RFC 7518 section 6.3.1).
func parseRSA(k *v1alpha1.JSONWebKey) (crypto.PublicKey, error) {
	exponent, err := decode(k.E)
	if err != nil || bigEndian(exponent).Cmp(big.NewInt(RSAExponent)) != 0 {
		return nil, errors.New("its public exponent must be 65537 (e: AQAB)")
	}
	if len(k.N) > MaxRSABits/4 { // long before it is a number
		return nil, errRSASize
	}
	encoded, err := decode(k.N)
	if err != nil {
		return nil, errors.New("its n must be a number as unpadded base64url")
	}
	modulus := bigEndian(encoded)
	if bits := modulus.BitLen(); bits < MinRSABits || bits > MaxRSABits {
		return nil, errRSASize
	}
	if factorsAtOnce(modulus) {
		return nil, errors.New("its modulus is easy to factor: make a new key pair with another generator, such as openssl")
	}
	return &rsa.PublicKey{N: modulus, E: RSAExponent}, nil
}

var errRSASize = errors.New("its modulus must have 2048 to 4096 bits: make a new key pair")

// fermatRounds is how many rounds of Fermat's method are tried, as certificate authorities do: it finds primes that were
// chosen side by side (CVE-2022-26320).
const fermatRounds = 100

// smallPrimes is the product of the odd primes below 752, and of 2.
var smallPrimes = func() *big.Int {
	product := big.NewInt(1)
	for n := int64(2); n < 752; n++ {
		if big.NewInt(n).ProbablyPrime(0) {
			product.Mul(product, big.NewInt(n))
		}
	}
	return product
}()

// factorsAtOnce reports whether the modulus falls to what takes no effort: a small factor, or two primes so close that
// they are found from its square root.
func factorsAtOnce(modulus *big.Int) bool {
	if hasSmallFactor(modulus) {
		return true
	}
	// With p and q around their mean a, n = a² - b². Beginning with the root of n, see which a leaves a square.
	a := new(big.Int).Sqrt(modulus)
	rest := new(big.Int).Mul(a, a)
	rest.Sub(rest, modulus) // a² - n
	for range fermatRounds {
		if isSquare(rest) {
			return true
		}
		step := new(big.Int).Lsh(a, 1)
		rest.Add(rest, step).Add(rest, big.NewInt(1)) // (a+1)² - n
		a.Add(a, big.NewInt(1))
	}
	return isSquare(rest)
}

func hasSmallFactor(n *big.Int) bool {
	return new(big.Int).GCD(nil, nil, n, smallPrimes).Cmp(big.NewInt(1)) != 0
}

func isSquare(n *big.Int) bool {
	if n.Sign() < 0 {
		return false
	}
	remainder := int(new(big.Int).Mod(n, squareModulus).Int64())
	for modulus, squares := range squareRemainders {
		if !squares[remainder%modulus] {
			return false
		}
	}
	root := new(big.Int).Sqrt(n)
	return root.Mul(root, root).Cmp(n) == 0
}

// squareRemainders are what squares leave when they are divided by these numbers: of all other numbers one in a hundred
// leaves the like, and a root need not be taken to tell the rest.
var squareRemainders = func() map[int][]bool {
	out := map[int][]bool{}
	for _, modulus := range []int{64, 63, 65, 11} {
		out[modulus] = make([]bool, modulus)
		for n := range modulus {
			out[modulus][n*n%modulus] = true
		}
	}
	return out
}()

var squareModulus = big.NewInt(64 * 63 * 65 * 11)
