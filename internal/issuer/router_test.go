package issuer

import "testing"

func TestRoute(t *testing.T) {
	for _, test := range []struct {
		issuer, path string
		want         endpoint
	}{
		{"https://t.example", "/oauth2/token", endpointToken},
		{"https://t.example", "/oauth2/jwks", endpointJWKS},
		{"https://t.example", "/.well-known/oauth-authorization-server", endpointMetadata},
		{"https://t.example", "/.well-known/openid-configuration", endpointDiscovery},
		{"https://t.example", "/livez", endpointLive},
		{"https://t.example", "/readyz", endpointReady},
		{"https://t.example/", "/oauth2/token", endpointToken},
		{"https://t.example/", "//oauth2/token", endpointUnknown},
		{"https://t.example", "//oauth2/token", endpointUnknown},
		{"https://t.example", "/oauth2/token/", endpointUnknown},
		{"https://t.example", "/oauth2%2Ftoken", endpointUnknown},
		{"https://t.example", "", endpointUnknown},
		{"https://t.example", "*", endpointUnknown},
		{"https://t.example", "/metrics", endpointUnknown},
		{"https://t.example:8443/a/b", "/a/b/oauth2/token", endpointToken},
		{"https://t.example/a/b/", "/a/b/oauth2/token", endpointToken},
		{"https://t.example/a/b", "/oauth2/token", endpointToken},
		{"https://t.example/a/b", "/a/oauth2/token", endpointUnknown},
		{"https://t.example/a/b", "/oauth2/token/a/b", endpointUnknown},
		{"https://t.example/a/b", "/oauth2/jwks/a/b", endpointUnknown},
		{"https://t.example/a/b", "/a/b/livez", endpointUnknown},
		{"https://t.example/a/b", "/livez", endpointLive},
		{"https://t.example/a/b", "/.well-known/oauth-authorization-server/a/b", endpointMetadata},
		{"https://t.example/a/b", "/a/b/.well-known/openid-configuration", endpointDiscovery},
		{"https://t.example/a/b", "/.well-known/openid-configuration/a/b", endpointDiscovery},
		{"https://t.example/a/b", "/.well-known/openid-configuration/a", endpointUnknown},
		{"https://t.example/oauth2", "/oauth2/token", endpointToken},
		{"https://t.example/oauth2", "/oauth2/oauth2/token", endpointToken},
		{"", "/oauth2/token", endpointToken},
		{"https://t.example", "/oauth/token", endpointToken},
		{"https://t.example", "/oidc/token", endpointToken},
		{"https://t.example", "/service/oauth/token", endpointToken},
		{"https://t.example", "/services/oauth/token", endpointToken},
		{"https://t.example", "/token", endpointToken},
		{"https://t.example", "/.well-known/jwks.json", endpointJWKS},
		{"https://t.example", "/oidc/jwks", endpointJWKS},
		{"https://t.example", "/oidc/.well-known/jwks.json", endpointJWKS},
		{"https://t.example", "/jwks", endpointUnknown},
		{"https://t.example", "/token/", endpointUnknown},
		{"https://t.example/a/b", "/a/b/token", endpointToken},
		{"https://t.example/a/b", "/a/token", endpointUnknown},
		{"https://t.example/a/b", "/token/a/b", endpointUnknown},
		{"https://t.example/a/b", "/.well-known/jwks.json/a/b", endpointUnknown},
	} {
		if got := route(test.path, test.issuer); got != test.want {
			t.Errorf("%s of %q is %s, want %s", test.path, test.issuer, got, test.want)
		}
	}
}
