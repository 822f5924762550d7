package clientauth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
)

const (
	clusterIssuer = "https://kubernetes.default.svc.cluster.local"
	tokensURL     = "https://tokens.example.com"
)

// cluster signs as kube-apiserver does.
type cluster struct {
	t         *testing.T
	key       any
	algorithm jose.SignatureAlgorithm
	kid       string
}

func newCluster(t *testing.T, curve elliptic.Curve, algorithm jose.SignatureAlgorithm) cluster {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return cluster{t: t, key: key, algorithm: algorithm, kid: "kid-of-the-cluster"}
}

func (c cluster) public() any {
	if key, ok := c.key.(*rsa.PrivateKey); ok {
		return &key.PublicKey
	}
	return &c.key.(*ecdsa.PrivateKey).PublicKey
}

// trust is what an issuer knows of the cluster.
func (c cluster) trust() Trust {
	return Trust{IssuerURL: tokensURL, Cluster: &Cluster{Issuer: clusterIssuer, Keys: jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
		{Key: c.public(), KeyID: c.kid, Algorithm: string(c.algorithm), Use: "sig"},
	}}}}
}

// sign makes a token of any payload, with more in its header.
func (c cluster) sign(payload []byte, header map[jose.HeaderKey]any) string {
	c.t.Helper()
	options := (&jose.SignerOptions{}).WithHeader("kid", c.kid)
	for name, value := range header {
		options = options.WithHeader(name, value)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: c.algorithm, Key: c.key}, options)
	if err != nil {
		c.t.Fatal(err)
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		c.t.Fatal(err)
	}
	token, err := jws.CompactSerialize()
	if err != nil {
		c.t.Fatal(err)
	}
	return token
}

type object = map[string]any

// tokenClaims are those of a token that a pod of ServiceAccount jobs/runner finds in its volume. Those that change is nil
// for are left out.
func tokenClaims(change object) []byte {
	claims := object{
		"iss": clusterIssuer, "sub": "system:serviceaccount:jobs:runner", "aud": []string{tokensURL},
		"iat": now.Unix() - 60, "nbf": now.Unix() - 60, "exp": now.Unix() + 3540, "jti": "00000000-0000-0000-0000-000000000000",
		"kubernetes.io": object{
			"namespace": "jobs", "serviceaccount": object{"name": "runner", "uid": "uid-of-runner"},
			"pod": object{"name": "runner-abcde", "uid": "uid-of-pod"}, "node": object{"name": "node-1", "uid": "uid-of-node"},
		},
	}
	maps.Copy(claims, change)
	maps.DeleteFunc(claims, func(_ string, value any) bool { return value == nil })
	text, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	return text
}

// of are the claims of another ServiceAccount.
func of(namespace, name string) object {
	return object{
		"sub":           "system:serviceaccount:" + namespace + ":" + name,
		"kubernetes.io": object{"namespace": namespace, "serviceaccount": object{"name": name, "uid": "uid"}},
	}
}

// byAccount adds a client that authenticates by a ServiceAccount of its namespace.
func (f fixture) byAccount(issuer, namespace, name, account string, change func(*v1alpha1.M2MClientSpec)) {
	client := &v1alpha1.M2MClient{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1alpha1.M2MClientSpec{
			IssuerRef:      v1alpha1.TokenIssuerReference{Name: issuer},
			Authentication: []v1alpha1.AuthenticationMethod{v1alpha1.AuthenticateByServiceAccount}, ServiceAccountName: account,
		},
	}
	if change != nil {
		change(&client.Spec)
	}
	f.index.Upsert(client)
}

func tokenOf(clientID, token string) Credentials {
	return Credentials{clientID: clientID, assertion: token}
}

