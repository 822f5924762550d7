package clientauth

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/test/assertion"
)

const (
	fixedKID = "fixed"
	workload = "jobs.publisher" // the client of ServiceAccount jobs/runner
)

// fixedCluster has a key that is the same in every process: fuzzing takes several.
func fixedCluster() cluster {
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), bytes.Repeat([]byte{2}, 32))
	if err != nil {
		panic(err)
	}
	return cluster{key: key, algorithm: jose.ES256, kid: fixedKID}
}

// token is of exactly these texts.
func (c cluster) token(header, claims string) string {
	return assertion.Compact(header, claims, func(input []byte) []byte {
		digest := sha256.Sum256(input)
		r, s, err := ecdsa.Sign(rand.Reader, c.key.(*ecdsa.PrivateKey), digest[:])
		if err != nil {
			panic(err)
		}
		return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	})
}

// signed says whether a token is the only spelling of one that the cluster has signed.
func (c cluster) signed(token string) bool {
	last := max(strings.LastIndexByte(token, '.'), 0)
	signature, err := base64.RawURLEncoding.Strict().DecodeString(strings.TrimPrefix(token[last:], "."))
	if err != nil || len(signature) != 64 || strings.ContainsAny(token, "\r\n") {
		return false
	}
	digest := sha256.Sum256([]byte(token[:last]))
	r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	return ecdsa.Verify(c.public().(*ecdsa.PublicKey), digest[:], r, s)
}

// fuzzIndex has a client with a ServiceAccount, and one with a key.
func fuzzIndex() *access.Index {
	index := access.NewIndex("m2m-system")
	fixture{index: index}.byAccount("default", "jobs", "publisher", "runner", nil)
	(&asserter{index: index}).client("signer", nil, assertion.Fixed().JWK(fixedKID))
	return index
}

// clusterHeader is what kube-apiserver writes.
func clusterHeader() object { return object{"alg": "ES256", "kid": fixedKID} }

// FuzzServiceAccountToken: of all texts only those tokens prove the client that the cluster has signed for it.
func FuzzServiceAccountToken(f *testing.F) {
	c, index := fixedCluster(), fuzzIndex()
	signed := func(header object, change object) string { return c.token(text(header), string(tokenClaims(change))) }
	input := func(token string) string { return token[:strings.LastIndexByte(token, '.')] }
	good, typed := signed(clusterHeader(), nil), signed(with(clusterHeader(), "typ", "JWT"), nil)
	inputs := []string{input(good), input(typed)}
	bad := []string{
		signed(clusterHeader(), object{"aud": []string{tokensURL, clusterIssuer}}), signed(clusterHeader(), object{"exp": now.Unix()}),
		signed(clusterHeader(), object{"exp": now.Unix() + 86400}), signed(clusterHeader(), object{"kubernetes.io": nil}),
		signed(clusterHeader(), of("jobs", "nobody")), signed(clusterHeader(), object{"sub": "system:serviceaccount:courses:runner"}),
		signed(with(clusterHeader(), "kid", "another"), nil), signed(with(clusterHeader(), "kid", nil), nil),
		signed(with(clusterHeader(), "alg", "RS256"), nil), signed(with(clusterHeader(), "alg", "none"), nil),
		signed(with(clusterHeader(), "crit", []string{"b64"}, "b64", false), nil), signed(with(clusterHeader(), "typ", "at+jwt"), nil),
	}
	parts := strings.Split(good, ".")
	for _, seed := range slices.Concat(bad, []string{
		good, typed, "", "..", "a.b.c", good + ".", good + "=", good + "\n", " " + good, input(good) + ".", parts[0] + ".." + parts[2],
		parts[0] + "\r\n." + parts[1] + "." + parts[2], parts[1] + "." + parts[0] + "." + parts[2], input(typed) + "." + parts[2],
		respelled(parts[0]) + "." + parts[1] + "." + parts[2], input(good) + "." + respelled(parts[2]),
		unsigned(`{"alg":"none"}`, tokenClaims(nil), "x"), unsigned(`{"alg":"ES256","alg":"none","kid":"fixed"}`, tokenClaims(nil), "x"),
		`{"protected":"` + parts[0] + `","payload":"` + parts[1] + `","signature":"` + parts[2] + `"}`, strings.Repeat("A", maxAssertion+1),
	}) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		client, attempt, failure := New("default", index).Authenticate(tokenOf("", token), c.trust(), source, now)
		genuine := c.signed(token)
		if proves := genuine && slices.Contains(inputs, input(token)); proves != (client.ID == workload) {
			t.Errorf("%q proves %q, %+v", token, client.ID, failure)
		}
		if client.ID != workload && (client.ID != "" || attempt.CredentialID != "" || !same(failure, errBadCredentials)) {
			t.Errorf("%q: %+v, %+v, %+v", token, client, attempt, failure)
		}
		if attempt.Workload != nil && !genuine {
			t.Errorf("%q: what nobody signed is believed: %+v", token, attempt.Workload)
		}
	})
}

