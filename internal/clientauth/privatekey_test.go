package clientauth

import (
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/clientkey"
	"github.com/m2m-operator/m2m-operator/test/assertion"
)

const signer = "jobs.signer"

// testKeys take long to make.
var testKeys = sync.OnceValue(func() map[string]assertion.Key {
	keys := map[string]assertion.Key{}
	for _, algorithm := range clientkey.Algorithms {
		keys[string(algorithm)] = assertion.NewKey(string(algorithm))
	}
	return keys
})

// asserter checks assertions of the client signer, which has a key of each algorithm: the kid is its name.
type asserter struct {
	t     *testing.T
	index *access.Index
	*Authenticator
}

func newAsserter(t *testing.T) *asserter {
	t.Helper()
	index := access.NewIndex("m2m-system")
	a := &asserter{t: t, index: index, Authenticator: New("default", index)}
	var keys []v1alpha1.JSONWebKey
	for _, algorithm := range clientkey.Algorithms {
		keys = append(keys, testKeys()[string(algorithm)].JWK(string(algorithm)))
	}
	a.client("signer", nil, keys...)
	return a
}

// client makes a client, which must have fit keys.
func (a *asserter) client(name string, change func(*v1alpha1.M2MClient), keys ...v1alpha1.JSONWebKey) {
	client := &v1alpha1.M2MClient{ObjectMeta: metav1.ObjectMeta{Namespace: "jobs", Name: name}}
	client.Spec.Authentication = []v1alpha1.AuthenticationMethod{v1alpha1.AuthenticateByKey}
	client.Spec.JWKS = &v1alpha1.JSONWebKeySet{Keys: keys}
	if change != nil {
		change(client)
	}
	if _, err := clientkey.Parse(*client.Spec.JWKS); err != nil {
		panic(err)
	}
	a.index.Upsert(client)
}

// try sends an assertion without a client_id.
func (a *asserter) try(assertion string, at time.Time) (access.Client, Attempt, *Failure) {
	return a.tryAs("", assertion, at)
}

func (a *asserter) tryAs(clientID, assertion string, at time.Time) (access.Client, Attempt, *Failure) {
	a.t.Helper()
	return a.Authenticate(Credentials{clientID: clientID, assertion: assertion}, Trust{IssuerURL: tokensURL}, source, at)
}

// wantGood fails unless the assertion proves the signer.
func (a *asserter) wantGood(assertion string, at time.Time) {
	a.t.Helper()
	if client, _, failure := a.try(assertion, at); failure != nil || client.ID != signer {
		a.t.Errorf("got %+v, %+v; want %s", client, failure, signer)
	}
}

// wantBad fails unless the assertion is refused for a reason, and nobody can tell which.
func (a *asserter) wantBad(assertion string, at time.Time, reason string) {
	a.t.Helper()
	client, attempt, failure := a.try(assertion, at)
	if !same(failure, errBadCredentials) || failure.Reason != reason || client.ID != "" || attempt.CredentialID != "" {
		a.t.Errorf("got %+v, %+v, %+v; want %s", client, attempt, failure, reason)
	}
}

// goodHeader and goodClaims are what a client library writes.
func goodHeader() object { return object{"alg": "ES256", "kid": "ES256", "typ": "JWT"} }

func goodClaims() object {
	return object{"iss": signer, "sub": signer, "aud": tokensURL, "exp": now.Add(time.Minute).Unix(), "iat": now.Unix(), "jti": "one"}
}

// with is an object with some members changed; nil takes one away.
func with(o object, pairs ...any) object {
	o = maps.Clone(o)
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] == nil {
			delete(o, pairs[i].(string))
		} else {
			o[pairs[i].(string)] = pairs[i+1]
		}
	}
	return o
}

func text(o object) string {
	out, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	return string(out)
}

// signed is an assertion by the key that the header's alg names.
func signed(header, claims object) string {
	algorithm, _ := header["alg"].(string)
	key, ok := testKeys()[algorithm]
	if !ok {
		key = testKeys()["ES256"]
	}
	return key.Sign(text(header), text(claims))
}

