package conformance

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
)

var metadata = []statement{
	{"M-1", "issuer", testMetadataIssuer},
	{"M-2", "well-known_paths", testWellKnownPaths},
	{"M-2", "issuer_with_a_path", testIssuerWithPath},
	{"M-3", "response", testMetadataResponse},
	{"M-4", "response_types", testResponseTypes},
	{"M-5", "grant_types_and_methods", testMetadataGrantTypes},
	{"M-6", "endpoints", testMetadataEndpoints},
	{"M-7", "host_headers_change_nothing", testHostHeaders},
	{"M-8", "no_authorization_response", testNoAuthorizationResponse},
}

func testMetadataIssuer(t *testing.T) {
	w := newWorld(t)
	issuer := w.get(oauthPath).fields(t)["issuer"]
	if token := w.claims(w.send(w.tokenRequest()).wantToken(t)); issuer != issuerURL || token["iss"] != issuer {
		t.Errorf("the metadata says %v, the token %v", issuer, token["iss"])
	}
}

func testWellKnownPaths(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{oauthPath, openIDPath} {
		if a := w.get(path); a.status != http.StatusOK || a.fields(t)["issuer"] != issuerURL {
			t.Errorf("%s: %s", path, a.body)
		}
	}
	for _, path := range []string{oauthPath + "/", openIDPath + "/x", "/x" + openIDPath, "/.well-known/", "/." + "well-known/jwks"} {
		w.get(path).wantError(t, http.StatusNotFound, "not_found")
	}
}

func testIssuerWithPath(t *testing.T) {
	w := newWorld(t)
	for _, slash := range []string{"", "/"} {
		w.run("slash "+slash, func(t *testing.T) {
			url := issuerURL + "/tenant/a" + slash
			w.issuer("default", url)
			for _, path := range []string{
				oauthPath + "/tenant/a", "/tenant/a" + openIDPath, openIDPath + "/tenant/a", "/tenant/a" + oauthPath, oauthPath, openIDPath,
			} {
				got := w.get(path).fields(t)
				if got["issuer"] != url || got["token_endpoint"] != issuerURL+"/tenant/a/oauth2/token" || got["jwks_uri"] != issuerURL+"/tenant/a/oauth2/jwks" {
					t.Errorf("%s: %v", path, got)
				}
			}
			for _, prefix := range []string{"", "/tenant/a"} {
				r := w.tokenRequest()
				r.target = prefix + tokenPath
				if got := w.claims(w.send(r).wantToken(t)); got["iss"] != url {
					t.Errorf("iss %v", got["iss"])
				}
				if a := w.get(prefix + jwksPath); a.status != http.StatusOK {
					t.Errorf("%s: %d", prefix+jwksPath, a.status)
				}
			}
			for _, path := range []string{"/tenant/b" + openIDPath, "/tenant" + openIDPath, "/tenant/a/tenant/a" + openIDPath, oauthPath + "/tenant", "/tenant/a//oauth2/token", "/tenant/a"} {
				w.get(path).wantError(t, http.StatusNotFound, "not_found")
			}
		})
	}
}

func testMetadataResponse(t *testing.T) {
	w := newWorld(t)
	for path, want := range map[string][]string{
		oauthPath: {"grant_types_supported", "introspection_endpoint", "introspection_endpoint_auth_methods_supported", "introspection_endpoint_auth_signing_alg_values_supported",
			"issuer", "jwks_uri", "response_types_supported", "token_endpoint", "token_endpoint_auth_methods_supported",
			"token_endpoint_auth_signing_alg_values_supported"},
		openIDPath: {"grant_types_supported", "id_token_signing_alg_values_supported", "introspection_endpoint",
			"introspection_endpoint_auth_methods_supported", "introspection_endpoint_auth_signing_alg_values_supported",
			"issuer", "jwks_uri", "response_types_supported",
			"subject_types_supported", "token_endpoint", "token_endpoint_auth_methods_supported",
			"token_endpoint_auth_signing_alg_values_supported"},
	} {
		a := w.get(path)
		if a.status != http.StatusOK || a.header.Get("Content-Type") != "application/json" || a.header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s: %s", path, a.fingerprint())
		}
		fields := a.fields(t)
		if got := slices.Sorted(maps.Keys(fields)); !slices.Equal(got, want) {
			t.Errorf("%s: members %v, want %v", path, got, want)
		}
		for name, value := range fields {
			if list, ok := value.([]any); value == nil || value == "" || (ok && len(list) == 0) {
				t.Errorf("%s: %s is empty", path, name)
			}
		}
		put := w.send(request{method: "POST", target: path, header: http.Header{}})
		put.wantError(t, http.StatusMethodNotAllowed, "invalid_request")
	}
}

func testResponseTypes(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{oauthPath, openIDPath} {
		if got := fmt.Sprint(w.get(path).fields(t)["response_types_supported"]); got != "[none]" {
			t.Errorf("%s: %s", path, got)
		}
	}
}

func testMetadataGrantTypes(t *testing.T) {
	w := newWorld(t)
	fields := w.get(oauthPath).fields(t)
	if fmt.Sprint(fields["grant_types_supported"]) != "[client_credentials]" ||
		fmt.Sprint(fields["token_endpoint_auth_methods_supported"]) != "[client_secret_basic client_secret_post private_key_jwt]" ||
		fmt.Sprint(fields["token_endpoint_auth_signing_alg_values_supported"]) != "[ES256 ES384 EdDSA PS256 RS256]" {
		t.Errorf("%v", fields)
	}
}

func testMetadataEndpoints(t *testing.T) {
	w := newWorld(t)
	fields := w.get(oauthPath).fields(t)
	if fields["token_endpoint"] != issuerURL+tokenPath || fields["jwks_uri"] != issuerURL+jwksPath ||
		fields["introspection_endpoint"] != issuerURL+introspectionPath {
		t.Errorf("%v", fields)
	}
	if strings.Contains(w.get(oauthPath).body+w.get(openIDPath).body, "courses:") {
		t.Error("it tells one tenant's scopes to others")
	}
}

func testHostHeaders(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{oauthPath, openIDPath, jwksPath} {
		want := w.get(path).fingerprint()
		a := w.raw("GET", "GET "+path+" HTTP/1.1\r\nHost: evil.example.com:1\r\nX-Forwarded-Host: evil.example.com\r\nX-Forwarded-Proto: http\r\n"+
			"X-Forwarded-Prefix: /evil\r\nForwarded: host=evil.example.com;proto=http\r\nX-Original-Url: /evil\r\n\r\n")
		if a.fingerprint() != want {
			t.Errorf("%s differs:\n%s\n%s", path, a.fingerprint(), want)
		}
		absolute := w.raw("GET", "GET https://evil.example.com"+path+" HTTP/1.1\r\nHost: evil.example.com\r\n\r\n")
		if absolute.fingerprint() != want {
			t.Errorf("%s in absolute form differs:\n%s\n%s", path, absolute.fingerprint(), want)
		}
	}
	a := w.raw("POST", w.tokenRequest().text("X-Forwarded-Host: evil.example.com", "X-HTTP-Method-Override: GET"))
	if got := w.claims(a.wantToken(t)); got["iss"] != issuerURL {
		t.Errorf("iss %v", got["iss"])
	}
}

func testNoAuthorizationResponse(t *testing.T) {
	w := newWorld(t)
	fields := w.get(oauthPath).fields(t)
	for _, name := range []string{"authorization_endpoint", "authorization_response_iss_parameter_supported", "revocation_endpoint"} {
		if _, found := fields[name]; found {
			t.Errorf("the metadata has %s", name)
		}
	}
}