func TestServiceAccountToken(t *testing.T) {
	f := newFixture(t)
	f.byAccount("default", "jobs", "publisher", "runner", nil)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	clusters := map[string]cluster{
		"RS256": {t: t, key: rsaKey, algorithm: jose.RS256, kid: "rsa"},
		"ES256": newCluster(t, elliptic.P256(), jose.ES256),
		"ES384": newCluster(t, elliptic.P384(), jose.ES384),
		"ES512": newCluster(t, elliptic.P521(), jose.ES512),
	}
	for name, c := range clusters {
		t.Run(name, func(t *testing.T) {
			a, token := New("default", f.index), c.sign(tokenClaims(nil), nil)
			for _, clientID := range []string{"", "jobs.publisher"} { // and the same token as often as one likes
				client, attempt, failure := a.Authenticate(tokenOf(clientID, token), c.trust(), source, now)
				if failure != nil || client.ID != "jobs.publisher" {
					t.Fatalf("got %+v, %+v", client, failure)
				}
				want := Workload{"jobs", "runner", "uid-of-runner", "runner-abcde", "uid-of-pod", "node-1"}
				if attempt.ClientID != "jobs.publisher" || attempt.Method != MethodServiceAccount || attempt.CredentialID != c.kid ||
					attempt.Workload == nil || *attempt.Workload != want {
					t.Errorf("attempt %+v, workload %+v", attempt, attempt.Workload)
				}
			}
		})
	}
	c := clusters["ES256"]
	for name, token := range map[string]string{
		"aud is a string":          c.sign(tokenClaims(object{"aud": tokensURL}), nil),
		"bound to a node, no pod":  c.sign(tokenClaims(object{"kubernetes.io": object{"namespace": "jobs", "serviceaccount": object{"name": "runner"}, "node": object{"name": "n"}}}), nil),
		"bound to nothing":         c.sign(tokenClaims(of("jobs", "runner")), nil),
		"no jti":                   c.sign(tokenClaims(object{"jti": nil}), nil),
		"lives exactly an hour":    c.sign(tokenClaims(object{"iat": now.Unix() - 10, "exp": now.Unix() + 3590}), nil),
		"the last instant":         c.sign(tokenClaims(object{"exp": now.Unix() + 1}), nil),
		"the clock is a minute on": c.sign(tokenClaims(object{"iat": now.Unix() + 60, "nbf": now.Unix() + 60, "exp": now.Unix() + 660}), nil),
		"typ":                      c.sign(tokenClaims(nil), map[jose.HeaderKey]any{"typ": "JWT"}),
	} {
		t.Run(name, func(t *testing.T) {
			if client, _, failure := New("default", f.index).Authenticate(tokenOf("", token), c.trust(), source, now); failure != nil {
				t.Errorf("got %+v, %+v", client, failure)
			}
		})
	}
}

// unsigned puts a token together by hand.
func unsigned(header string, payload []byte, signature string) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(header)) + "." + encode(payload) + "." + encode([]byte(signature))
}