// FuzzSigned: also of what the cluster and the client with a key sign nothing is taken but what says, to another reader
// of JSON, all that it must.
func FuzzSigned(f *testing.F) {
	c, own, index := fixedCluster(), assertion.Fixed(), fuzzIndex()
	goodToken := string(tokenClaims(nil))
	ownHeader := with(goodHeader(), "alg", "EdDSA", "kid", fixedKID)
	for _, claims := range []string{
		goodToken, string(tokenClaims(object{"aud": tokensURL, "exp": now.Unix() + 1})), string(tokenClaims(object{"aud": []any{}, "exp": 1e300})),
		string(tokenClaims(object{"nbf": "0"})), string(tokenClaims(of("jobs", "runner:x"))), `{"exp":1,` + goodToken[1:], "\ufeff" + goodToken,
		strings.Replace(goodToken, `"iss"`, `"ISS"`, 1), strings.Replace(goodToken, `"namespace"`, `"Namespace"`, 1), goodToken + "{}",
		strings.Replace(goodToken, `"sub"`, `"\u0073ub"`, 1), strings.Replace(goodToken, "runner", `runner\u0000`, 2),
		text(goodClaims()), text(with(goodClaims(), "aud", []string{tokensURL, tokensURL})), text(with(goodClaims(), "exp", -0.5)),
		text(with(goodClaims(), "sub", "jobs.publisher")), text(with(goodClaims(), "nbf", now.Unix()+60, "iat", nil)),
		text(with(goodClaims(), "exp", float64(now.Unix())+0.5)), text(with(goodClaims(), "exp", now.Unix()+361)),
		text(with(goodClaims(), "exp", now.Unix()-60)), text(with(goodClaims(), "iat", now.Unix()+61)), `{"jti":{}}`, "null", "[]", `"x"`, "1e999", "\xff", "",
	} {
		f.Add(text(clusterHeader()), claims, "")
		f.Add(text(ownHeader), claims, signer)
	}
	for _, header := range []string{
		`{"alg":"ES256","kid":"fixed","kid":"x"}`, `{"alg":"ES256","KID":"fixed"}`, `{"alg":["ES256"],"kid":"fixed"}`, "{}", "null",
		`{"alg":"ES256","kid":"fixed","typ":"jwt","b64":false,"crit":[]}`, `{"alg":"EdDSA","typ":"application/JWT","crit":null}`,
		`{"alg":"EdDSA","kid":"fixed","jwk":{"kty":"oct","k":""},"x5c":["MAA="],"jku":"https://keys.example.com","nonce":1}`,
	} {
		f.Add(header, goodToken, workload)
		f.Add(header, text(goodClaims()), "")
	}
	f.Fuzz(func(t *testing.T, header, claims, clientID string) {
		by := func(token string) string {
			client, _, failure := New("default", index).Authenticate(tokenOf(clientID, token), c.trust(), source, now)
			if (failure == nil) != (client.ID != "") || (failure != nil && !same(failure, errBadCredentials) && !same(failure, errOtherClientID)) {
				t.Errorf("%s.%s: %+v, %+v", header, claims, client, failure)
			}
			return client.ID
		}
		read := readPlainly(header, claims)
		switch proven := by(c.token(header, claims)); {
		case proven != "" && (proven != workload || !read.isFromCluster() || (clientID != "" && clientID != workload)):
			t.Errorf("%s.%s of the cluster proves %s to be %q", header, claims, proven, clientID)
		case proven == "" && claims == goodToken && header == text(clusterHeader()) && clientID == "":
			t.Error("the token of a ServiceAccount is refused")
		}
		switch proven := by(own.Sign(header, claims)); {
		case proven != "" && (proven != signer || !read.isFromSigner() || (clientID != "" && clientID != signer)):
			t.Errorf("%s.%s of the signer proves %s to be %q", header, claims, proven, clientID)
		case proven == "" && claims == text(goodClaims()) && header == text(ownHeader) && clientID == signer:
			t.Error("the assertion of a client is refused")
		}
	})
}

