package clientauth

import (
	"encoding/base64"
	"errors"
	"math"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4/json"

	"github.com/m2m-operator/m2m-operator/internal/access"
)

const (
	// assertionType is the only client_assertion_type (RFC 7523 section 2.2).
	assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

	// maxAssertion bounds what is parsed for strangers. A token of a ServiceAccount has some 1.5 KiB.
	maxAssertion = 16 << 10
)

// claims are those of an assertion that somebody here asks for (RFC 7519 section 4.1), empty or nil where absent.
type claims struct {
	Issuer    string       `json:"iss"`
	Subject   string       `json:"sub"`
	Audience  audience     `json:"aud"`
	Expiry    *numericDate `json:"exp"`
	NotBefore *numericDate `json:"nbf"`
	IssuedAt  *numericDate `json:"iat"`
	ID        string       `json:"jti"`
}

// readClaims takes an assertion apart without verifying it: nothing of what it says is true yet. The reader is that of
// go-jose, which refuses an object that says one thing twice, and takes no Sub for a sub.
func readClaims(assertion string) (claims, bool) {
	if len(assertion) > maxAssertion || strings.ContainsFunc(assertion, notCompact) {
		return claims{}, false
	}
	segments := strings.Split(assertion, ".")
	if len(segments) != 3 {
		return claims{}, false
	}
	// Strictly, all three: go-jose would take several spellings of the same bytes, also of those that are signed.
	var decoded [3][]byte
	for i, segment := range segments {
		var err error
		if decoded[i], err = base64.RawURLEncoding.Strict().DecodeString(segment); err != nil || segment == "" {
			return claims{}, false
		}
	}
	var header map[string]json.RawMessage
	if err := json.Unmarshal(decoded[0], &header); err != nil {
		return claims{}, false
	}
	if _, critical := header["crit"]; critical { // RFC 7515 section 4.1.11: we understand no extension
		return claims{}, false
	}
	var c claims
	if err := json.Unmarshal(decoded[1], &c); err != nil {
		return claims{}, false
	}
	return c, true
}

// notCompact is what a JWS in compact serialization does not hold (RFC 7515 section 7.1). Decoders of base64 skip ends
// of lines.
func notCompact(c rune) bool {
	return (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.'
}

// audience is one string or a list of them.
type audience []string

// UnmarshalJSON reads either form (RFC 7519 section 4.1.3).
func (a *audience) UnmarshalJSON(text []byte) error {
	var one string
	if err := json.Unmarshal(text, &one); err == nil {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(text, (*[]string)(a))
}

// isOnly says whether the audience is this one, and nobody else.
func (a audience) isOnly(name string) bool { return len(a) == 1 && a[0] == name && name != "" }

// numericDate is a time in seconds, which may have a fraction (RFC 7519 section 2).
type numericDate time.Time

var errNumericDate = errors.New("no time")

// UnmarshalJSON reads a number within the years that time.Time can count with.
func (d *numericDate) UnmarshalJSON(text []byte) error {
	var seconds float64
	if err := json.Unmarshal(text, &seconds); err != nil {
		return err
	}
	const lastSecond = 253402300799 // of the year 9999
	if seconds < 0 || seconds > lastSecond {
		return errNumericDate
	}
	whole, fraction := math.Modf(seconds)
	*d = numericDate(time.Unix(int64(whole), int64(fraction*float64(time.Second))))
	return nil
}

func (d *numericDate) time() time.Time { return time.Time(*d) }

// checkAssertion looks for the client whose assertion it is: one that the client signed itself, or a token of its
// ServiceAccount, which the cluster signed. Which of the two, the unverified issuer of the assertion tells.
func (a *Authenticator) checkAssertion(c Credentials, trust Trust, now time.Time) (access.Client, Attempt, *Failure) {
	claims, ok := readClaims(c.assertion)
	if !ok {
		return access.Client{}, Attempt{}, errBadCredentials.because(ReasonMalformed)
	}
	var client access.Client
	var attempt Attempt
	var failure *Failure
	if trust.Cluster != nil && claims.Issuer == trust.Cluster.Issuer {
		client, attempt, failure = a.checkServiceAccountToken(c, trust, now)
	} else {
		client, attempt, failure = a.checkOwnAssertion(c, claims, trust, now)
	}
	if failure != nil {
		attempt.claimed = claims.Subject
	}
	return client, attempt, failure
}
