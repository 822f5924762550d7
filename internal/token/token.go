package token

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	// Type is the `typ` header of every token, in the short form of RFC 9068 section 2.1: it keeps an access token from
	// being taken for any other JWT.
	Type = "at+jwt"

	// MaxSize of a token in bytes. A token travels in one request header, and servers and proxies commonly take 8 KiB
	// of headers.
	MaxSize = 8 << 10

	// idSize is the size of a jti before encoding: 128 random bits are unique and cannot be guessed.
	idSize = 16
)

// ErrTooLarge says that the token would be larger than MaxSize. Fewer scopes make it smaller.
var ErrTooLarge = errors.New("the token would be too large")

// Grant is what a token says.
type Grant struct {
	// Issuer is the issuer identifier (RFC 8414 section 2), byte for byte.
	Issuer string
	// ClientID of the client. It is the subject too: a client acts for itself (RFC 9068 section 2.2).
	ClientID string
	// Audience is the identifier of the one API that the token is for.
	Audience string
	// Scopes of that API, at least one.
	Scopes []string
	// Lifetime of the token, at least a second. Fractions of a second are dropped.
	Lifetime time.Duration
	// Claims are added to the token, as JSON. None of the reserved ones may be among them.
	Claims map[string]json.RawMessage
}

// Reserved are the claims that no API may set: those of every token here, and those that say more of its use (RFC 7519
// section 4.1, RFC 7800 section 3.1, RFC 9068 section 2.2).
var Reserved = []string{"iss", "sub", "aud", "exp", "iat", "nbf", "jti", "client_id", "scope", "cnf"}

// Token is a signed access token.
type Token struct {
	// JWT in compact serialization.
	JWT string
	// ID is the `jti`.
	ID string
	// Lifetime is exactly `exp` - `iat`.
	Lifetime time.Duration
}

// claims in the order in which they are written. Times are NumericDates without a fraction (RFC 7519 section 2), the
// audience is a string, which every verifier understands (RFC 7519 section 4.1.3).
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

// Mint signs a token with a private key, which names its algorithm and kid. The token begins at now.
func Mint(key jose.JSONWebKey, grant Grant, now time.Time, random io.Reader) (Token, error) {
	// Without a type every JWT looks like an access token; without an end it never dies; without a scope it would be
	// left to each API what it means.
	lifetime := grant.Lifetime.Truncate(time.Second)
	if lifetime <= 0 || grant.Issuer == "" || grant.ClientID == "" || grant.Audience == "" || len(grant.Scopes) == 0 {
		return Token{}, errors.New("a token needs an issuer, a client, an audience, scopes and a lifetime")
	}
	id, err := newID(random)
	if err != nil {
		return Token{}, fmt.Errorf("token id: %w", err)
	}
	issuedAt := now.Unix()
	payload, err := encode(claims{
		Issuer:   grant.Issuer,
		Subject:  grant.ClientID,
		Audience: grant.Audience,
		Expiry:   issuedAt + int64(lifetime/time.Second),
		IssuedAt: issuedAt,
		ID:       id,
		ClientID: grant.ClientID,
		Scope:    strings.Join(grant.Scopes, " "),
	}, grant.Claims)
	if err != nil {
		return Token{}, fmt.Errorf("claims: %w", err)
	}
	jwt, err := sign(key, payload)
	if err != nil {
		return Token{}, err
	}
	if len(jwt) > MaxSize {
		return Token{}, ErrTooLarge
	}
	return Token{JWT: jwt, ID: id, Lifetime: lifetime}, nil
}

// encode writes the claims and, after them and sorted, those that are added.
func encode(own claims, added map[string]json.RawMessage) ([]byte, error) {
	payload, err := json.Marshal(own)
	if err != nil || len(added) == 0 {
		return payload, err
	}
	for _, name := range Reserved {
		if _, ok := added[name]; ok {
			return nil, fmt.Errorf("%s is reserved", name)
		}
	}
	more, err := json.Marshal(added)
	if err != nil {
		return nil, err
	}
	return append(append(payload[:len(payload)-1], ','), more[1:]...), nil
}

func newID(random io.Reader) (string, error) {
	var id [idSize]byte
	if _, err := io.ReadFull(random, id[:]); err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(id[:]), nil
}

// sign makes the JWS. Its header holds alg, kid and typ.
func sign(key jose.JSONWebKey, payload []byte) (string, error) {
	// A public key, a kid that is missing, or a shared secret in a key's place would each make a token that is worth
	// nothing, or worse.
	if _, symmetric := key.Key.([]byte); symmetric || key.IsPublic() || key.KeyID == "" {
		return "", errors.New("sign: the key must be private and have a kid")
	}
	algorithm := jose.SignatureAlgorithm(key.Algorithm)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, (&jose.SignerOptions{}).WithType(Type))
	if err != nil {
		return "", fmt.Errorf("sign: %w", err)
	}
	signature, err := signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("sign: %w", err)
	}
	return signature.CompactSerialize()
}