// TestOwnAssertion: an assertion of each algorithm, with its kid and, where no other key has the algorithm, without.
func TestOwnAssertion(t *testing.T) {
	a := newAsserter(t)
	for _, algorithm := range clientkey.Algorithms {
		for _, kid := range []any{string(algorithm), nil} {
			header := with(goodHeader(), "alg", string(algorithm), "kid", kid)
			client, attempt, failure := a.try(signed(header, with(goodClaims(), "jti", fmt.Sprint(algorithm, kid))), now)
			want := Attempt{ClientID: signer, Method: MethodPrivateKey, CredentialID: string(algorithm)}
			if failure != nil || client.ID != signer || attempt != want {
				t.Errorf("%s, kid %v: %+v, %+v, %+v", algorithm, kid, client, attempt, failure)
			}
		}
	}
}

func TestAssertionClaims(t *testing.T) {
	in := func(d time.Duration) float64 { return float64(now.Add(d).UnixMilli()) / 1000 }
	const long = leeway + maxAssertionLife
	for name, test := range map[string]struct {
		changes []any
		reason  string // "": it is good
	}{
		"as it is":            {nil, ""},
		"aud, a list of one":  {[]any{"aud", []string{tokensURL}}, ""},
		"no iat":              {[]any{"iat", nil}, ""},
		"unknown claims":      {[]any{"a", object{"b": []any{1}}}, ""},
		"exp with a fraction": {[]any{"exp", in(1500 * time.Millisecond)}, ""},

		"no iss":          {[]any{"iss", nil}, ReasonMalformed},
		"no sub":          {[]any{"sub", nil}, ReasonMalformed},
		"neither":         {[]any{"iss", nil, "sub", nil}, ReasonMalformed},
		"iss of another":  {[]any{"iss", "jobs.other"}, ReasonMalformed},
		"sub of another":  {[]any{"sub", "jobs.other"}, ReasonMalformed},
		"iss, a list":     {[]any{"iss", []string{signer}}, ReasonMalformed},
		"sub, a number":   {[]any{"sub", 1}, ReasonMalformed},
		"case of the sub": {[]any{"iss", "jobs.Signer", "sub", "jobs.Signer"}, ReasonUnknownClient},

		"no aud":              {[]any{"aud", nil}, ReasonWrongAudience},
		"aud, null":           {[]any{"aud", json.RawMessage("null")}, ReasonWrongAudience},
		"aud, empty":          {[]any{"aud", ""}, ReasonWrongAudience},
		"aud, an empty list":  {[]any{"aud", []string{}}, ReasonWrongAudience},
		"aud, a stranger too": {[]any{"aud", []string{tokensURL, "https://other.example.com"}}, ReasonWrongAudience},
		"aud, twice":          {[]any{"aud", []string{tokensURL, tokensURL}}, ReasonWrongAudience},
		"aud, token endpoint": {[]any{"aud", tokensURL + v1alpha1.PathToken}, ReasonWrongAudience},
		"aud, both":           {[]any{"aud", []string{tokensURL, tokensURL + v1alpha1.PathToken}}, ReasonWrongAudience},
		"aud with a slash":    {[]any{"aud", tokensURL + "/"}, ReasonWrongAudience},
		"aud with a port":     {[]any{"aud", tokensURL + ":443"}, ReasonWrongAudience},
		"aud in capitals":     {[]any{"aud", strings.ToUpper(tokensURL)}, ReasonWrongAudience},
		"aud, nested":         {[]any{"aud", []any{[]string{tokensURL}}}, ReasonMalformed},
		"aud, a number":       {[]any{"aud", 1}, ReasonMalformed},
		"aud, mixed":          {[]any{"aud", []any{tokensURL, 1}}, ReasonMalformed},
		"aud, an object":      {[]any{"aud", object{"0": tokensURL}}, ReasonMalformed},

		"no exp":                {[]any{"exp", nil}, ReasonMalformed},
		"exp, null":             {[]any{"exp", json.RawMessage("null")}, ReasonMalformed},
		"exp, a string":         {[]any{"exp", fmt.Sprint(now.Add(time.Minute).Unix())}, ReasonMalformed},
		"exp, a list":           {[]any{"exp", []int64{now.Add(time.Minute).Unix()}}, ReasonMalformed},
		"exp, true":             {[]any{"exp", true}, ReasonMalformed},
		"exp, negative":         {[]any{"exp", -1}, ReasonMalformed},
		"exp, zero":             {[]any{"exp", 0}, ReasonExpired},
		"exp, huge":             {[]any{"exp", json.RawMessage("1e300")}, ReasonMalformed},
		"exp, infinite":         {[]any{"exp", json.RawMessage("1e999")}, ReasonMalformed},
		"exp, beyond 64 bits":   {[]any{"exp", json.RawMessage("18446744073709551617")}, ReasonMalformed},
		"exp, in milliseconds":  {[]any{"exp", now.Add(time.Minute).UnixMilli()}, ReasonMalformed},
		"exp in a year":         {[]any{"exp", now.AddDate(1, 0, 0).Unix()}, ReasonTooLongLived},
		"exp, just not too far": {[]any{"exp", in(long)}, ""},
		"exp, just too far":     {[]any{"exp", in(long + time.Millisecond)}, ReasonTooLongLived},
		"exp, just not passed":  {[]any{"exp", in(-leeway + time.Millisecond)}, ""},
		"exp, just passed":      {[]any{"exp", in(-leeway)}, ReasonExpired},

		"nbf, just come":            {[]any{"nbf", in(leeway)}, ""},
		"nbf, just to come":         {[]any{"nbf", in(leeway + time.Millisecond)}, ReasonNotYetValid},
		"nbf, a string":             {[]any{"nbf", "0"}, ReasonMalformed},
		"iat, just not off":         {[]any{"iat", in(leeway)}, ""},
		"iat in the future":         {[]any{"iat", in(leeway + time.Millisecond)}, ReasonNotYetValid},
		"iat long ago":              {[]any{"iat", 1}, ""},
		"iat, an object":            {[]any{"iat", object{}}, ReasonMalformed},
		"no jti":                    {[]any{"jti", nil}, ReasonNoID},
		"jti, empty":                {[]any{"jti", ""}, ReasonNoID},
		"jti, a number":             {[]any{"jti", 1}, ReasonMalformed},
		"jti, as long as it may be": {[]any{"jti", strings.Repeat("x", maxAssertionID)}, ""},
		"jti, too long":             {[]any{"jti", strings.Repeat("x", maxAssertionID+1)}, ReasonNoID},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAsserter(t)
			if assertion := signed(goodHeader(), with(goodClaims(), test.changes...)); test.reason == "" {
				a.wantGood(assertion, now)
			} else {
				a.wantBad(assertion, now, test.reason)
			}
		})
	}
	t.Run("no issuer URL", func(t *testing.T) {
		a := newAsserter(t)
		c := Credentials{assertion: signed(goodHeader(), with(goodClaims(), "aud", ""))}
		if _, _, failure := a.Authenticate(c, Trust{}, source, now); failure == nil {
			t.Error("an empty audience is taken where there is no issuer URL")
		}
	})
}

