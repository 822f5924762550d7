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

	"github.com/m2m-operator/m2m-operator/internal/jsonobject"
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

	// claimsSize is about what the names of the claims take, and those of them that are always as long.
	claimsSize = 160
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
	JWT []byte
	// ID is the `jti`.
	ID string
	// Lifetime is exactly `exp` - `iat`.
	Lifetime time.Duration
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
	payload, err := encode(grant, id, now.Unix(), lifetime)
	if err != nil {
		return Token{}, fmt.Errorf("claims: %w", err)
	}
	jwt, err := sign(key, payload)
	if err != nil {
		return Token{}, fmt.Errorf("sign: %w", err)
	}
	if len(jwt) > MaxSize {
		return Token{}, ErrTooLarge
	}
	return Token{JWT: jwt, ID: id, Lifetime: lifetime}, nil
}

// encode writes the claims and, after them and sorted, those that are added. Times are NumericDates without a fraction
// (RFC 7519 section 2), the audience is a string, which every verifier understands (RFC 7519 section 4.1.3).
func encode(grant Grant, id string, issuedAt int64, lifetime time.Duration) ([]byte, error) {
	scope := strings.Join(grant.Scopes, " ")
	own := jsonobject.Begin(make([]byte, 0, claimsSize+len(grant.Issuer)+2*len(grant.ClientID)+len(grant.Audience)+len(scope)))
	own.String("iss", grant.Issuer)
	own.String("sub", grant.ClientID)
	own.String("aud", grant.Audience)
	own.Int("exp", issuedAt+int64(lifetime/time.Second))
	own.Int("iat", issuedAt)
	own.String("jti", id)
	own.String("client_id", grant.ClientID)
	own.String("scope", scope)
	if len(grant.Claims) == 0 {
		return own.End(), nil
	}
	for _, name := range Reserved {
		if _, ok := grant.Claims[name]; ok {
			return nil, fmt.Errorf("%s is reserved", name)
		}
	}
	added, err := json.Marshal(grant.Claims)
	if err != nil {
		return nil, err
	}
	own.Members(added)
	return own.End(), nil
}

func newID(random io.Reader) (string, error) {
	var id [idSize]byte
	if _, err := io.ReadFull(random, id[:]); err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(id[:]), nil
}
