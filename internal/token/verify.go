package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"math/big"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json" // refuses repeated members, and tells upper case from lower

	"github.com/m2m-operator/m2m-operator/internal/keyring"
)

// maxPresented bounds what is looked at as a token. No token of ours is larger than MaxSize.
const maxPresented = 16 << 10

// The reasons why what is presented is no token to rely on.
const (
	ReasonTooLarge    = "TokenTooLarge"
	ReasonMalformed   = "TokenMalformed"
	ReasonOtherType   = "TokenOfOtherType"
	ReasonUnknownKey  = "TokenOfUnknownKey"
	ReasonSignature   = "TokenSignatureInvalid"
	ReasonOtherIssuer = "TokenOfOtherIssuer"
	ReasonExpired     = "TokenExpired"
	ReasonNotYetValid = "TokenNotYetValid"
)

// Verified is what a token says whose signature is ours.
type Verified struct {
	Issuer, ClientID, Audience, ID string
	Scopes                         []string
	// IssuedAt and Expiry are whole seconds.
	IssuedAt, Expiry time.Time
	// KeyID of the key that signed it.
	KeyID string
}

// Verify checks a token that Mint made (RFC 9068 section 4): its type, its signature by the key that publicKey finds for
// its kid, its issuer, and that it is neither expired nor issued in a future that no clock's skew explains. The last
// result is the reason why it is refused, "" if it is not; of a token that is expired, of the future or another issuer's,
// what it says is returned as well.
//
// It takes nothing that Mint does not write: no other member in the header, so none that would bring a key of its own
// (jwk, jku, x5c) or change what the signature is over (crit, b64), and no other spelling of the same bytes.
func Verify(compact, issuerURL string, publicKey func(kid string) (jose.JSONWebKey, bool), now time.Time) (Verified, string) {
	if len(compact) > maxPresented {
		return Verified{}, ReasonTooLarge
	}
	presented, ok := decode(compact)
	if !ok {
		return Verified{}, ReasonMalformed
	}
	var fields map[string]string
	if json.Unmarshal(presented.header, &fields) != nil {
		return Verified{}, ReasonMalformed
	}
	if fields["typ"] != Type {
		return Verified{}, ReasonOtherType
	}
	if len(fields) != 3 { // alg, kid, typ
		return Verified{}, ReasonMalformed
	}
	key, ok := publicKey(fields["kid"])
	if !ok {
		return Verified{}, ReasonUnknownKey
	}
	// The key says by which algorithm, not the token (RFC 8725 section 3.1).
	if fields["alg"] != key.Algorithm || !signedBy(key, presented.signed, presented.signature) {
		return Verified{}, ReasonSignature
	}
	verified, ok := parseClaims(presented.payload)
	if !ok {
		return Verified{}, ReasonMalformed
	}
	verified.KeyID = key.KeyID
	return verified, verified.refusal(issuerURL, now)
}

// jws is what a compact serialization holds (RFC 7515 section 7.1).
type jws struct {
	header, payload, signature []byte
	signed                     []byte // what the signature is of
}

// decode takes apart a compact serialization, if all three parts are base64url as RFC 7515 section 2 has it: no padding,
// no line breaks, and no bits left over, so that the same bytes have one spelling.
func decode(compact string) (jws, bool) {
	parts := strings.SplitN(compact, ".", 4)
	if len(parts) != 3 || strings.ContainsAny(compact, "\r\n") {
		return jws{}, false
	}
	var decoded [3][]byte
	for i, part := range parts {
		var err error
		if decoded[i], err = base64.RawURLEncoding.Strict().DecodeString(part); err != nil {
			return jws{}, false
		}
	}
	return jws{
		header: decoded[0], payload: decoded[1], signature: decoded[2], signed: []byte(compact[:len(parts[0])+1+len(parts[1])]),
	}, true
}

// signedBy reports whether a public key verifies a signature, by the algorithm of the key, which must be one for it
// (RFC 7518 section 3.1, RFC 8037 section 3.1). It is the counterpart of signature.
func signedBy(key jose.JSONWebKey, input, signature []byte) bool {
	switch public := key.Key.(type) {
	case *ecdsa.PublicKey:
		if key.Algorithm != string(jose.ES256) || public.Curve != elliptic.P256() || len(signature) != 2*es256Half {
			return false
		}
		digest := sha256.Sum256(input)
		r, s := new(big.Int).SetBytes(signature[:es256Half]), new(big.Int).SetBytes(signature[es256Half:])
		return ecdsa.Verify(public, digest[:], r, s)
	case ed25519.PublicKey:
		return key.Algorithm == string(jose.EdDSA) && len(public) == ed25519.PublicKeySize && ed25519.Verify(public, input, signature)
	case *rsa.PublicKey:
		digest := sha256.Sum256(input)
		switch jose.SignatureAlgorithm(key.Algorithm) {
		case jose.RS256:
			return rsa.VerifyPKCS1v15(public, crypto.SHA256, digest[:], signature) == nil
		case jose.PS256:
			return rsa.VerifyPSS(public, crypto.SHA256, digest[:], signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
		}
	}
	return false
}

// claims that Mint writes.
type claims struct {
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"`
	Audience string `json:"aud"`
	Expiry   int64  `json:"exp"`
	IssuedAt int64  `json:"iat"`
	ID       string `json:"jti"`
	ClientID string `json:"client_id"`
	Scope    string `json:"scope"`
}

// parseClaims reads the claims that Mint writes, each of its type; there may be others.
func parseClaims(payload []byte) (Verified, bool) {
	var c claims
	if json.Unmarshal(payload, &c) != nil {
		return Verified{}, false
	}
	for _, required := range []string{c.Issuer, c.ClientID, c.Audience, c.ID, c.Scope} {
		if required == "" {
			return Verified{}, false
		}
	}
	if c.Subject != c.ClientID || c.IssuedAt <= 0 || c.Expiry <= c.IssuedAt {
		return Verified{}, false
	}
	return Verified{
		Issuer: c.Issuer, ClientID: c.ClientID, Audience: c.Audience, ID: c.ID, Scopes: strings.Split(c.Scope, " "),
		IssuedAt: time.Unix(c.IssuedAt, 0), Expiry: time.Unix(c.Expiry, 0),
	}, true
}

// refusal is the reason why the token is none of this issuer's, or not of this moment; "" if it is.
func (v Verified) refusal(issuerURL string, now time.Time) string {
	switch {
	case v.Issuer != issuerURL:
		return ReasonOtherIssuer
	case !now.Before(v.Expiry): // to the instant (RFC 7519 section 4.1.4): it was our clock that set it
		return ReasonExpired
	case v.IssuedAt.After(now.Add(keyring.Skew)): // by the clock of another replica
		return ReasonNotYetValid
	}
	return ""
}