func TestAssertionHeader(t *testing.T) {
	attacker := assertion.NewKey("ES256")
	attackerJWK := object{"kty": "EC", "crv": "P-256", "x": attacker.JWK("").X, "y": attacker.JWK("").Y}
	foreign := func(changes ...any) func() string {
		return func() string { return attacker.Sign(text(with(goodHeader(), changes...)), text(goodClaims())) }
	}
	own := func(changes ...any) func() string {
		return func() string { return signed(with(goodHeader(), changes...), goodClaims()) }
	}
	for name, test := range map[string]struct {
		assertion func() string
		reason    string // "": it is good
	}{
		"no typ":                      {own("typ", nil), ""},
		"typ in any case":             {own("typ", "jwt"), ""},
		"typ of assertions":           {own("typ", "client-authentication+jwt"), ""},
		"typ with its prefix":         {own("typ", "application/Client-Authentication+JWT"), ""},
		"JWT with the prefix":         {own("typ", "application/jwt"), ""},
		"typ of access tokens":        {own("typ", "at+jwt"), ReasonWrongType},
		"typ of access tokens, whole": {own("typ", "application/at+jwt"), ReasonWrongType},
		"typ of DPoP":                 {own("typ", "dpop+jwt"), ReasonWrongType},
		"typ of log-outs":             {own("typ", "logout+jwt"), ReasonWrongType},
		"typ of events":               {own("typ", "secevent+jwt"), ReasonWrongType},
		"typ, empty":                  {own("typ", ""), ReasonWrongType},
		"typ, JOSE":                   {own("typ", "JOSE"), ReasonWrongType},
		"typ, a list":                 {own("typ", []string{"JWT"}), ReasonWrongType},
		"prefix twice":                {own("typ", "application/application/jwt"), ReasonWrongType},

		"no alg":              {own("alg", nil), ReasonWrongAlgorithm},
		"alg none":            {own("alg", "none"), ReasonWrongAlgorithm},
		"alg None":            {own("alg", "NoNe"), ReasonWrongAlgorithm},
		"alg in another case": {own("alg", "es256"), ReasonWrongAlgorithm},
		"alg, a list":         {own("alg", []string{"ES256"}), ReasonWrongAlgorithm},
		"alg of another key": {func() string {
			return testKeys()["RS256"].As("PS256").Sign(`{"alg":"PS256","kid":"RS256"}`, text(goodClaims()))
		}, ReasonUnknownKey},
		"alg with one's own":    {func() string { return testKeys()["RS256"].As("PS256").Sign(`{"alg":"PS256"}`, text(goodClaims())) }, ReasonWrongSignature},
		"HS256 with the key":    {hs256(x509Of(testKeys()["RS256"])), ReasonWrongAlgorithm},
		"HS256 with the n":      {hs256([]byte(testKeys()["RS256"].JWK("").N)), ReasonWrongAlgorithm},
		"unknown kid":           {own("kid", "other"), ReasonUnknownKey},
		"kid of another key":    {own("kid", "ES384"), ReasonUnknownKey},
		"kid in another case":   {own("kid", "es256"), ReasonUnknownKey},
		"kid, a number":         {own("kid", 1), ReasonMalformed},
		"crit":                  {own("crit", []string{"exp"}, "exp", 1), ReasonMalformed},
		"crit of what it knows": {own("crit", []string{"b64"}, "b64", true), ReasonMalformed},
		"crit, empty":           {own("crit", []string{}), ReasonMalformed},

		"foreign signature":  {foreign(), ReasonWrongSignature},
		"foreign jwk":        {foreign("jwk", attackerJWK), ReasonWrongSignature},
		"foreign jwk, named": {foreign("jwk", with(attackerJWK, "kid", "ES256"), "kid", nil), ReasonWrongSignature},
		"foreign jku":        {foreign("jku", "https://evil.example.com/jwks"), ReasonWrongSignature},
		"foreign x5u":        {foreign("x5u", "https://evil.example.com/cert"), ReasonWrongSignature},
		"own jwk and jku":    {own("jwk", attackerJWK, "jku", "https://evil.example.com/jwks", "x5u", "https://evil.example.com/cert"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAsserter(t)
			if test.reason == "" {
				a.wantGood(test.assertion(), now)
			} else {
				a.wantBad(test.assertion(), now, test.reason)
			}
		})
	}
}

