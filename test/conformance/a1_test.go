package conformance

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

// transport is all of A1, the files beside this one included.
var transport = slices.Concat(endpoints, jsonBodies, foreignClients, framing, proxied)

var endpoints = []statement{
	{"T-1", "TLS_only", testTLSOnly},
	{"T-1", "TLS_1.2_at_least", testTLSVersions},
	{"T-1", "certificate_is_replaced_without_restart", testCertificateReload},
	{"T-2", "POST_only", testPostOnly},
	{"T-3", "query_is_retained", testQueryRetained},
	{"T-4", "credentials_in_the_query", testCredentialsInQuery},
	{"T-5", "never_a_redirect", testNoRedirect},
	{"T-6", "content_type", testContentType},
	{"T-7", "unknown_parameters_are_ignored", testUnknownParameters},
	{"T-8", "empty_is_omitted", testEmptyIsOmitted},
	{"T-9", "repeated_parameter", testRepeated},
	{"T-10", "case_sensitive", testCaseSensitive},
	{"T-11", "guessing_is_throttled", testThrottled},
	{"T-12", "HTTP_1_and_2_are_equal", testEqualProtocols},
	{"T-12", "no_h2c", testNoH2C},
	{"T-12", "body_limit", testBodyLimit},
	{"T-12", "parameter_limit", testParameterLimit},
	{"T-12", "header_limit", testHeaderLimit},
	{"T-12", "slow_header_is_cut_off", testSlowHeader},
	{"T-12", "malformed_body", testMalformedBody},
}

func testTLSOnly(t *testing.T) {
	w := newWorld(t)
	for name, address := range map[string]string{"the TLS port": w.address, "the operations port": w.opsAddress} {
		connection, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(connection, w.tokenRequest().text("Connection: close"))
		response := make([]byte, 4096)
		n, _ := connection.Read(response)
		connection.Close()
		if text := string(response[:n]); strings.Contains(text, "access_token") || !strings.Contains(text, " 40") {
			t.Errorf("%s answers without TLS: %s", name, text)
		}
	}
	if a := w.ops(tokenPath); a.status != http.StatusNotFound {
		t.Errorf("the operations port has a token endpoint: %d", a.status)
	}
}

