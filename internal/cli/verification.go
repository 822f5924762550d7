package cli

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/m2m-operator/m2m-operator/internal/keyring"
	"github.com/m2m-operator/m2m-operator/internal/token"
)

// maxToken bounds what is looked at as a token, in bytes.
const maxToken = 16 << 10

// presented is a token as it is, before anything about it is believed.
type presented struct {
	// Header and claims of the token, as they are written there.
	Header map[string]any `json:"header"`
	// Claims that the token makes: to be believed if it is valid.
	Claims map[string]any `json:"claims"`
}

// decodeToken reads what a token says, believing none of it.
func decodeToken(compact string) (presented, error) {
	var out presented
	if len(compact) > maxToken {
		return out, fmt.Errorf("that is no access token: it is longer than %d bytes", maxToken)
	}
	parts := strings.Split(compact, ".")
	if len(parts) != 3 {
		return out, errors.New("that is no JWT: it must have three parts with a dot between them. Opaque tokens are not this operator's")
	}
	for i, into := range []*map[string]any{&out.Header, &out.Claims} {
		text, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err == nil {
			err = json.Unmarshal(text, into)
		}
		if err != nil || *into == nil {
			return out, fmt.Errorf("that is no JWT: its %s is no JSON object in base64url", []string{"header", "payload"}[i])
		}
	}
	return out, nil
}

func (p presented) text(claim string) string {
	text, _ := p.Claims[claim].(string)
	return text
}

// Results of checks.
const (
	resultOK      = "ok"
	resultFailed  = "failed"
	resultUnknown = "unknown"
)

// check is one thing that a verifier looks at.
type check struct {
	// Name is form, key, signature, issuer, time, audience or introspect.
	Name string `json:"name"`
	// Result is ok, failed or unknown.
	Result  string `json:"result"`
	Message string `json:"message"`
}

// Verdicts on tokens.
const (
	verdictValid = "valid"
	// verdictIntrospected: whoever asks the issuer refuses it, and whoever does not accepts it.
	verdictIntrospected = "validWithoutIntrospection"
	verdictInvalid      = "invalid"
	// verdictUnknown: what it depends on cannot be seen.
	verdictUnknown = "unknown"
)

// checkIntrospect is the check that not every verifier makes.
const checkIntrospect = "introspect"

// verification is what a verifier would say of a token.
type verification struct {
	// Verdict is valid, validWithoutIntrospection, invalid or unknown.
	Verdict string `json:"verdict"`
	// Valid: a verifier that does not introspect accepts it.
	Valid bool `json:"valid"`
	presented
	// Checks in the order in which they are made; what comes after one that failed is not looked at.
	Checks []check  `json:"checks"`
	Notes  []string `json:"notes,omitempty"`
}

// judge draws the verdict from the checks.
func (v *verification) judge() {
	has := func(result string, introspect bool) bool {
		return slices.ContainsFunc(v.Checks, func(c check) bool { return c.Result == result && (c.Name == checkIntrospect) == introspect })
	}
	switch {
	case has(resultFailed, false):
		v.Verdict = verdictInvalid
	case has(resultUnknown, false):
		v.Verdict = verdictUnknown
	case has(resultFailed, true):
		v.Verdict = verdictIntrospected
	default:
		v.Verdict = verdictValid
	}
	v.Valid = v.Verdict == verdictValid || v.Verdict == verdictIntrospected
}

func (v *verification) add(name string, ok bool, format string, args ...any) {
	result := resultOK
	if !ok {
		result, v.Valid = resultFailed, false
	}
	v.Checks = append(v.Checks, check{name, result, fmt.Sprintf(format, args...)})
}

// refusals explain the reasons of package token.
var refusals = map[string]string{
	token.ReasonTooLarge:    "it is larger than any token of this operator",
	token.ReasonMalformed:   "it is not of the form that this operator writes",
	token.ReasonOtherType:   "its header's typ is not " + token.Type + ", which access tokens have (RFC 9068): it may be an ID token, or a client's assertion",
	token.ReasonUnknownKey:  "no published key has its kid: it was signed elsewhere, or its key was removed or revoked",
	token.ReasonSignature:   "its signature is not by the key that its kid names: it was changed, or made by somebody else",
	token.ReasonOtherIssuer: "its iss is not, character by character, this issuer",
	token.ReasonExpired:     "it has expired",
	token.ReasonNotYetValid: "it was issued in the future: compare the clocks",
}

// trust is what a verifier knows of an issuer.
type trust struct {
	url      string
	source   string // of the trust in it
	keys     jose.JSONWebKeySet
	revoked  []string // kids that the TokenIssuer revokes
	audience string   // that is expected; "" if any is
}