func x509Of(key assertion.Key) []byte {
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		panic(err)
	}
	return der
}

// hs256 makes an assertion whose secret is what everybody knows.
func hs256(secret []byte) func() string {
	return func() string {
		return assertion.Compact(`{"alg":"HS256","kid":"RS256"}`, text(goodClaims()), func(input []byte) []byte {
			mac := hmac.New(sha256.New, secret)
			mac.Write(input)
			return mac.Sum(nil)
		})
	}
}

// TestMalformedAssertions: what no library would make.
// respelled are the same bytes as those of a segment whose last character has bits that say nothing.
func respelled(segment string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := len(segment) - 1
	return segment[:last] + string(alphabet[strings.IndexByte(alphabet, segment[last])|1])
}

func TestMalformedAssertions(t *testing.T) {
	key := testKeys()["ES256"]
	header, claims := text(goodHeader()), text(goodClaims())
	good := key.Sign(header, claims)
	parts := strings.Split(good, ".")
	insert := func(object, members string) string { return "{" + members + "," + object[1:] }
	for name, test := range map[string]struct{ assertion, reason string }{
		"one segment":            {"abc", ReasonMalformed},
		"two segments":           {parts[0] + "." + parts[1], ReasonMalformed},
		"four segments":          {good + "." + parts[2], ReasonMalformed},
		"five segments":          {good + ".a.b", ReasonMalformed},
		"dots":                   {"..", ReasonMalformed},
		"no header":              {"." + parts[1] + "." + parts[2], ReasonMalformed},
		"no claims":              {parts[0] + ".." + parts[2], ReasonMalformed},
		"no signature":           {parts[0] + "." + parts[1] + ".", ReasonMalformed},
		"padding":                {parts[0] + "." + parts[1] + "=." + parts[2], ReasonMalformed},
		"end of line":            {parts[0] + "." + parts[1] + "\n." + parts[2], ReasonMalformed},
		"end of line at the end": {good + "\n", ReasonMalformed},
		"spare bits, header":     {respelled(parts[0]) + "." + parts[1] + "." + parts[2], ReasonMalformed},
		"spare bits, signature":  {parts[0] + "." + parts[1] + "." + respelled(parts[2]), ReasonMalformed},
		"crit is null":           {key.Sign(insert(header, `"crit":null`), claims), ReasonMalformed},
		"other base64":           {parts[0] + "." + parts[1] + "." + "/+" + parts[2][2:], ReasonMalformed},
		"JSON serialization":     {fmt.Sprintf(`{"protected":%q,"payload":%q,"signature":%q}`, parts[0], parts[1], parts[2]), ReasonMalformed},
		"too large":              {key.Sign(header, insert(claims, `"a":"`+strings.Repeat("x", maxAssertion)+`"`)), ReasonMalformed},
		"claims no JSON":         {key.Sign(header, "claims"), ReasonMalformed},
		"claims, a list":         {key.Sign(header, "["+claims+"]"), ReasonMalformed},
		"claims, a string":       {key.Sign(header, `"claims"`), ReasonMalformed},
		"claims, null":           {key.Sign(header, "null"), ReasonMalformed},
		"claims and more":        {key.Sign(header, claims+claims), ReasonMalformed},
		"claims, cut off":        {key.Sign(header, claims[:len(claims)-1]), ReasonMalformed},
		"claims, nested deeply":  {key.Sign(header, insert(claims, `"a":`+strings.Repeat("[", 9000)+strings.Repeat("]", 2000))), ReasonMalformed},
		"header no JSON":         {key.Sign("header", claims), ReasonMalformed},
		"header, a list":         {key.Sign("["+header+"]", claims), ReasonMalformed},
		"header, empty":          {key.Sign("{}", claims), ReasonWrongAlgorithm},
		"header, nested deeply":  {key.Sign(insert(header, `"a":`+strings.Repeat("[", 9000)), claims), ReasonMalformed},
		"alg twice":              {key.Sign(insert(header, `"alg":"none"`), claims), ReasonMalformed},
		"kid twice":              {key.Sign(insert(header, `"kid":"other"`), claims), ReasonMalformed},
		"alg twice, escaped":     {key.Sign(insert(header, `"\u0061lg":"none"`), claims), ReasonMalformed},
		"sub twice":              {key.Sign(header, insert(claims, `"sub":"jobs.other"`)), ReasonMalformed},
		"sub twice, the same":    {key.Sign(header, insert(claims, `"sub":"`+signer+`"`)), ReasonMalformed},
		"sub twice, escaped":     {key.Sign(header, insert(claims, `"s\u0075b":"jobs.other"`)), ReasonMalformed},
		"aud twice":              {key.Sign(header, insert(claims, `"aud":"https://other.example.com"`)), ReasonMalformed},
		"unknown claim twice":    {key.Sign(header, insert(claims, `"a":1,"a":2`)), ReasonMalformed},
		"sub in capitals":        {key.Sign(header, strings.Replace(claims, `"sub"`, `"SUB"`, 1)), ReasonMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAsserter(t)
			a.wantBad(test.assertion, now, test.reason)
			a.wantGood(good, now) // whatever came before has not used it up
		})
	}
	t.Run("capitals beside", func(t *testing.T) {
		newAsserter(t).wantGood(key.Sign(header, insert(claims, `"SUB":"jobs.other","Aud":"x"`)), now)
	})
	t.Run("as large as it may be", func(t *testing.T) {
		size := maxAssertion - len(good)
		filled := key.Sign(header, insert(claims, `"a":"`+strings.Repeat("x", size*3/4-8)+`"`))
		if len(filled) > maxAssertion || len(filled) < maxAssertion-8 {
			t.Fatalf("it is %d long", len(filled))
		}
		newAsserter(t).wantGood(filled, now)
	})
}

