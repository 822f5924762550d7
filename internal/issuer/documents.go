package issuer

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/clientkey"
	"github.com/m2m-operator/m2m-operator/internal/keyring"
)

// metadata is RFC 8414 section 2 and, where it says so, OpenID Connect Discovery section 3. Members without an element
// are left out (RFC 8414 section 3.2).
type metadata struct {
	Issuer        string `json:"issuer"`
	TokenEndpoint string `json:"token_endpoint"`
	JWKSURI       string `json:"jwks_uri"`
	// ResponseTypes is required, and must not be empty, though without an authorization endpoint there are none. "none"
	// is the registered response type that returns nothing (OAuth 2.0 Multiple Response Type Encoding Practices,
	// section 4), which says exactly that, and every discovery client of test/interop takes it. Authlib refuses a
	// document without the member, or with an empty one; "token" would promise the implicit grant.
	ResponseTypes []string `json:"response_types_supported"`
	// GrantTypes and AuthMethods are not left out: their defaults would promise what there is not.
	GrantTypes  []string `json:"grant_types_supported"`
	AuthMethods []string `json:"token_endpoint_auth_methods_supported"`
	// AuthAlgorithms are those of client assertions. They must be named where private_key_jwt is.
	AuthAlgorithms []jose.SignatureAlgorithm `json:"token_endpoint_auth_signing_alg_values_supported"`

	// The introspection endpoint (RFC 7662) authenticates its callers as the token endpoint does.
	IntrospectionEndpoint       string                    `json:"introspection_endpoint"`
	IntrospectionAuthMethods    []string                  `json:"introspection_endpoint_auth_methods_supported"`
	IntrospectionAuthAlgorithms []jose.SignatureAlgorithm `json:"introspection_endpoint_auth_signing_alg_values_supported"`

	// SubjectTypes and SigningAlgorithms are what OpenID Connect requires. There are no ID tokens, but verifiers that
	// know nothing but discovery take the algorithms of access tokens from here.
	SubjectTypes      []string                    `json:"subject_types_supported,omitempty"`
	SigningAlgorithms []v1alpha1.SigningAlgorithm `json:"id_token_signing_alg_values_supported,omitempty"`
}

// metadata answers with what the issuer is and where its endpoints are: as the TokenIssuer says, whichever host name
// the request was sent to.
func (s *Server) metadata(e endpoint, r *http.Request) reply {
	issuer, ok := s.state.issuer()
	if !ok || !s.state.hasSynced() {
		return errNotIssuing.reply("")
	}
	m := metadata{
		Issuer:         issuer.URL,
		TokenEndpoint:  v1alpha1.EndpointURL(issuer.URL, v1alpha1.PathToken),
		JWKSURI:        v1alpha1.EndpointURL(issuer.URL, v1alpha1.PathJWKS),
		ResponseTypes:  []string{"none"},
		GrantTypes:     []string{grantClientCredentials},
		AuthMethods:    []string{"client_secret_basic", "client_secret_post", "private_key_jwt"},
		AuthAlgorithms: clientkey.Algorithms,
	}
	m.IntrospectionEndpoint = v1alpha1.EndpointURL(issuer.URL, v1alpha1.PathIntrospection)
	m.IntrospectionAuthMethods, m.IntrospectionAuthAlgorithms = m.AuthMethods, m.AuthAlgorithms
	if e == endpointDiscovery {
		m.SubjectTypes, m.SigningAlgorithms = []string{"public"}, s.algorithms(issuer)
	}
	body, err := json.Marshal(m)
	if err != nil {
		s.log.Error("no metadata", "error", err)
		return errInternal.reply("")
	}
	body = append(body, '\n')
	return document(reply{status: http.StatusOK, contentType: typeJSON, body: body}, sha256.Sum256(body), r)
}

// jwks answers with the public keys. Without keys it fails, rather than publish an empty set, which verifiers would
// keep and refuse every token by.
func (s *Server) jwks(r *http.Request) reply {
	keys, ok := s.state.publicKeys()
	if !ok {
		return errNotIssuing.reply("")
	}
	a := document(reply{status: http.StatusOK, contentType: typeJWKS, body: keys.JWKS()}, keys.Digest(), r)
	a.keyRing = keys.Version()
	return a
}

// algorithms are those that tokens may be signed with: what is listed, and what was and is still in tokens that live.
func (s *Server) algorithms(issuer *access.Issuer) []v1alpha1.SigningAlgorithm {
	algorithms := slices.Clone(issuer.Algorithms)
	if keys, ok := s.state.publicKeys(); ok {
		for _, key := range keys.Keys() {
			if !slices.Contains(algorithms, key.Algorithm) {
				algorithms = append(algorithms, key.Algorithm)
			}
		}
	}
	return algorithms
}

// documentCaching lets everybody keep an answer. While we fail, an old one is better than none (RFC 5861 section 4).
var documentCaching = fmt.Sprintf("public, max-age=%d, stale-if-error=%[1]d", int(keyring.MaxAge.Seconds()))

// document lets everybody read and keep an answer, of which it is told the digest.
func document(a reply, digest [sha256.Size]byte, r *http.Request) reply {
	a.etag = `"` + base64.RawURLEncoding.EncodeToString(digest[:16]) + `"`
	a.cacheControl = documentCaching
	a.anyOrigin = true
	if matches(r.Header["If-None-Match"], a.etag) {
		a.status, a.contentType, a.body = http.StatusNotModified, "", nil
	}
	return a
}

// matches says whether an If-None-Match holds the tag, by the weak comparison that RFC 9110 section 13.1.2 asks for.
// Our tags hold no comma, so a tag that does can be cut to pieces without harm.
func matches(ifNoneMatch []string, etag string) bool {
	for tag := range strings.SplitSeq(strings.Join(ifNoneMatch, ","), ",") {
		tag = strings.Trim(tag, " \t")
		if tag == "*" || strings.TrimPrefix(tag, "W/") == etag {
			return true
		}
	}
	return false
}
