//go:build interop

package interop

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/test/suite"
)

// examples are what docs/integrations shows. The rest of it is tested in test/scenarios and test/docs.
const examples = "../../docs/integrations/examples"

// TestExpress: the API of docs/integrations/express.md, with its ConfigMap as it is mounted.
func TestExpress(t *testing.T) {
	eachIssuer(t, func(t *testing.T, i *issuer) {
		mounted := &corev1.ConfigMap{}
		suite.Eventually(t, func() string {
			key := client.ObjectKey{Namespace: "courses-" + i.name, Name: "course-api-verifier"}
			if err := world.Admin.Get(ctx, key, mounted); err != nil {
				return err.Error()
			}
			return ""
		})
		directory := t.TempDir()
		for name, text := range mounted.Data {
			write(t, filepath.Join(directory, name), text)
		}
		script := "server-" + i.name + ".mjs" // beside the others, where it finds its packages
		write(t, filepath.Join(scripts, script), example(t, "express/server.mjs"))
		api := i.serve(t, script, "M2M_VERIFIER="+directory)
		tokens := i.tokens(t)
		wantStatuses(t, api, http.MethodGet, "/courses", tokens, http.StatusOK, http.StatusUnauthorized)
		wantStatuses(t, api, http.MethodPost, "/courses", tokens, http.StatusForbidden, http.StatusUnauthorized)
		if status, body := call(t, api, http.MethodGet, "/courses", tokens[good]); body != `{"client":"`+i.caller.ID+`"}` {
			t.Errorf("the API saw %d %s", status, body)
		}
	})
}

// TestNginxBeforeIssuer: the proxy of docs/integrations/nginx.md, which verifies whom it speaks to.
func TestNginxBeforeIssuer(t *testing.T) {
	ensureWorld(t)
	directory := t.TempDir()
	secret := await(t, suite.InstallNamespace, "m2m-root-tls")
	for _, name := range []string{"tls.crt", "tls.key", "ca.crt"} {
		write(t, filepath.Join(directory, name), string(secret.Data[name]))
	}
	through := root.nginx(t, directory, "issuer.conf", "listen 443 ssl", true)
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {root.caller.ID}, "client_secret": {root.caller.Secret}, "audience": {audience}}
	status, _, body := request(t, through, http.MethodPost, "https://127.0.0.1/oauth2/token", "", form)
	if status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	root.wantOutcome(t, "through nginx", parse[outcome](t, body), audience, scopes)
	form.Set("client_secret", "wrong")
	status, header, body := request(t, through, http.MethodPost, "https://127.0.0.1/oauth2/token", "", form)
	if status != http.StatusUnauthorized || header.Get("WWW-Authenticate") == "" || !strings.Contains(body, "invalid_client") {
		t.Errorf("a wrong secret: %d %v %s", status, header, body)
	}
	for _, path := range []string{"/oauth2/jwks", "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"} {
		if status, _, body := request(t, through, http.MethodGet, "https://127.0.0.1"+path, "", nil); status != http.StatusOK {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}

	elsewhere := t.TempDir()
	for _, name := range []string{"tls.crt", "tls.key"} {
		write(t, filepath.Join(elsewhere, name), string(secret.Data[name]))
	}
	write(t, filepath.Join(elsewhere, "ca.crt"), string(slash.ca))
	through = root.nginx(t, elsewhere, "issuer.conf", "listen 443 ssl", true)
	if status, _, body := request(t, through, http.MethodGet, "https://127.0.0.1/oauth2/jwks", "", nil); status != http.StatusBadGateway {
		t.Errorf("an issuer whose authority is not trusted: %d %s", status, body)
	}
}