// TestAssertionClients: whatever is wrong with the client, the answer is the one to a wrong signature.
func TestAssertionClients(t *testing.T) {
	a := newAsserter(t)
	key := testKeys()["ES256"]
	a.client("suspended", func(c *v1alpha1.M2MClient) { c.Spec.Suspend = true }, key.JWK("ES256"))
	a.client("foreign", func(c *v1alpha1.M2MClient) { c.Spec.IssuerRef.Name = "other" }, key.JWK("ES256"))
	a.client("secret", func(c *v1alpha1.M2MClient) {
		c.Spec.Authentication = []v1alpha1.AuthenticationMethod{v1alpha1.AuthenticateBySecret}
	}, key.JWK("ES256"))
	a.client("other", nil, assertion.NewKey("ES256").JWK("ES256"))
	a.client("unnamed", nil, key.JWK(""), testKeys()["RS256"].JWK(""))
	a.client("two", nil, key.JWK("ES256"), assertion.NewKey("ES256").JWK("b"))
	invalid := &v1alpha1.M2MClient{ObjectMeta: metav1.ObjectMeta{Namespace: "jobs", Name: "invalid"}}
	invalid.Spec.Authentication = []v1alpha1.AuthenticationMethod{v1alpha1.AuthenticateByKey}
	invalid.Spec.JWKS = &v1alpha1.JSONWebKeySet{Keys: []v1alpha1.JSONWebKey{key.JWK("ES256"), key.JWK("again")}}
	a.index.Upsert(invalid)

	for name, test := range map[string]struct {
		client string
		header object
		reason string
	}{
		"unknown":                     {"jobs.unknown", goodHeader(), ReasonUnknownClient},
		"no client ID":                {"unknown", goodHeader(), ReasonUnknownClient},
		"suspended":                   {"jobs.suspended", goodHeader(), ReasonSuspended},
		"of another issuer":           {"jobs.foreign", goodHeader(), ReasonOtherIssuer},
		"with a secret":               {"jobs.secret", goodHeader(), ReasonMethodNotAllowed},
		"with the kid, another key":   {"jobs.other", goodHeader(), ReasonWrongSignature},
		"two keys, none is named":     {"jobs.two", with(goodHeader(), "kid", nil), ReasonUnknownKey},
		"a kid, and the key has none": {"jobs.unnamed", goodHeader(), ReasonUnknownKey},
		"an unfit key beside":         {"jobs.invalid", goodHeader(), ReasonUnknownKey},
	} {
		t.Run(name, func(t *testing.T) {
			a.wantBad(signed(test.header, with(goodClaims(), "iss", test.client, "sub", test.client)), now, test.reason)
		})
	}
	if client, attempt, failure := a.try(signed(with(goodHeader(), "kid", nil), with(goodClaims(), "iss", "jobs.unnamed", "sub", "jobs.unnamed")), now); failure != nil || client.ID != "jobs.unnamed" || attempt.CredentialID != "" {
		t.Errorf("a key without a kid: %+v, %+v, %+v", client, attempt, failure)
	}
}

