package token

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"

	"github.com/m2m-operator/m2m-operator/internal/jsonobject"
)

const (
	// es256Half is the size of each of the two numbers that an ES256 signature is (RFC 7518 section 3.4).
	es256Half = 32
	// derSequence and derInteger are tags (ITU-T X.690).
	derSequence = 0x30
	derInteger  = 0x02
	// headerRoom is enough for a header with a kid that is a thumbprint (RFC 7638), and two dots.
	headerRoom = 128
)

// signatureRoom is enough for the signature by a key.
func signatureRoom(key jose.JSONWebKey) int {
	if private, ok := key.Key.(*rsa.PrivateKey); ok {
		return base64.RawURLEncoding.EncodedLen(private.Size())
	}
	return base64.RawURLEncoding.EncodedLen(ed25519.SignatureSize) // which is that of ES256 too
}

// sign makes the JWS in compact serialization (RFC 7515 section 7.1). Its header holds alg, kid and typ.
//
// It is written here and not by go-jose, whose way of writing costs about a third of an ES256 signature, and more than
// one of EdDSA. The tests read tokens by go-jose.
func sign(key jose.JSONWebKey, payload []byte) ([]byte, error) {
	// A public key, a kid that is missing, or a shared secret in a key's place would each make a token that is worth
	// nothing, or worse.
	if key.KeyID == "" {
		return nil, errors.New("the key must have a kid")
	}
	header := jsonobject.Begin(make([]byte, 0, 128))
	header.String("alg", key.Algorithm)
	header.String("kid", key.KeyID)
	header.String("typ", Type)
	jws := make([]byte, 0, base64.RawURLEncoding.EncodedLen(len(payload))+headerRoom+signatureRoom(key))
	jws = base64.RawURLEncoding.AppendEncode(jws, header.End())
	jws = append(jws, '.')
	jws = base64.RawURLEncoding.AppendEncode(jws, payload)
	signed, err := signature(key, jws)
	if err != nil {
		return nil, err
	}
	jws = append(jws, '.')
	return base64.RawURLEncoding.AppendEncode(jws, signed), nil
}

// signature of an input by the algorithm of a private key (RFC 7518 section 3.1, RFC 8037 section 3.1). The algorithm is
// the key's, and the key must be one for it.
func signature(key jose.JSONWebKey, input []byte) ([]byte, error) {
	switch private := key.Key.(type) {
	case *ecdsa.PrivateKey:
		if key.Algorithm == string(jose.ES256) && private.Curve == elliptic.P256() {
			return signES256(private, input)
		}
	case ed25519.PrivateKey:
		if key.Algorithm == string(jose.EdDSA) && len(private) == ed25519.PrivateKeySize {
			return ed25519.Sign(private, input), nil
		}
	case *rsa.PrivateKey:
		digest := sha256.Sum256(input)
		switch jose.SignatureAlgorithm(key.Algorithm) {
		case jose.RS256:
			return rsa.SignPKCS1v15(nil, private, crypto.SHA256, digest[:])
		case jose.PS256:
			return rsa.SignPSS(rand.Reader, private, crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		}
	}
	return nil, fmt.Errorf("a %T is no private key for %q", key.Key, key.Algorithm)
}

// signES256 makes the signature that JWS has of the one that the standard library makes, which is, in DER, a sequence of
// the two numbers (RFC 3279 section 2.2.3).
//
// It is deterministic ECDSA (RFC 6979), which takes a fifth less time than the library's other way. That one mixes
// randomness into the nonce, for the sake of a message that is signed twice; no message here is, since each has a jti of
// 128 random bits.
func signES256(private *ecdsa.PrivateKey, input []byte) ([]byte, error) {
	digest := sha256.Sum256(input)
	sequence, err := private.Sign(nil, digest[:], crypto.SHA256)
	if err != nil {
		return nil, err
	}
	both := make([]byte, 2*es256Half)
	rest, ok := bytes.CutPrefix(sequence, []byte{derSequence, byte(len(sequence) - 2)})
	for _, half := range [][]byte{both[:es256Half], both[es256Half:]} {
		if ok {
			rest, ok = takeInteger(half, rest)
		}
	}
	if !ok || len(rest) > 0 {
		return nil, errors.New("the ES256 signature is not two numbers of 256 bits")
	}
	return both, nil
}

// takeInteger copies the number that DER begins with to the end of a buffer of zeros, and returns what follows it.
func takeInteger(to, der []byte) (rest []byte, ok bool) {
	if len(der) < 2 || der[0] != derInteger || len(der) < 2+int(der[1]) {
		return nil, false
	}
	number, rest := der[2:2+int(der[1])], der[2+int(der[1]):]
	number = bytes.TrimLeft(number, "\x00") // DER has a zero before what would look negative
	if len(number) > len(to) {
		return nil, false
	}
	copy(to[len(to)-len(number):], number)
	return rest, true
}