func testTLSVersions(t *testing.T) {
	w := newWorld(t)
	for version, ok := range map[uint16]bool{tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		connection, err := tls.Dial("tcp", w.address, &tls.Config{RootCAs: w.roots, MinVersion: tls.VersionTLS10, MaxVersion: version})
		if (err == nil) != ok {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
		if err == nil {
			connection.Close()
		}
	}
}

func testCertificateReload(t *testing.T) {
	w := newWorld(t)
	before := w.dial().ConnectionState().PeerCertificates[0]
	second := *fixed().serving
	second.Certificate = append([][]byte(nil), second.Certificate...)
	second.Certificate = append(second.Certificate, second.Certificate[0])
	w.state.SetCertificate(&second)
	after := w.dial().ConnectionState().PeerCertificates
	if !before.Equal(after[0]) || len(after) != 2 {
		t.Errorf("the new chain is not served: %d certificates", len(after))
	}
}

func testPostOnly(t *testing.T) {
	w := newWorld(t)
	for _, method := range []string{"GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "post", "PROPFIND"} {
		w.run(method, func(t *testing.T) {
			r := w.tokenRequest()
			r.method = method
			a := w.raw(method, r.text("Connection: close"))
			if a.status != http.StatusMethodNotAllowed || a.header.Get("Allow") != "POST" {
				t.Errorf("%d, Allow %q", a.status, a.header.Get("Allow"))
			}
			if method != "HEAD" {
				a.wantError(t, http.StatusMethodNotAllowed, "invalid_request")
			}
		})
	}
	a := w.raw("OPTIONS", "OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	a.wantError(t, http.StatusNotFound, "not_found")
}

func testQueryRetained(t *testing.T) {
	w := newWorld(t)
	r := w.tokenRequest()
	r.target += "?tenant=a&x"
	w.send(r).wantToken(t)
	if got := w.get(oauthPath).fields(t)["token_endpoint"]; strings.Contains(got.(string), "#") {
		t.Errorf("the token endpoint %s has a fragment", got)
	}
}

func testCredentialsInQuery(t *testing.T) {
	w := newWorld(t)
	good := "client_id=" + publisher + "&client_secret=" + w.secrets[publisher]
	for _, query := range []string{
		good, "grant_type=client_credentials", "client_id=x", "client_secret", "client_secret=", "scope=a", "audience=x",
		"resource=x", "client_assertion=x", "client_assertion_type=x", "x=1&client%5Fsecret=y", "x=1;client_secret=y", "%zz",
	} {
		w.run(query, func(t *testing.T) {
			r := w.tokenRequest()
			r.target += "?" + query
			w.send(r).wantError(t, http.StatusBadRequest, "invalid_request")
		})
	}
	r := w.requestOf(publisher).bare()
	r.target += "?grant_type=client_credentials&audience=" + courses + "&" + good
	w.send(r).wantError(t, http.StatusBadRequest, "invalid_request")
}

func testNoRedirect(t *testing.T) {
	w := newWorld(t)
	for _, target := range []string{
		"//oauth2/token", "/oauth2//token", "/oauth2/token/", "/oauth2/./token", "/x/../oauth2/token", "/oauth2%2ftoken",
		"/%6fauth2/token", "/OAUTH2/token", "/oauth2/token;x", "/oauth2/token%00", "/oauth2", "/", "/oauth2/revoke",
		"/oauth2/token#x", "/.well-known", "/metrics", "/debug/pprof/",
	} {
		for _, method := range []string{"POST", "GET"} {
			w.run(method+" "+target, func(t *testing.T) {
				r := w.tokenRequest()
				r.method, r.target = method, target
				a := w.raw(method, r.text("Connection: close"))
				a.wantError(t, http.StatusNotFound, "not_found")
				if a.header.Get("Location") != "" {
					t.Error("it redirects")
				}
			})
		}
	}
}

func testContentType(t *testing.T) {
	w := newWorld(t)
	for _, value := range []string{
		"application/x-www-form-urlencoded", "application/x-www-form-urlencoded; charset=utf-8",
		`Application/X-WWW-Form-URLEncoded;charset="UTF-8"`, "application/x-www-form-urlencoded; version=1",
	} {
		w.run(value, func(t *testing.T) { w.send(w.tokenRequest().with("Content-Type", value)).wantToken(t) })
	}
	for _, value := range []string{
		"application/json", "text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded; charset=iso-8859-1",
		"application/x-www-form-urlencoded, application/json", "", "x", "application/x-www-form-urlencodedx", "*/*",
	} {
		w.run("not "+value, func(t *testing.T) {
			w.send(w.tokenRequest().with("Content-Type", value)).wantError(t, http.StatusBadRequest, "invalid_request")
		})
	}
	r := w.tokenRequest()
	r.header.Del("Content-Type")
	w.send(r).wantError(t, http.StatusBadRequest, "invalid_request")
	a := w.raw("POST", w.tokenRequest().text("Content-Type: application/json"))
	a.wantError(t, http.StatusBadRequest, "invalid_request")
}

func testUnknownParameters(t *testing.T) {
	w := newWorld(t)
	w.send(w.tokenRequest("organization", "x", "organization", "y", "", "z", "\x00", "\xff")).wantToken(t)
}

func testEmptyIsOmitted(t *testing.T) {
	w := newWorld(t)
	want := "courses:publish courses:read-approved"
	if got := w.send(w.tokenRequest("scope", "", "resource", "", "client_id", "", "client_secret", "", "client_assertion", "")).wantToken(t); got["scope"] != want {
		t.Errorf("scope %v, want %q", got["scope"], want)
	}
	w.send(w.requestOf(publisher, "grant_type", "", "audience", courses)).wantError(t, http.StatusBadRequest, "invalid_request")
	w.send(w.requestOf(publisher, "grant_type", "client_credentials", "audience", "")).wantError(t, http.StatusBadRequest, "invalid_target")
	w.send(w.tokenRequest("client_id", publisher, "client_secret", "").bare()).wantError(t, http.StatusUnauthorized, "invalid_client")
}

func testRepeated(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"grant_type", "client_id", "client_secret", "scope", "audience", "client_assertion", "client_assertion_type"} {
		for _, value := range []string{"x", ""} {
			w.run(name+"="+value, func(t *testing.T) {
				r := w.requestOf(publisher, "grant_type", "client_credentials", "resource", courses)
				w.send(r.add(name, value, name, value)).wantError(t, http.StatusBadRequest, "invalid_request")
			})
		}
	}
	w.send(w.tokenRequest("audience", courses)).wantError(t, http.StatusBadRequest, "invalid_request")
	w.send(w.tokenRequest("grant_type", "client_credentials")).wantError(t, http.StatusBadRequest, "invalid_request")
}

func testCaseSensitive(t *testing.T) {
	w := newWorld(t)
	w.send(w.requestOf(publisher, "Grant_Type", "client_credentials", "audience", courses)).wantError(t, http.StatusBadRequest, "invalid_request")
	w.send(w.requestOf(publisher, "grant_type", "CLIENT_CREDENTIALS", "audience", courses)).wantError(t, http.StatusBadRequest, "unsupported_grant_type")
	w.send(w.tokenRequest("Grant_Type", "x", "SCOPE", "x y", "Client_Secret", "z")).wantToken(t)
	upper := w.requestOf("JOBS.publisher", "grant_type", "client_credentials", "audience", courses)
	w.send(upper.with("Authorization", basic("JOBS.publisher", w.secrets[publisher]))).wantError(t, http.StatusUnauthorized, "invalid_client")
}

func testThrottled(t *testing.T) {
	w := newWorld(t)
	other := w.client("jobs", "other", nil)
	wrong := func(clientID string) answer {
		return w.send(w.tokenRequest().with("Authorization", basic(clientID, "wrong")))
	}
	var throttled []string
	for _, id := range []string{publisher, "jobs.unknown"} {
		for range 50 {
			wrong(id).wantError(t, http.StatusUnauthorized, "invalid_client")
		}
		a := wrong(id)
		a.wantError(t, http.StatusTooManyRequests, "invalid_client")
		if a.header.Get("Retry-After") != "1" {
			t.Errorf("%s: Retry-After %q", id, a.header.Get("Retry-After"))
		}
		throttled = append(throttled, a.fingerprint())
	}
	if throttled[0] != throttled[1] {
		t.Errorf("a known and an unknown client differ:\n%s\n%s", throttled[0], throttled[1])
	}
	w.send(w.tokenRequest()).wantToken(t)
	wrong(other).wantError(t, http.StatusUnauthorized, "invalid_client")
	forwarded := w.tokenRequest().with("Authorization", basic(publisher, "wrong"))
	for _, name := range []string{"X-Forwarded-For", "X-Real-Ip", "Forwarded"} {
		w.send(forwarded.with(name, "198.51.100.7")).wantError(t, http.StatusTooManyRequests, "invalid_client")
	}
	w.later(time.Second)
	wrong(publisher).wantError(t, http.StatusUnauthorized, "invalid_client")
}

func testEqualProtocols(t *testing.T) {
	w := newWorld(t)
	w.client("jobs", "suspended", func(c *v1alpha1.M2MClient) { c.Spec.Suspend = true })
	get := request{method: "GET", header: http.Header{}}
	at := func(r request, target string) request { r.target = target; return r }
	put := w.tokenRequest()
	put.method = "PUT"
	for name, r := range map[string]request{
		"wrong secret":   w.tokenRequest().with("Authorization", basic(publisher, "x")),
		"unknown target": w.requestOf(publisher, "grant_type", "client_credentials", "audience", "x"),
		"method":         put,
		"content type":   w.tokenRequest().with("Content-Type", "text/plain"),
		"jwks":           at(get, jwksPath),
		"metadata":       at(get, oauthPath),
		"discovery":      at(get, openIDPath),
		"unknown path":   at(get, "//oauth2/token"),
		"health":         at(get, "/readyz"),
	} {
		w.run(name, func(t *testing.T) {
			one, two := w.sendBy(t, w.http1, r), w.sendBy(t, w.http2, r)
			if one.proto != "HTTP/1.1" || two.proto != "HTTP/2.0" {
				t.Fatalf("protocols are %s and %s", one.proto, two.proto)
			}
			if one.fingerprint() != two.fingerprint() {
				t.Errorf("they differ:\n%s\n%s", one.fingerprint(), two.fingerprint())
			}
		})
	}
	w.sendBy(t, w.http2, w.tokenRequest()).wantToken(t)
	large := w.tokenRequest("x", strings.Repeat("x", 70<<10))
	w.sendBy(t, w.http2, large).wantError(t, http.StatusBadRequest, "invalid_request")
	double := w.tokenRequest()
	double.header.Add("Authorization", double.header.Get("Authorization"))
	w.sendBy(t, w.http2, double).wantError(t, http.StatusBadRequest, "invalid_request")
}

func testNoH2C(t *testing.T) {
	w := newWorld(t)
	for name, text := range map[string]string{
		"prior knowledge": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
		"upgrade":         "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
	} {
		w.run(name, func(t *testing.T) {
			connection, err := net.Dial("tcp", w.opsAddress)
			if err != nil {
				t.Fatal(err)
			}
			defer connection.Close()
			connection.SetDeadline(time.Now().Add(5 * time.Second))
			fmt.Fprint(connection, text)
			response := make([]byte, 1024)
			n, _ := connection.Read(response)
			if got := string(response[:n]); !strings.HasPrefix(got, "HTTP/1.") || strings.Contains(got, " 101 ") {
				t.Errorf("got %q", got)
			}
		})
	}
}

func testBodyLimit(t *testing.T) {
	w := newWorld(t)
	base := w.tokenRequest("x", "")
	fits := w.tokenRequest("x", strings.Repeat("x", 64<<10-len(base.body)))
	w.send(fits).wantToken(t)
	large := w.tokenRequest("x", strings.Repeat("x", 64<<10-len(base.body)+1))
	chunked := large
	chunked.body = fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(large.body), large.body)
	endless := large
	endless.body = "10000000\r\n" + strings.Repeat("x", 1<<20)
	huge := strings.Replace(large.text(), "Content-Length: ", "Content-Length: 9", 1)
	for name, text := range map[string]string{
		"length":           large.text(),
		"false length":     huge,
		"expect":           strings.Replace(huge, "\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n", 1),
		"chunked":          chunked.text("Transfer-Encoding: chunked"),
		"chunked for ever": endless.text("Transfer-Encoding: chunked"),
	} {
		w.run(name, func(t *testing.T) {
			a, closed := w.rawUntilClosed("POST", text)
			a.wantError(t, http.StatusBadRequest, "invalid_request")
			if !closed || !a.last {
				t.Errorf("closed: %t, announced: %t", closed, a.last)
			}
		})
	}
	small := w.tokenRequest()
	small.body = fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(small.body), small.body)
	a, closed := w.rawUntilClosed("POST", small.text("Transfer-Encoding: chunked"))
	a.wantToken(t)
	if !closed || !a.last { // a Content-Length may have stood beside it
		t.Error("a chunked request does not end the connection")
	}
	if a, closed := w.rawUntilClosed("POST", w.tokenRequest().text()); closed || a.last {
		t.Error("a good request ends the connection")
	}
}