func TestAssertionClientID(t *testing.T) {
	a := newAsserter(t)
	good := signed(goodHeader(), goodClaims())
	for _, other := range []string{"jobs.other", "jobs.Signer", " " + signer} {
		if client, _, failure := a.tryAs(other, good, now); failure != errOtherClientID || client.ID != "" {
			t.Errorf("with the client_id %q: %+v, %+v", other, client, failure)
		}
	}
	if client, _, failure := a.tryAs(signer, good, now); failure != nil || client.ID != signer {
		t.Errorf("with its own client_id: %+v, %+v", client, failure)
	}
}

// TestAssertionAttempt: what is said of a failed attempt names objects that exist, and nothing else.
func TestAssertionAttempt(t *testing.T) {
	a := newAsserter(t)
	for client, want := range map[string]string{signer: signer, "jobs.unknown": "", "s3cr3t": ""} {
		_, attempt, _ := a.try(signed(with(goodHeader(), "kid", "s3cr3t"), with(goodClaims(), "iss", client, "sub", client)), now)
		if attempt.ClientID != want || attempt.CredentialID != "" || attempt.Method != MethodPrivateKey {
			t.Errorf("%s: %+v", client, attempt)
		}
	}
}

// TestAssertionThrottle: known or not, a client that an assertion names is counted by its name; otherwise an exhausted
// count of the unknown would tell them apart.
func TestAssertionThrottle(t *testing.T) {
	a := newAsserter(t)
	fail := func(client string) *Failure {
		claims := with(goodClaims(), "iss", client, "sub", client)
		_, _, failure := a.try(assertion.Compact(text(goodHeader()), text(claims), func([]byte) []byte { return make([]byte, 64) }), now)
		return failure
	}
	for _, client := range []string{"jobs.unknown", signer, "jobs.unknown-too"} {
		for i := range failureBurst {
			if failure := fail(client); !same(failure, errBadCredentials) {
				t.Fatalf("%s: failure %d is %+v", client, i, failure)
			}
		}
		if failure := fail(client); !same(failure, errTooManyFailures) {
			t.Errorf("%s: failure beyond the burst is %+v", client, failure)
		}
	}
	a.wantGood(signed(goodHeader(), goodClaims()), now)
}

