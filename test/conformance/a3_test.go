package conformance

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/test/assertion"
)

var privateKeys = []statement{
	{"J-1", "assertion_type", testAssertionType},
	{"J-2", "one_assertion", testOneAssertion},
	{"J-3", "issuer_subject_and_client_id", testAssertionSubject},
	{"J-4", "audience_is_the_issuer_alone", testAssertionAudience},
	{"J-5", "type", testAssertionTyp},
	{"J-6", "expiry", testAssertionExpiry},
	{"J-7", "not_before_and_issued_at", testAssertionTimes},
	{"J-8", "used_once", testAssertionOnce},
	{"J-8", "used_once_by_many_at_once", testAssertionRace},
	{"J-8", "a_bad_assertion_uses_nothing_up", testAssertionBurning},
	{"J-9", "algorithms", testAssertionAlgorithms},
	{"J-9", "forged_signatures", testAssertionForgeries},
	{"J-10", "key_by_kid", testAssertionKeys},
	{"J-10", "keys_in_the_header", testAssertionHeaderKeys},
	{"J-11", "every_refusal_is_the_same", testAssertionRefusals},
	{"J-13", "unfit_keys", testUnfitKeys},
}

const signer = "jobs.signer"

// signingClient is a client with a key pair.
type signingClient struct {
	*world
	id  string
	key assertion.Key
}

// newSigner is a world in which the client jobs.signer authenticates by a key for ES256, kid k, alone.
func newSigner(t *testing.T) signingClient {
	t.Helper()
	s := signingClient{world: newWorld(t), id: signer, key: assertion.NewKey("ES256")}
	s.byKeys("signer", s.key.JWK("k"))
	s.grant("courses", "signer", "course-api", "jobs", "signer", "courses:publish")
	return s
}

// byKeys makes a client that authenticates by its keys alone, and has a secret nonetheless.
func (w *world) byKeys(name string, keys ...v1alpha1.JSONWebKey) *v1alpha1.M2MClient {
	var made *v1alpha1.M2MClient
	w.client("jobs", name, func(c *v1alpha1.M2MClient) {
		c.Spec.Authentication = []v1alpha1.AuthenticationMethod{v1alpha1.AuthenticateByKey}
		c.Spec.JWKS = &v1alpha1.JSONWebKeySet{Keys: keys}
		made = c
	})
	return made
}

type object = map[string]any

// header and payload of a good assertion, with some members changed; nil leaves one out.
func (s signingClient) header(change object) string {
	return changed(object{"alg": s.key.Algorithm, "kid": "k", "typ": "JWT"}, change)
}

var assertionIDs atomic.Int64

func (s signingClient) payload(change object) string {
	now := s.now()
	return changed(object{
		"iss": s.id, "sub": s.id, "aud": issuerURL, "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
		"jti": fmt.Sprint("assertion-", assertionIDs.Add(1)),
	}, change)
}