// algorithm by which the key signs, "" if there is no such key.
func (t trust) algorithm(kid string) string {
	if found := t.keys.Key(kid); len(found) == 1 {
		return found[0].Algorithm
	}
	return ""
}

// verifyToken says what a verifier with this trust would say, whose clock shows now.
func verifyToken(compact string, p presented, t trust, now time.Time) verification {
	v := verification{Valid: true, presented: p}
	kid, _ := p.Header["kid"].(string)
	verified, reason := token.Verify(compact, t.url, func(kid string) (jose.JSONWebKey, bool) {
		if found := t.keys.Key(kid); len(found) == 1 {
			return found[0], true
		}
		return jose.JSONWebKey{}, false
	}, now)
	// The reasons are in the order in which token.Verify looks.
	steps := []struct {
		name    string
		reasons []string
		message string
	}{
		{"form", []string{token.ReasonTooLarge, token.ReasonMalformed, token.ReasonOtherType}, "a JWT of the type " + token.Type},
		{"key", []string{token.ReasonUnknownKey}, fmt.Sprintf("%s is among the %d published keys", kid, len(t.keys.Keys))},
		{"signature", []string{token.ReasonSignature}, fmt.Sprintf("%v, by that key", p.Header["alg"])},
		{"issuer", []string{token.ReasonOtherIssuer}, t.url + ", by " + t.source},
		{"time", []string{token.ReasonExpired, token.ReasonNotYetValid}, "valid " + span(verified, now)},
	}
	for _, step := range steps {
		if !slices.Contains(step.reasons, reason) {
			v.add(step.name, true, "%s", step.message)
			continue
		}
		message := refusals[reason]
		switch {
		case reason == token.ReasonUnknownKey && slices.Contains(t.revoked, kid):
			message = "the key " + kid + " was revoked in the TokenIssuer's spec.signing.revokedKeys: its tokens are worth nothing"
		case reason == token.ReasonSignature && p.Header["alg"] != t.algorithm(kid):
			message = fmt.Sprintf("its header's alg is %v, and the key that its kid names signs by %s alone: it was changed, or made by somebody else",
				p.Header["alg"], t.algorithm(kid))
		case reason == token.ReasonExpired:
			message += fmt.Sprintf(", at %s, %s ago", moment(verified.Expiry), now.Sub(verified.Expiry).Round(time.Second))
		case reason == token.ReasonNotYetValid:
			message += fmt.Sprintf(" (iat %s, and more than %s of skew)", moment(verified.IssuedAt), keyring.Skew)
		}
		v.add(step.name, false, "%s", message)
		return v // what comes after it nobody looks at
	}
	if t.audience != "" && t.audience != verified.Audience {
		v.add("audience", false, "it is for %s, and not for %s: the API refuses it", verified.Audience, t.audience)
	} else {
		v.add("audience", true, "%s; another API must refuse it", verified.Audience)
	}
	return v
}

func span(v token.Verified, now time.Time) string {
	return fmt.Sprintf("until %s, %s more", moment(v.Expiry), v.Expiry.Sub(now).Round(time.Second))
}

// verified prints a verification for people.
func (v verification) print(p *page) {
	switch v.Verdict {
	case verdictValid:
		p.coloured(green, "The token is valid.")
	case verdictIntrospected:
		p.coloured(yellow, "The token is valid for verifiers that do not introspect.")
	case verdictUnknown:
		p.coloured(yellow, "Whether the token is valid cannot be told.")
	default:
		p.coloured(red, "The token is not valid.")
	}
	p.line("")
	for _, c := range v.Checks {
		colour := map[string]colour{resultOK: green, resultFailed: red, resultUnknown: yellow}[c.Result]
		p.coloured(colour, "%-10s %-8s %s", c.Name, c.Result, c.Message)
	}
	for _, part := range []struct {
		name   string
		fields map[string]any
	}{{"Header", v.Header}, {"Claims", v.Claims}} {
		p.line("")
		p.coloured(bold, "%s", part.name)
		for _, name := range sorted(part.fields) {
			p.line("  %-10s %s", name, claim(name, part.fields[name]))
		}
	}
	p.notes(v.Notes)
}

// claim is a claim's value, with what it means if it is a time.
func claim(name string, value any) string {
	if seconds, ok := value.(float64); ok && slices.Contains([]string{"iat", "exp", "nbf"}, name) {
		return fmt.Sprintf("%.0f  (%s)", seconds, moment(time.Unix(int64(seconds), 0)))
	}
	if text, ok := value.(string); ok {
		return text
	}
	text, _ := json.Marshal(value) // it was JSON
	return string(text)
}

func sorted(fields map[string]any) []string {
	out := make([]string, 0, len(fields))
	for name := range fields {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}
