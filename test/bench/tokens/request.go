package tokens

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/keyring"
	"github.com/m2m-operator/m2m-operator/internal/pki"
	"github.com/m2m-operator/m2m-operator/test/assertion"
)

const (
	serverName      = "127.0.0.1"
	typeJWTBearer   = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	assertionLife   = 4 * time.Minute
	serviceTokenTTL = 50 * time.Minute
)

// secrets are what the load can prove itself with, besides client secrets.
type secrets struct {
	client, cluster assertion.Key
}

// newWorld makes the keys of a world, and what the load needs of them.
func newWorld(now time.Time) (world, secrets, error) {
	s := secrets{client: assertion.NewKey("ES256"), cluster: assertion.NewKey("RS256")}
	w := world{Pepper: make([]byte, 32), ClientKey: s.client.JWK("client")}
	_, _ = rand.Read(w.Pepper) // it never fails
	cluster, err := json.Marshal(map[string]any{"keys": []v1alpha1.JSONWebKey{s.cluster.JWK("cluster")}})
	if err != nil {
		return world{}, secrets{}, err
	}
	if err := json.Unmarshal(cluster, &w.ClusterKeys); err != nil {
		return world{}, secrets{}, err
	}
	for _, algorithm := range algorithms {
		key, err := keyring.Generate(algorithm)
		if err != nil {
			return world{}, secrets{}, err
		}
		text, err := keyring.MarshalPrivate(key)
		if err != nil {
			return world{}, secrets{}, err
		}
		w.Keys = append(w.Keys, text)
	}
	authority, err := pki.NewAuthority("bench", now)
	if err != nil {
		return world{}, secrets{}, err
	}
	serving, err := pki.NewServing(authority, []string{serverName}, now)
	if err != nil {
		return world{}, secrets{}, err
	}
	w.Certificate, w.PrivateKey = append(serving.Certificate, authority.Certificate...), serving.Key
	return w, s, nil
}

// post is a request as clients send it.
func post(path, authorization, body string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "POST %s HTTP/1.1\r\nHost: issuer.example.com\r\nUser-Agent: bench\r\nAccept-Encoding: gzip\r\n", path)
	if authorization != "" {
		fmt.Fprintf(&b, "Authorization: %s\r\n", authorization)
	}
	fmt.Fprintf(&b, "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	return []byte(b.String())
}

func get(path, ifNoneMatch string) []byte {
	return fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: issuer.example.com\r\nUser-Agent: bench\r\nIf-None-Match: %s\r\n\r\n", path, ifNoneMatch)
}

func basic(clientID, secret string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(clientID+":"+secret))
}

func tokenForm(audience, scope string, more ...string) string {
	form := url.Values{"grant_type": {"client_credentials"}, "audience": {audience}, "scope": {scope}}
	for i := 0; i < len(more); i += 2 {
		form.Set(more[i], more[i+1])
	}
	return form.Encode()
}

// requests makes the requests of a round. They are other ones in every round, where each may be sent once.
type requests func(round, n int) [][]byte

// each makes a request of every number, which goes on from round to round.
func each(request func(i int) []byte) requests {
	return func(round, n int) [][]byte {
		all := make([][]byte, n)
		for i := range all {
			all[i] = request(round*n + i)
		}
		return all
	}
}

// same sends the same requests, to another path.
func same(path string, of requests) requests {
	return func(round, n int) [][]byte {
		all := of(round, n)
		for i, request := range all {
			_, rest, _ := strings.Cut(string(request), " HTTP/1.1\r\n")
			method, _, _ := strings.Cut(string(request), " ")
			all[i] = []byte(method + " " + path + " HTTP/1.1\r\n" + rest)
		}
		return all
	}
}

// ordinary requests come from all clients, each for a token of the one API where it has a grant of its own.
func ordinary(clients int) requests {
	const stride = 7919 // prime: neighbours in time are no neighbours in memory
	return each(func(i int) []byte {
		c := i * stride % clients
		return post(v1alpha1.PathToken, basic(clientID(c), secretOf(c)), tokenForm(audienceOf(c), "read"))
	})
}

// special requests come from few clients, for tokens of an API that is special.
func special(api, scope string) requests {
	return each(func(i int) []byte {
		c := i % fewClients
		return post(v1alpha1.PathToken, basic(clientID(c), secretOf(c)), tokenForm(specialAudience(api), scope))
	})
}

func (s secrets) privateKey() requests {
	return each(func(i int) []byte {
		now, id := time.Now(), "keyed."+nameOf(i%keyedClients)
		claims := fmt.Sprintf(`{"iss":%q,"sub":%q,"aud":%q,"iat":%d,"exp":%d,"jti":"assertion-%d"}`,
			id, id, issuerURL, now.Unix(), now.Add(assertionLife).Unix(), i)
		signed := s.client.Sign(`{"alg":"ES256","kid":"client","typ":"JWT"}`, claims)
		return post(v1alpha1.PathToken, "", tokenForm(specialAudience("ES256"), "read",
			"client_assertion_type", typeJWTBearer, "client_assertion", signed))
	})
}

func (s secrets) serviceAccount() requests {
	now := time.Now()
	claims := fmt.Sprintf(`{"aud":[%q],"exp":%d,"iat":%d,"iss":%q,"jti":"5f9a4b9e-0d0e-4f3f-8d0a-0a8c5f0a9f11","kubernetes.io":{"namespace":"accounts",`+
		`"node":{"name":"node-1","uid":"a3c0d2de-9d8e-4f1c-9d6b-2f0a9f8a5c01"},"pod":{"name":"job-5d9c7b8f9-x2x4z","uid":"0d7b5f44-3f0e-4f8e-8b5e-6d8a2c1b9e02"},`+
		`"serviceaccount":{"name":"job","uid":"c1f6e0a9-7a52-4a39-a0b0-3f1d8d5b7c03"}},"nbf":%d,"sub":"system:serviceaccount:accounts:job"}`,
		issuerURL, now.Add(serviceTokenTTL).Unix(), now.Unix(), clusterIssuer, now.Unix())
	signed := s.cluster.Sign(`{"alg":"RS256","kid":"cluster"}`, claims)
	request := post(v1alpha1.PathToken, "", tokenForm(specialAudience("ES256"), "read",
		"client_assertion_type", typeJWTBearer, "client_assertion", signed))
	return each(func(int) []byte { return request })
}

// The refused: no client fails so often in all rounds together that it would be throttled.

func unknownClients() requests {
	return each(func(i int) []byte {
		return post(v1alpha1.PathToken, basic(fmt.Sprintf("jobs-1.nobody-%d", i), secretOf(i)), tokenForm(audienceOf(0), "read"))
	})
}

func wrongSecrets(clients int) requests {
	return each(func(i int) []byte {
		c := i % clients
		return post(v1alpha1.PathToken, basic(clientID(c), secretOf(c+1)), tokenForm(audienceOf(c), "read"))
	})
}

func badForms() requests {
	return each(func(i int) []byte {
		return post(v1alpha1.PathToken, basic(clientID(i%fewClients), secretOf(i%fewClients)), "grant_type=client_credentials&scope=%zz")
	})
}

// introspections ask about tokens in turn.
func introspections(tokens []string) requests {
	return each(func(i int) []byte {
		return post(v1alpha1.PathIntrospection, basic(apiNamespace+"."+ownerName, ownerSecret), "token="+tokens[i%len(tokens)])
	})
}