func changed(o, change object) string {
	maps.Copy(o, change)
	maps.DeleteFunc(o, func(_ string, value any) bool { return value == nil })
	text, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// with is a good assertion with other claims, and headed one with another header.
func (s signingClient) with(change object) string {
	return s.key.Sign(s.header(nil), s.payload(change))
}

func (s signingClient) headed(change object) string {
	return s.key.Sign(s.header(change), s.payload(nil))
}

func (s signingClient) ask(assertion string, pairs ...string) answer {
	s.t.Helper()
	return s.send(s.asserted(assertion, pairs...))
}

func (s signingClient) wantGood(assertions map[string]string) {
	s.t.Helper()
	for name, assertion := range assertions {
		s.run(name, func(t *testing.T) {
			if token := s.claims(s.ask(assertion).wantToken(t)); token["client_id"] != s.id {
				t.Errorf("the token is for %v", token["client_id"])
			}
		})
	}
}

func (s signingClient) wantBad(assertions map[string]string) {
	s.t.Helper()
	for name, assertion := range assertions {
		s.run(name, func(t *testing.T) { s.ask(assertion).wantError(t, http.StatusUnauthorized, "invalid_client") })
	}
}

func testAssertionType(t *testing.T) {
	s := newSigner(t)
	send := func(pairs ...string) answer { return s.send(s.tokenRequest(pairs...).bare()) }
	const urn = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	for _, other := range []string{"urn:ietf:params:oauth:client-assertion-type:saml2-bearer", "jwt-bearer", strings.ToUpper(urn), urn + " ", " " + urn, urn + "\n"} {
		send("client_assertion_type", other, "client_assertion", s.with(nil)).wantError(t, http.StatusUnauthorized, "invalid_client")
	}
	send("client_assertion", s.with(nil)).wantError(t, http.StatusBadRequest, "invalid_request")
	send("client_assertion_type", urn).wantError(t, http.StatusBadRequest, "invalid_request")
	send("client_assertion_type", "", "client_assertion", s.with(nil)).wantError(t, http.StatusBadRequest, "invalid_request")
	send("client_assertion_type", urn, "client_assertion", s.with(nil)).wantToken(t)
}

func testOneAssertion(t *testing.T) {
	s := newSigner(t)
	good := s.with(nil)
	for _, r := range []request{
		s.asserted(good).add("client_assertion", good),
		s.asserted(good).add("client_assertion", s.with(nil)),
		s.asserted(good).add("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
	} {
		s.send(r).wantError(t, http.StatusBadRequest, "invalid_request")
	}
	for _, several := range []string{good + " " + s.with(nil), good + "," + s.with(nil), good + "." + s.with(nil)} {
		s.ask(several).wantError(t, http.StatusUnauthorized, "invalid_client")
	}
	s.ask(good).wantToken(t)
}

func testAssertionSubject(t *testing.T) {
	s := newSigner(t)
	s.byKeys("other", s.key.JWK("k"))
	s.wantBad(map[string]string{
		"no iss":         s.with(object{"iss": nil}),
		"no sub":         s.with(object{"sub": nil}),
		"neither":        s.with(object{"iss": nil, "sub": nil}),
		"empty":          s.with(object{"iss": "", "sub": ""}),
		"iss of another": s.with(object{"iss": "jobs.other"}),
		"sub of another": s.with(object{"sub": "jobs.other"}),
		"iss of ours":    s.with(object{"iss": issuerURL}),
		"iss, a list":    s.with(object{"iss": []string{signer}}),
		"unknown":        s.with(object{"iss": "jobs.unknown", "sub": "jobs.unknown"}),
		"other case":     s.with(object{"iss": "jobs.Signer", "sub": "jobs.Signer"}),
		"sub twice":      s.key.Sign(s.header(nil), strings.Replace(s.payload(nil), "{", `{"sub":"jobs.other",`, 1)),
	})
	good := s.with(nil)
	s.ask(good, "client_id", "jobs.other").wantError(t, http.StatusBadRequest, "invalid_request")
	s.ask(good, "client_id", "jobs.unknown").wantError(t, http.StatusBadRequest, "invalid_request")
	s.ask(good, "client_id", signer).wantToken(t)
}

func testAssertionAudience(t *testing.T) {
	s := newSigner(t)
	s.wantGood(map[string]string{
		"a string":      s.with(nil),
		"a list of one": s.with(object{"aud": []string{issuerURL}}),
	})
	s.wantBad(map[string]string{
		"none":                     s.with(object{"aud": nil}),
		"empty":                    s.with(object{"aud": ""}),
		"an empty list":            s.with(object{"aud": []string{}}),
		"the token endpoint":       s.with(object{"aud": issuerURL + tokenPath}),
		"the token endpoint, list": s.with(object{"aud": []string{issuerURL + tokenPath}}),
		"both":                     s.with(object{"aud": []string{issuerURL, issuerURL + tokenPath}}),
		"a stranger too":           s.with(object{"aud": []string{issuerURL, "https://other.example.com"}}),
		"a stranger first":         s.with(object{"aud": []string{"https://other.example.com", issuerURL}}),
		"ours twice":               s.with(object{"aud": []string{issuerURL, issuerURL}}),
		"another issuer":           s.with(object{"aud": "https://other.example.com"}),
		"a slash":                  s.with(object{"aud": issuerURL + "/"}),
		"a port":                   s.with(object{"aud": issuerURL + ":443"}),
		"capitals":                 s.with(object{"aud": "https://Tokens.example.com"}),
		"a nested list":            s.with(object{"aud": [][]string{{issuerURL}}}),
		"an object":                s.with(object{"aud": object{"aud": issuerURL}}),
		"aud twice":                s.key.Sign(s.header(nil), strings.Replace(s.payload(nil), "{", `{"aud":"https://other.example.com",`, 1)),
	})
}

func testAssertionTyp(t *testing.T) {
	s := newSigner(t)
	good, bad := map[string]string{"none": s.headed(object{"typ": nil})}, map[string]string{}
	for _, typ := range []string{"JWT", "jwt", "application/jwt", "client-authentication+jwt", "Client-Authentication+JWT", "application/client-authentication+jwt"} {
		good[typ] = s.headed(object{"typ": typ})
	}
	for _, typ := range []any{"at+jwt", "application/at+jwt", "dpop+jwt", "logout+jwt", "secevent+jwt", "token-introspection+jwt", "JOSE", "", 1, []string{"JWT"}, "text/jwt"} {
		bad[fmt.Sprint("typ ", typ)] = s.headed(object{"typ": typ})
	}
	s.wantGood(good)
	s.wantBad(bad)
}

func testAssertionExpiry(t *testing.T) {
	s := newSigner(t)
	in := func(d time.Duration) any { return float64(s.now().Add(d).UnixMilli()) / 1000 }
	s.wantGood(map[string]string{
		"five minutes":      s.with(object{"exp": in(5 * time.Minute)}),
		"and the leeway":    s.with(object{"exp": in(6 * time.Minute)}),
		"within the leeway": s.with(object{"exp": in(-time.Minute + time.Millisecond)}),
	})
	s.wantBad(map[string]string{
		"none":               s.with(object{"exp": nil}),
		"too far":            s.with(object{"exp": in(6*time.Minute + time.Millisecond)}),
		"a year":             s.with(object{"exp": in(365 * 24 * time.Hour)}),
		"passed":             s.with(object{"exp": in(-time.Minute)}),
		"passed long ago":    s.with(object{"exp": 1}),
		"negative":           s.with(object{"exp": -1}),
		"a string":           s.with(object{"exp": fmt.Sprint(s.now().Add(time.Minute).Unix())}),
		"a list":             s.with(object{"exp": []any{s.now().Add(time.Minute).Unix()}}),
		"huge":               s.with(object{"exp": json.RawMessage("1e999")}),
		"beyond an integer":  s.with(object{"exp": json.RawMessage("9223372036854775808")}),
		"wraps to the right": s.with(object{"exp": json.RawMessage(fmt.Sprintf("1%0.0f", 1e19+float64(s.now().Unix())))}),
		"milliseconds":       s.with(object{"exp": s.now().Add(time.Minute).UnixMilli()}),
	})
}

func testAssertionTimes(t *testing.T) {
	s := newSigner(t)
	in := func(d time.Duration) any { return float64(s.now().Add(d).UnixMilli()) / 1000 }
	s.wantGood(map[string]string{
		"neither":            s.with(object{"iat": nil}),
		"nbf now":            s.with(object{"nbf": in(0)}),
		"nbf within leeway":  s.with(object{"nbf": in(time.Minute)}),
		"iat within leeway":  s.with(object{"iat": in(time.Minute)}),
		"iat a long ago":     s.with(object{"iat": in(-24 * time.Hour)}),
		"iat with fractions": s.with(object{"iat": in(-1500 * time.Millisecond)}),
	})
	s.wantBad(map[string]string{
		"nbf to come":   s.with(object{"nbf": in(time.Minute + time.Millisecond)}),
		"iat to come":   s.with(object{"iat": in(time.Minute + time.Millisecond)}),
		"nbf, a string": s.with(object{"nbf": "0"}),
		"iat, a string": s.with(object{"iat": "0"}),
	})
}

func testAssertionOnce(t *testing.T) {
	s := newSigner(t)
	once := s.with(object{"jti": "once"})
	s.wantBad(map[string]string{
		"no jti":       s.with(object{"jti": nil}),
		"empty jti":    s.with(object{"jti": ""}),
		"a number":     s.with(object{"jti": 1}),
		"too long jti": s.with(object{"jti": strings.Repeat("x", 257)}),
	})
	s.ask(once).wantToken(t)
	s.ask(once).wantError(t, http.StatusUnauthorized, "invalid_client")
	s.ask(s.with(object{"jti": "once", "exp": s.now().Add(4 * time.Minute).Unix()})).wantError(t, http.StatusUnauthorized, "invalid_client")
	s.later(2*time.Minute - time.Millisecond)
	s.ask(once).wantError(t, http.StatusUnauthorized, "invalid_client")
	s.ask(s.with(object{"jti": "twice"})).wantToken(t)
}

func testAssertionRace(t *testing.T) {
	s := newSigner(t)
	r := s.asserted(s.with(nil))
	var won atomic.Int32
	var group sync.WaitGroup
	for i := range 16 {
		client := []*http.Client{s.http1, s.http2}[i%2]
		group.Go(func() {
			if a := s.sendBy(t, client, r); a.status == http.StatusOK {
				won.Add(1)
			} else {
				a.wantError(t, http.StatusUnauthorized, "invalid_client")
			}
		})
	}
	group.Wait()
	if won.Load() != 1 {
		t.Errorf("%d requests with one assertion got a token", won.Load())
	}
}

func testAssertionBurning(t *testing.T) {
	s := newSigner(t)
	s.byKeys("other", s.key.JWK("k"))
	s.grant("courses", "other", "course-api", "jobs", "other", "courses:publish")
	id := object{"jti": "wanted"}
	bad := func(change object) string {
		change["jti"] = "wanted"
		return s.with(change)
	}
	s.wantBad(map[string]string{
		"aud":       bad(object{"aud": "https://other.example.com"}),
		"exp":       bad(object{"exp": 1}),
		"typ":       s.key.Sign(s.header(object{"typ": "at+jwt"}), s.payload(id)),
		"kid":       s.key.Sign(s.header(object{"kid": "x"}), s.payload(id)),
		"signature": assertion.NewKey("ES256").Sign(s.header(nil), s.payload(id)),
	})
	s.ask(s.with(id), "client_id", "jobs.other").wantError(t, http.StatusBadRequest, "invalid_request")
	s.ask(bad(object{"iss": "jobs.other", "sub": "jobs.other"})).wantToken(t) // another client's
	s.ask(s.with(id)).wantToken(t)
}
