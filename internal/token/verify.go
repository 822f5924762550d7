package token

import (
	"encoding/base64"
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
	header, ok := decode(compact)
	if !ok {
		return Verified{}, ReasonMalformed
	}
	var fields map[string]string
	if json.Unmarshal(header, &fields) != nil {
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
	signed, err := jose.ParseSignedCompact(compact, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(key.Algorithm)})
	if err != nil {
		return Verified{}, ReasonSignature
	}
	payload, err := signed.Verify(key)
	if err != nil {
		return Verified{}, ReasonSignature
	}
	verified, ok := parseClaims(payload)
	if !ok {
		return Verified{}, ReasonMalformed
	}
	verified.KeyID = key.KeyID
	return verified, verified.refusal(issuerURL, now)
}

// decode returns the header of a compact serialization, if all three parts are base64url as RFC 7515 section 2 has it:
// no padding, no line breaks, and no bits left over, so that no token has two spellings.
func decode(compact string) (header []byte, ok bool) {
	parts := strings.SplitN(compact, ".", 4)
	if len(parts) != 3 || strings.ContainsAny(compact, "\r\n") {
		return nil, false
	}
	for i, part := range parts {
		decoded, err := base64.RawURLEncoding.Strict().DecodeString(part)
		if err != nil {
			return nil, false
		}
		if i == 0 {
			header = decoded
		}
	}
	return header, true
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