// TestServiceAccountTokenRefusals: to whoever sends it each is the same, and each has a reason of its own for operators.
func TestServiceAccountTokenRefusals(t *testing.T) {
	f := newFixture(t)
	f.byAccount("default", "jobs", "publisher", "runner", nil)
	f.byAccount("default", "jobs", "dotted", "a.b", nil)
	f.byAccount("default", "jobs", "suspended", "sleeper", func(s *v1alpha1.M2MClientSpec) { s.Suspend = true })
	f.byAccount("other", "jobs", "foreign", "foreigner", nil)
	f.byAccount("default", "jobs", "deleted", "gone", nil)
	f.index.Delete(access.Ref{Kind: access.KindM2MClient, Namespace: "jobs", Name: "deleted"})
	f.byAccount("default", "jobs", "by-secret", "secretive", func(s *v1alpha1.M2MClientSpec) {
		s.Authentication = []v1alpha1.AuthenticationMethod{v1alpha1.AuthenticateBySecret}
	})
	c := newCluster(t, elliptic.P256(), jose.ES256)
	forger := newCluster(t, elliptic.P256(), jose.ES256) // of the same kid
	stranger := newCluster(t, elliptic.P256(), jose.ES256)
	stranger.kid = "kid-of-nobody"
	hmac := cluster{t: t, key: []byte(strings.Repeat("k", 64)), algorithm: jose.HS256, kid: c.kid}
	claims := func(change object) string { return c.sign(tokenClaims(change), nil) }
	header := func(name jose.HeaderKey, value any) string {
		return c.sign(tokenClaims(nil), map[jose.HeaderKey]any{name: value})
	}
	account := func(namespace, name string) string { return c.sign(tokenClaims(of(namespace, name)), nil) }
	good := claims(nil)
	parts := strings.Split(good, ".")

	for name, test := range map[string]struct{ token, reason string }{
		"aud of the API server":         {claims(object{"aud": []string{clusterIssuer}}), ReasonWrongAudience},
		"two audiences":                 {claims(object{"aud": []string{tokensURL, clusterIssuer}}), ReasonWrongAudience},
		"our audience twice":            {claims(object{"aud": []string{tokensURL, tokensURL}}), ReasonWrongAudience},
		"audience with a slash":         {claims(object{"aud": []string{tokensURL + "/"}}), ReasonWrongAudience},
		"audience of the endpoint":      {claims(object{"aud": tokensURL + "/oauth2/token"}), ReasonWrongAudience},
		"no audience":                   {claims(object{"aud": nil}), ReasonWrongAudience},
		"empty audience":                {claims(object{"aud": []string{}}), ReasonWrongAudience},
		"audience is an object":         {claims(object{"aud": object{tokensURL: 1}}), ReasonMalformed},
		"exp passed":                    {claims(object{"exp": now.Unix()}), ReasonExpired},
		"no exp":                        {claims(object{"exp": nil}), ReasonMalformed},
		"exp is a string":               {claims(object{"exp": "4000000000"}), ReasonMalformed},
		"no iat":                        {claims(object{"iat": nil}), ReasonMalformed},
		"no nbf":                        {claims(object{"nbf": nil}), ReasonMalformed},
		"iat lies ahead":                {claims(object{"iat": now.Unix() + 61}), ReasonNotYetValid},
		"nbf lies ahead":                {claims(object{"nbf": now.Unix() + 61}), ReasonNotYetValid},
		"lives longer than an hour":     {claims(object{"exp": now.Unix() + 3541}), ReasonTooLongLived},
		"lives a year":                  {claims(object{"exp": now.Unix() + 365*24*3600}), ReasonTooLongLived},
		"iat long past":                 {claims(object{"iat": 0}), ReasonTooLongLived},
		"legacy, of a Secret":           {claims(object{"iss": "kubernetes/serviceaccount", "aud": nil, "exp": nil, "iat": nil, "nbf": nil, "kubernetes.io": nil}), ""},
		"legacy claims, our issuer":     {claims(object{"kubernetes.io": nil, "kubernetes.io/serviceaccount/namespace": "jobs", "kubernetes.io/serviceaccount/service-account.name": "runner"}), ReasonMalformed},
		"iss of another cluster":        {claims(object{"iss": "https://other.example.com"}), ""},
		"iss with a slash":              {claims(object{"iss": clusterIssuer + "/"}), ""},
		"sub of another account":        {claims(object{"sub": "system:serviceaccount:jobs:other"}), ReasonWrongSubject},
		"sub of another namespace":      {claims(object{"sub": "system:serviceaccount:courses:runner"}), ReasonWrongSubject},
		"sub is a user":                 {claims(object{"sub": "runner"}), ReasonWrongSubject},
		"no sub":                        {claims(object{"sub": nil}), ReasonWrongSubject},
		"no kubernetes.io":              {claims(object{"kubernetes.io": nil}), ReasonMalformed},
		"no namespace":                  {account("", "runner"), ReasonMalformed},
		"no name":                       {account("jobs", ""), ReasonMalformed},
		"same name, other namespace":    {account("courses", "runner"), ReasonUnknownClient},
		"no client names it":            {account("jobs", "nobody"), ReasonUnknownClient},
		"a dot is a dot":                {account("jobs", "axb"), ReasonUnknownClient},
		"a prefix":                      {account("jobs", "run"), ReasonUnknownClient},
		"another case":                  {account("jobs", "Runner"), ReasonUnknownClient},
		"deleted client":                {account("jobs", "gone"), ReasonUnknownClient},
		"client of another issuer":      {account("jobs", "foreigner"), ReasonUnknownClient},
		"client without ServiceAccount": {account("jobs", "secretive"), ReasonUnknownClient},
		"suspended client":              {account("jobs", "sleeper"), ReasonSuspended},
		"forged, with the same kid":     {forger.sign(tokenClaims(nil), nil), ReasonWrongSignature},
		"forged, with another kid":      {stranger.sign(tokenClaims(nil), nil), ReasonUnknownKey},
		"forged, with its own jwk":      {forger.sign(tokenClaims(nil), map[jose.HeaderKey]any{"jwk": jose.JSONWebKey{Key: forger.public()}}), ReasonWrongSignature},
		"HS256":                         {hmac.sign(tokenClaims(nil), nil), ReasonWrongAlgorithm},
		"alg none":                      {unsigned(`{"alg":"none","kid":"kid-of-the-cluster"}`, tokenClaims(nil), "x"), ReasonWrongAlgorithm},
		"alg of another key":            {unsigned(`{"alg":"RS256","kid":"kid-of-the-cluster"}`, tokenClaims(nil), "x"), ReasonWrongAlgorithm},
		"no kid":                        {unsigned(`{"alg":"ES256"}`, tokenClaims(nil), "x"), ReasonUnknownKey},
		"another's payload":             {parts[0] + "." + base64.RawURLEncoding.EncodeToString(tokenClaims(of("jobs", "a.b"))) + "." + parts[2], ReasonWrongSignature},
		"typ of an access token":        {header("typ", "at+jwt"), ReasonWrongType},
		"typ is a number":               {header("typ", 1), ReasonWrongType},
		"crit":                          {header("crit", []string{"b64"}), ReasonMalformed},
		"exp twice":                     {c.sign([]byte(`{"exp":1,`+string(tokenClaims(nil))[1:]), nil), ReasonMalformed},
		"kubernetes.io twice":           {c.sign([]byte(`{"kubernetes.io":{},`+string(tokenClaims(nil))[1:]), nil), ReasonMalformed},
		"larger than 16 KiB":            {claims(object{"more": strings.Repeat("x", 16<<10)}), ReasonMalformed},
		"two parts":                     {parts[0] + "." + parts[1], ReasonMalformed},
		"four parts":                    {good + ".x", ReasonMalformed},
		"a payload that is no object":   {c.sign([]byte(`"x"`), nil), ReasonMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			a := New("default", f.index)
			// Naming a client changes nothing: neither the right one, nor one that the token is not of.
			for _, clientID := range []string{"", "jobs.publisher", "jobs.dotted", "jobs.unknown"} {
				client, attempt, failure := a.Authenticate(tokenOf(clientID, test.token), c.trust(), source, now)
				if !same(failure, errBadCredentials) || client.ID != "" {
					t.Fatalf("client_id %q: got %+v, %+v", clientID, client, failure)
				}
				if test.reason == "" {
					if attempt.Method == MethodServiceAccount {
						t.Errorf("it is taken for a token of the cluster")
					}
				} else if failure.Reason != test.reason {
					t.Errorf("client_id %q: reason %s, want %s", clientID, failure.Reason, test.reason)
				}
				if attempt.CredentialID != "" {
					t.Errorf("attempt %+v", attempt)
				}
			}
		})
	}
	if _, _, failure := New("default", f.index).Authenticate(tokenOf("", good), c.trust(), source, now); failure != nil {
		t.Errorf("the good token is refused: %+v", failure)
	}
}