// plainReading is what encoding/json finds in header and claims, which is less strict than what is tested.
type plainReading struct{ header, claims object }

func readPlainly(header, claims string) plainReading {
	var read plainReading
	if json.Unmarshal([]byte(header), &read.header) != nil || json.Unmarshal([]byte(claims), &read.claims) != nil {
		return plainReading{}
	}
	return read
}

// signedFor reports whether there is a header with an algorithm, a fitting typ and nothing critical.
func (r plainReading) signedFor(algorithm string, types ...string) bool {
	_, critical := r.header["crit"]
	typ, _ := r.header["typ"].(string)
	return !critical && r.header["alg"] == algorithm && (r.header["typ"] == nil || slices.Contains(types, strings.ToLower(typ)))
}

// isForUs reports whether the issuer is the only audience.
func (r plainReading) isForUs() bool {
	list, isList := r.claims["aud"].([]any)
	return r.claims["aud"] == any(tokensURL) || (isList && len(list) == 1 && list[0] == tokensURL)
}

// seconds until the time of a claim, and whether there is one.
func (r plainReading) seconds(claim string) (float64, bool) {
	at, ok := r.claims[claim].(float64)
	return at - float64(now.Unix()), ok
}

// isFromCluster reports whether it is a live token of ServiceAccount jobs/runner for this issuer.
func (r plainReading) isFromCluster() bool {
	expiry, expires := r.seconds("exp")
	issued, dated := r.seconds("iat")
	begin, begins := r.seconds("nbf")
	kubernetes, _ := r.claims["kubernetes.io"].(object)
	account, _ := kubernetes["serviceaccount"].(object)
	return r.signedFor("ES256", "jwt") && r.header["kid"] == fixedKID && r.isForUs() && r.claims["iss"] == clusterIssuer &&
		expires && expiry > 0 && dated && issued <= 60 && begins && begin <= 60 && expiry-issued <= 3600 &&
		r.claims["sub"] == "system:serviceaccount:jobs:runner" && kubernetes["namespace"] == "jobs" && account["name"] == "runner"
}

// isFromSigner reports whether it is a live assertion of the client with a key for this issuer.
func (r plainReading) isFromSigner() bool {
	expiry, expires := r.seconds("exp")
	issued, dated := r.seconds("iat")
	begin, begins := r.seconds("nbf")
	id, _ := r.claims["jti"].(string)
	return r.signedFor("EdDSA", "jwt", "client-authentication+jwt", "application/jwt", "application/client-authentication+jwt") &&
		(r.header["kid"] == nil || r.header["kid"] == fixedKID || r.header["kid"] == "") && r.isForUs() && r.claims["iss"] == signer && r.claims["sub"] == signer &&
		expires && expiry > -60 && expiry <= 360 && (!dated || issued <= 60) && (!begins || begin <= 60) && id != "" && len(id) <= maxAssertionID
}
