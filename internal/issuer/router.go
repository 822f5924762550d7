package issuer

import (
	"strings"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

// endpoint is something to ask for; it names its metrics too.
type endpoint string

const (
	endpointToken         endpoint = "token"
	endpointIntrospection endpoint = "introspection"
	endpointJWKS          endpoint = "jwks"
	endpointMetadata      endpoint = "oauth-authorization-server"
	endpointDiscovery     endpoint = "openid-configuration"
	endpointLive          endpoint = "livez"
	endpointReady         endpoint = "readyz"
	endpointMetrics       endpoint = "metrics"
	endpointUnknown       endpoint = "unknown"
)

const (
	pathMetadata  = "/.well-known/oauth-authorization-server"
	pathDiscovery = "/.well-known/openid-configuration"
)

// issuerPaths are paths below the issuer's URL.
var issuerPaths = newIssuerPaths()

func newIssuerPaths() map[string]endpoint {
	paths := map[string]endpoint{
		v1alpha1.PathIntrospection: endpointIntrospection,
		v1alpha1.PathJWKS:          endpointJWKS,
		pathMetadata:               endpointMetadata,
		pathDiscovery:              endpointDiscovery,
		// Where verifiers that were written for other servers look for the keys.
		"/.well-known/jwks.json":      endpointJWKS,
		"/oidc/jwks":                  endpointJWKS,
		"/oidc/.well-known/jwks.json": endpointJWKS,
	}
	for _, path := range v1alpha1.TokenPaths {
		paths[path] = endpointToken
	}
	return paths
}

// healthPaths are for kubelets and load balancers, who know nothing of the issuer's URL.
var healthPaths = map[string]endpoint{
	"/livez":  endpointLive,
	"/readyz": endpointReady,
}

// opsPaths are those of the operations port.
var opsPaths = map[string]endpoint{
	"/livez":   endpointLive,
	"/readyz":  endpointReady,
	"/metrics": endpointMetrics,
}

// route finds the endpoint of an escaped path, of an issuer by its URL. Paths are compared as they are sent: a path that
// would have to be cleaned first is unknown, for a redirect would send credentials about (RFC 9700 section 4.12).
//
// An ingress may strip the issuer's path before it forwards a request, or not; both are answered.
func route(path, issuerURL string) endpoint {
	if e, ok := issuerPaths[path]; ok {
		return e
	}
	if e, ok := healthPaths[path]; ok {
		return e
	}
	issuerPath := pathOf(issuerURL)
	if below, ok := strings.CutPrefix(path, issuerPath); ok {
		if e, ok := issuerPaths[below]; ok {
			return e
		}
	}
	// RFC 8414 section 3.1 inserts the well-known path between the issuer's host and path, and section 5 does so for
	// OpenID Connect's too, which that itself appends (OpenID Connect Discovery section 4).
	if wellKnown, ok := strings.CutSuffix(path, issuerPath); ok && (wellKnown == pathMetadata || wellKnown == pathDiscovery) {
		return issuerPaths[wellKnown]
	}
	return endpointUnknown
}

// pathOf is the path of an issuer's URL without a terminating slash, which RFC 8414 section 3.1 removes, and which
// endpoints are put below without doubling it.
func pathOf(issuerURL string) string {
	_, rest, _ := strings.Cut(issuerURL, "://")
	slash := strings.IndexByte(rest, '/')
	if slash < 0 {
		return ""
	}
	return strings.TrimSuffix(rest[slash:], "/")
}