// TestNginxBeforeAPI: nginx lets tokens pass that introspection calls active, for its audience and with its scope.
func TestNginxBeforeAPI(t *testing.T) {
	ensureWorld(t)
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %q", r.Header.Get("X-M2M-Client"), r.Header.Get("Authorization"))
	}))
	defer api.Close()
	directory := t.TempDir()
	credential := base64.StdEncoding.EncodeToString([]byte(root.reader.ID + ":" + root.reader.Secret))
	write(t, filepath.Join(directory, "credential.conf"), `proxy_set_header Authorization "Basic `+credential+`";`)
	write(t, filepath.Join(directory, "ca.crt"), string(root.ca))
	write(t, filepath.Join(directory, "m2m.js"), example(t, "nginx/m2m.js"))
	through := root.nginx(t, directory, "api.conf", "listen 8080", false, "127.0.0.1:8000", api.Listener.Addr().String())
	courses := "http://courses.example.com/courses"
	for name, token := range root.tokens(t) {
		status, header, body := request(t, through, http.MethodGet, courses, "Bearer "+token, nil)
		switch {
		case name == good && (status != http.StatusOK || body != root.caller.ID+` ""`):
			t.Errorf("a good token: %d, and the API saw %s", status, body)
		case name != good && (status != http.StatusUnauthorized || header.Get("WWW-Authenticate") != `Bearer error="invalid_token"`):
			t.Errorf("a token %s: %d %q", name, status, header.Get("WWW-Authenticate"))
		}
	}
	if status, header, _ := request(t, through, http.MethodGet, courses, "", nil); status != http.StatusUnauthorized || header.Get("WWW-Authenticate") != "Bearer" {
		t.Errorf("no token: %d %v", status, header)
	}
	status, header, _ := request(t, through, http.MethodGet, courses, "Bearer "+root.tokenWith(t, "courses:publish"), nil)
	if challenge := header.Get("WWW-Authenticate"); status != http.StatusForbidden || challenge != `Bearer error="insufficient_scope", scope="courses:read-approved"` {
		t.Errorf("a token without the scope: %d %q", status, challenge)
	}
	if status, _, _ := request(t, through, http.MethodGet, "http://courses.example.com/_introspect", "", nil); status != http.StatusNotFound {
		t.Errorf("introspection for everybody: %d", status)
	}
}

// tokenWith is one of the caller's with some of its scopes.
func (i *issuer) tokenWith(t *testing.T, scope string) string {
	t.Helper()
	_, _, body := request(t, i.http, http.MethodPost, i.endpoint("/oauth2/token"), "", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {i.caller.ID}, "client_secret": {i.caller.Secret}, "audience": {audience}, "scope": {scope},
	})
	return parse[outcome](t, body).AccessToken
}

// nginx runs an example until the test ends, with what it reads in a directory, and returns a client whose requests go
// there: over a socket, so that there is no port to be taken by somebody else.
func (i *issuer) nginx(t *testing.T, directory, file, listen string, secure bool, replaced ...string) *http.Client {
	t.Helper()
	socket := filepath.Join(directory, "s")
	listening := "listen unix:" + socket
	if secure {
		listening += " ssl"
	}
	text := strings.NewReplacer(append(replaced, listen+";", listening+";", "/etc/nginx/m2m", directory,
		"m2m-issuer-default.m2m-system.svc:443", i.server.Address, "m2m-issuer-default", "m2m-issuer-"+i.name)...).Replace(example(t, "nginx/"+file))
	if !strings.Contains(text, socket) || !strings.Contains(text, i.server.Address) {
		t.Fatalf("%s is not as this test knows it", file)
	}
	configuration := filepath.Join(directory, "nginx.conf")
	write(t, configuration, "include /usr/share/nginx/modules-available/mod-http-js.conf;\ndaemon off;\nmaster_process off;\npid "+directory+"/pid;\n"+
		"error_log stderr;\nevents {}\nhttp {\naccess_log off;\n"+temporary(directory)+text+"}\n")
	var stderr strings.Builder
	command := exec.CommandContext(t.Context(), "nginx", "-c", configuration)
	command.Stderr = &stderr
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Wait() // the test's context has ended it
		if t.Failed() {
			t.Logf("nginx:\n%s", stderr.String())
		}
	})
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, "unix", socket)
	}
	suite.Eventually(t, func() string {
		connection, err := dial(ctx, "", "")
		if err != nil {
			return err.Error()
		}
		connection.Close()
		return ""
	})
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(i.ca)
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DialContext: dial, TLSClientConfig: &tls.Config{RootCAs: roots}}}
}

// temporary keeps nginx from writing to the machine's own directories.
func temporary(directory string) (settings string) {
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		settings += fmt.Sprintf("%s_temp_path %s/%s;\n", kind, directory, kind)
	}
	return settings
}

func request(t *testing.T, through *http.Client, method, address, authorization string, form url.Values) (int, http.Header, string) {
	t.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r, err := http.NewRequestWithContext(t.Context(), method, address, body)
	if err != nil {
		t.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	response, err := through.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, response.Header, string(text)
}

func example(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(examples, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