func testParameterLimit(t *testing.T) {
	w := newWorld(t)
	fits := w.tokenRequest()
	for range 62 {
		fits = fits.add("x", "y")
	}
	w.send(fits).wantToken(t)
	w.send(fits.add("x", "y")).wantError(t, http.StatusBadRequest, "invalid_request")
}

func testHeaderLimit(t *testing.T) {
	w := newWorld(t)
	fits := w.tokenRequest().with("X-Large", strings.Repeat("x", 15<<10))
	large := w.tokenRequest().with("X-Large", strings.Repeat("x", 16<<10))
	w.sendBy(t, w.http1, fits).wantToken(t)
	w.sendBy(t, w.http2, fits).wantToken(t) // Go's client does not even try the large one: the server announces its limit
	w.sendBy(t, w.http1, large).wantError(t, http.StatusRequestHeaderFieldsTooLarge, "invalid_request")
	huge := w.raw("POST", w.tokenRequest().with("X-Large", strings.Repeat("x", 30<<10)).text())
	if huge.status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d", huge.status)
	}
}

func testSlowHeader(t *testing.T) {
	w := newWorld(t)
	connection := w.dial()
	fmt.Fprint(connection, "POST /oauth2/token HTTP/1.1\r\nHost: x\r\nX-Slow: ")
	started := time.Now()
	if n, err := connection.Read(make([]byte, 1)); n > 0 || isTimeout(err) || time.Since(started) > 8*time.Second {
		t.Errorf("after %s: %d bytes, %v", time.Since(started), n, err)
	}
}

func testMalformedBody(t *testing.T) {
	w := newWorld(t)
	for _, tail := range []string{"x=%zz", "%", "x=%4", "a=1;b=2", "scope=a;client_id=b"} {
		w.run(tail, func(t *testing.T) {
			r := w.tokenRequest()
			r.body += "&" + tail
			w.send(r).wantError(t, http.StatusBadRequest, "invalid_request")
		})
	}
	for _, body := range []string{"", "&&&", "{}", "\x00\x01", strings.Repeat("=", 1000)} {
		w.run("body "+body[:min(len(body), 5)], func(t *testing.T) {
			r := w.tokenRequest()
			r.body = body
			w.send(r).wantError(t, http.StatusBadRequest, "invalid_request")
		})
	}
}