// Only to whoever proves to be one client is it said that the request names another one.
func TestServiceAccountTokenOfAnotherClient(t *testing.T) {
	f := newFixture(t)
	f.byAccount("default", "jobs", "publisher", "runner", nil)
	f.byAccount("default", "jobs", "other", "sweeper", nil)
	c := newCluster(t, elliptic.P256(), jose.ES256)
	for _, clientID := range []string{"jobs.other", "jobs.unknown", "jobs.Publisher"} {
		client, attempt, failure := New("default", f.index).Authenticate(tokenOf(clientID, c.sign(tokenClaims(nil), nil)), c.trust(), source, now)
		if !same(failure, errOtherClientID) || client.ID != "" || attempt.ClientID != "jobs.publisher" || attempt.CredentialID != "" {
			t.Errorf("client_id %s: got %+v, %+v, %+v", clientID, client, attempt, failure)
		}
	}
}

// Of two clients that name one ServiceAccount the older one is proven.
func TestServiceAccountTokenOfRivals(t *testing.T) {
	f := newFixture(t)
	f.byAccount("default", "jobs", "second", "runner", nil)
	f.byAccount("default", "jobs", "first", "runner", nil) // of one age: the first by name
	c := newCluster(t, elliptic.P256(), jose.ES256)
	client, _, failure := New("default", f.index).Authenticate(tokenOf("", c.sign(tokenClaims(nil), nil)), c.trust(), source, now)
	if failure != nil || client.ID != "jobs.first" {
		t.Errorf("got %+v, %+v", client, failure)
	}
}

// A key that the cluster made a moment ago is asked for; of other refusals nobody is told.
func TestUnknownKeyIsAskedFor(t *testing.T) {
	f := newFixture(t)
	f.byAccount("default", "jobs", "publisher", "runner", nil)
	c, rotated := newCluster(t, elliptic.P256(), jose.ES256), newCluster(t, elliptic.P256(), jose.ES256)
	rotated.kid = "kid-of-tomorrow"
	asked := 0
	trust := c.trust()
	trust.Cluster.Refetch = func() { asked++ }
	a := New("default", f.index)
	for _, token := range []string{c.sign(tokenClaims(nil), nil), c.sign(tokenClaims(object{"exp": 1}), nil), "a.b.c"} {
		a.Authenticate(tokenOf("", token), trust, source, now)
	}
	if asked != 0 {
		t.Errorf("asked %d times", asked)
	}
	token := rotated.sign(tokenClaims(nil), nil)
	if _, _, failure := a.Authenticate(tokenOf("", token), trust, source, now); failure == nil || asked != 1 {
		t.Errorf("asked %d times, %+v", asked, failure)
	}
	if _, _, failure := a.Authenticate(tokenOf("", token), rotated.trust(), source, now); failure != nil {
		t.Errorf("once the key is known: %+v", failure)
	}
}

// Until the cluster's keys are known its tokens are refused like any assertion.
func TestServiceAccountTokenOfAnUnknownCluster(t *testing.T) {
	f := newFixture(t)
	f.byAccount("default", "jobs", "publisher", "runner", nil)
	c := newCluster(t, elliptic.P256(), jose.ES256)
	_, _, failure := New("default", f.index).Authenticate(tokenOf("", c.sign(tokenClaims(nil), nil)), Trust{IssuerURL: tokensURL}, source, now)
	if !same(failure, errBadCredentials) {
		t.Errorf("got %+v", failure)
	}
}
