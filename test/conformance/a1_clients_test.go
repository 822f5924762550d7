package conformance

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

// foreignClients sends what clients of other servers send: they shall need another host name and other credentials, and
// nothing else.
var foreignClients = []statement{
	{"T-3", "paths_of_other_servers", testAliases},
	{"T-3", "paths_of_other_servers_below_a_path", testAliasesBelowPath},
	{"T-6", "clients_of_other_servers", testForeignClients},
}

var (
	tokenPaths = []string{"/oauth2/token", "/oauth/token", "/oidc/token", "/service/oauth/token", "/services/oauth/token", "/token"}
	jwksPaths  = []string{"/oauth2/jwks", "/.well-known/jwks.json", "/oidc/jwks", "/oidc/.well-known/jwks.json"}
)

func testAliases(t *testing.T) {
	w := newWorld(t)
	keys := w.get(jwksPath).fingerprint()
	for _, client := range []*http.Client{w.http1, w.http2} {
		for _, path := range tokenPaths {
			r := w.tokenRequest()
			r.target = path
			w.sendBy(t, client, r).wantToken(t)
			r.method = "GET"
			if a := w.sendBy(t, client, r); a.status != http.StatusMethodNotAllowed || a.header.Get("Allow") != "POST" {
				t.Errorf("GET %s: %d", path, a.status)
			}
		}
		for _, path := range jwksPaths {
			if got := w.sendBy(t, client, request{method: "GET", target: path}).fingerprint(); got != keys {
				t.Errorf("%s is not %s: %s", path, jwksPath, got)
			}
		}
	}
	for _, path := range slices.Concat(tokenPaths, jwksPaths) {
		for _, other := range []string{path + "/", "/" + path, strings.ToUpper(path), path + "x", "/x" + path,
			fmt.Sprintf("/%%%02x%s", path[1], path[2:])} {
			w.run(other, func(t *testing.T) {
				r := w.tokenRequest()
				r.target = other
				w.raw("POST", r.text()).wantError(t, http.StatusNotFound, "not_found")
			})
		}
	}
	for _, path := range []string{oauthPath, openIDPath} {
		fields := w.get(path).fields(t)
		if fields["token_endpoint"] != issuerURL+tokenPath || fields["jwks_uri"] != issuerURL+jwksPath {
			t.Errorf("%s names %v and %v", path, fields["token_endpoint"], fields["jwks_uri"])
		}
	}
}

func testAliasesBelowPath(t *testing.T) {
	w := newWorld(t)
	w.issuer("default", issuerURL+"/team/a")
	for _, prefix := range []string{"/team/a", ""} { // a proxy may strip it
		for _, path := range tokenPaths {
			r := w.tokenRequest()
			r.target = prefix + path
			w.send(r).wantToken(t)
		}
		for _, path := range jwksPaths {
			if a := w.get(prefix + path); a.status != http.StatusOK {
				t.Errorf("%s: %d", prefix+path, a.status)
			}
		}
	}
	r := w.tokenRequest()
	r.target = "/team/oauth/token"
	w.send(r).wantError(t, http.StatusNotFound, "not_found")
}

// testForeignClients sends requests as the documentation of five servers and the libraries that it uses write them, byte
// for byte, with this server's host name, credentials and identifiers.
func testForeignClients(t *testing.T) {
	w := newWorld(t)
	w.client("jobs", "publisher", func(c *v1alpha1.M2MClient) { c.Spec.DefaultAudience = courses })
	secret := w.secrets[publisher]
	wire := func(path, header, body string) string {
		return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: tokens.example.com\r\n%sContent-Length: %d\r\n\r\n%s", path, header, len(body), body)
	}
	compact := fmt.Sprintf(`{"audience":"%s","grant_type":"client_credentials","client_id":"%s","client_secret":"%s"}`, courses, publisher, secret)
	indented := fmt.Sprintf("{\n  \"audience\": \"%s\",\n  \"grant_type\": \"client_credentials\",\n  \"client_id\": \"%s\",\n  \"client_secret\": \"%s\"\n}",
		courses, publisher, secret)
	curl := "User-Agent: curl/8.5.0\r\nAccept: */*\r\n"
	form := "Content-Type: application/x-www-form-urlencoded\r\n"
	basicAuth := "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(publisher+":"+secret)) + "\r\n"
	inForm := "grant_type=client_credentials&client_id=" + publisher + "&client_secret=" + secret
	axios := "Accept: application/json, text/plain, */*\r\n" + form + "User-Agent: axios/1.7.2\r\nAccept-Encoding: gzip, compress, deflate, br\r\nConnection: close\r\n"
	everything := "courses:publish courses:read-approved"
	for name, test := range map[string]struct{ text, scope, rejected string }{
		"Auth0": {wire("/oauth/token", "Content-Type: application/json\r\n", indented), everything, ""},
		"Auth0, request for Node.js": {wire("/oauth/token", "cache-control: no-cache\r\ncontent-type: application/json\r\n"+
			"accept: application/json\r\nconnection: close\r\n", compact), everything, ""},
		"LoginRadius": {wire("/service/oauth/token", "Content-Type: application/json\r\n",
			strings.ReplaceAll(indented, "\n", "")), everything, ""},
		"LoginRadius, API": {wire("/services/oauth/token", "Content-Type: application/json; charset=utf-8\r\n", compact), everything, ""},
		// curl -d sends the space as it is.
		"WSO2": {wire("/oauth2/token", curl+form, inForm+"&scope=courses:read-approved courses:publish"), everything, ""},
		"Authing, axios": {wire("/oidc/token", axios, inForm+"&scope=courses:publish+courses:write+courses:read-approved"),
			everything, "courses:write"},
		"Logto": {wire("/oidc/token", curl+basicAuth+form, "grant_type=client_credentials&resource="+courses), everything, ""},
		"Logto, scopes": {wire("/oidc/token", curl+basicAuth+form, "grant_type=client_credentials&resource="+courses+
			"&scope=courses:publish courses:read-approved"), everything, ""},
		"Logto, encoded": {wire("/oidc/token", curl+basicAuth+form, "grant_type=client_credentials&resource=https%3A%2F%2Fcourses.example.com%2Fapi"+
			"&scope=courses%3Apublish"), "courses:publish", ""},
	} {
		w.run(name, func(t *testing.T) {
			fields := w.raw("POST", test.text).wantToken(t)
			if fields["scope"] != test.scope || (test.rejected != "") != (fields["rejected_scope"] != nil) ||
				(test.rejected != "" && fields["rejected_scope"] != test.rejected) || fields["token_type"] != "Bearer" {
				t.Errorf("got %v", fields)
			}
		})
	}
	// Releases of axios before 1.0 send the example for Authing as JSON, and call it a form.
	mislabelled := strings.Replace(wire("/oidc/token", axios, compact), "axios/1.7.2", "axios/0.21.1", 1)
	w.raw("POST", mislabelled).wantError(t, http.StatusUnauthorized, "invalid_client")
}