// TestSignatureBeyondTheModulus: verifying one ends at once, and a stranger, whose decoy has the largest modulus of its
// size, would show by taking longer. So it is verified against the decoy for everybody.
func TestSignatureBeyondTheModulus(t *testing.T) {
	key := clientkey.Key{Algorithm: jose.RS256, Public: testKeys()["RS256"].Public()}
	public := key.Public.(*rsa.PublicKey)
	below := new(big.Int).Sub(public.N, big.NewInt(1))
	for signature, want := range map[string]bool{
		string(public.N.FillBytes(make([]byte, public.Size()))): false,
		string(below.FillBytes(make([]byte, public.Size()))):    true,
		string(below.FillBytes(make([]byte, public.Size()+1))):  false,
	} {
		s, reason := readSigned(assertion.Compact(`{"alg":"RS256"}`, text(goodClaims()), func([]byte) []byte { return []byte(signature) }))
		if reason != "" {
			t.Fatal(reason)
		}
		if s.couldBeOf(key) != want || s.verifies(key, true) {
			t.Errorf("a signature of %d bytes that is below the modulus: %t", len(signature), want)
		}
	}
}

// TestDecoys: what is verified in vain must take the way of what is verified in earnest.
func TestDecoys(t *testing.T) {
	for _, algorithm := range clientkey.Algorithms {
		jws, err := jose.ParseSignedCompact(signed(with(goodHeader(), "alg", string(algorithm)), goodClaims()), clientkey.Algorithms)
		if err != nil {
			t.Fatal(err)
		}
		for _, size := range []int{0, 64, 256, 257, 511, 512, 5000} {
			key := decoy(algorithm, size)
			if _, err := jws.Verify(key); !errors.Is(err, jose.ErrCryptoFailure) {
				t.Errorf("%s, a signature of %d bytes: %v", algorithm, size, err)
			}
			switch key := key.(type) {
			case *rsa.PublicKey:
				if want := min(max(size, 256), 512); key.Size() != want {
					t.Errorf("%s, a signature of %d bytes: a key of %d", algorithm, size, key.Size())
				}
				if err := rsa.VerifyPKCS1v15(key, 0, make([]byte, 32), make([]byte, key.Size())); !errors.Is(err, rsa.ErrVerification) {
					t.Errorf("a decoy of %d bytes is no key: %v", key.Size(), err)
				}
			case *ecdsa.PublicKey:
				if key.Params().BitSize != map[jose.SignatureAlgorithm]int{jose.ES256: 256, jose.ES384: 384}[algorithm] {
					t.Errorf("%s: a key on %s", algorithm, key.Params().Name)
				}
			}
		}
	}
}
