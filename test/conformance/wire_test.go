package conformance

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// answer is a response, read to its end.
type answer struct {
	proto  string
	status int
	header http.Header
	body   string
	last   bool // on its connection
}

func read(t *testing.T, response *http.Response, err error) answer {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	canaries.Got("the errors answered in "+t.Name(), response.StatusCode, response.Header, string(body))
	return answer{proto: response.Proto, status: response.StatusCode, header: response.Header, body: string(body), last: response.Close}
}

// fields is the answer's JSON object.
func (a answer) fields(t *testing.T) map[string]any {
	t.Helper()
	var out map[string]any
	if err := json.Unmarshal([]byte(a.body), &out); err != nil {
		t.Fatalf("%d %q is not a JSON object: %v", a.status, a.body, err)
	}
	return out
}

// fingerprint is everything that tells two answers apart, but for the date.
func (a answer) fingerprint() string {
	var out strings.Builder
	fmt.Fprintln(&out, a.status)
	for _, name := range slices.Sorted(maps.Keys(a.header)) {
		if name != "Date" {
			fmt.Fprintln(&out, name, a.header[name])
		}
	}
	return out.String() + a.body
}

// wantError checks that an answer is an OAuth error in every respect.
func (a answer) wantError(t *testing.T, status int, code string) {
	t.Helper()
	if a.status != status {
		t.Errorf("status %d %s, want %d %s", a.status, a.body, status, code)
		return
	}
	fields := a.fields(t)
	if fields["error"] != code {
		t.Errorf("error %v, want %q", fields, code)
	}
	if fields["access_token"] != nil {
		t.Error("an error carries a token")
	}
	a.wantPrivate(t)
	if (status == http.StatusUnauthorized) != (a.header.Get("WWW-Authenticate") != "") {
		t.Errorf("status %d with WWW-Authenticate %q", status, a.header.Get("WWW-Authenticate"))
	}
}

// wantPrivate checks that an answer is JSON that nobody keeps.
func (a answer) wantPrivate(t *testing.T) {
	t.Helper()
	for name, want := range map[string]string{"Content-Type": "application/json", "Cache-Control": "no-store", "Pragma": "no-cache"} {
		if got := a.header.Values(name); !slices.Equal(got, []string{want}) {
			t.Errorf("%s %q, want %q", name, got, want)
		}
	}
}

// wantToken returns the answer of a successful token request.
func (a answer) wantToken(t *testing.T) map[string]any {
	t.Helper()
	if a.status != http.StatusOK {
		t.Fatalf("status %d %s, want a token", a.status, a.body)
	}
	fields := a.fields(t)
	if fields["access_token"] == nil || fields["access_token"] == "" {
		t.Fatalf("no token in %s", a.body)
	}
	a.wantPrivate(t)
	return fields
}

func (w *world) newClient(http2 bool) *http.Client {
	protocols := &http.Protocols{}
	protocols.SetHTTP1(!http2)
	protocols.SetHTTP2(http2)
	return &http.Client{
		Transport: &http.Transport{
			Protocols: protocols, DisableCompression: true, Proxy: nil,
			TLSClientConfig: &tls.Config{RootCAs: w.roots},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       10 * time.Second,
	}
}

// request is an HTTP request that is easy to change.
type request struct {
	method, target string
	header         http.Header
	body           string
}

// tokenRequest is a good one: change it to make it bad. Pairs of parameters are added to the body.
func (w *world) tokenRequest(pairs ...string) request {
	return w.requestOf(publisher, append([]string{"grant_type", "client_credentials", "audience", courses}, pairs...)...)
}

// requestOf is a token request of a client, by HTTP Basic, with exactly these parameters.
func (w *world) requestOf(clientID string, pairs ...string) request {
	r := request{method: "POST", target: tokenPath, header: http.Header{}, body: encode(pairs...)}
	r.header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.header.Set("Authorization", basic(clientID, w.secrets[clientID]))
	return r
}

// bare takes the credentials out of the header.
func (r request) bare() request {
	r.header = r.header.Clone()
	r.header.Del("Authorization")
	return r
}

func (r request) with(name, value string) request {
	r.header = r.header.Clone()
	r.header.Set(name, value)
	return r
}

func (r request) add(pairs ...string) request {
	r.body = strings.TrimPrefix(r.body+"&"+encode(pairs...), "&")
	return r
}

// encode keeps the order, and repetition.
func encode(pairs ...string) string {
	var parts []string
	for i := 0; i < len(pairs); i += 2 {
		parts = append(parts, url.QueryEscape(pairs[i])+"="+url.QueryEscape(pairs[i+1]))
	}
	return strings.Join(parts, "&")
}

func basic(clientID, secret string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(clientID)+":"+url.QueryEscape(secret)))
}

func (w *world) send(r request) answer { w.t.Helper(); return w.sendBy(w.t, w.http1, r) }

func (w *world) sendBy(t *testing.T, client *http.Client, r request) answer {
	t.Helper()
	out, err := http.NewRequest(r.method, "https://"+w.address+r.target, strings.NewReader(r.body))
	if err != nil {
		t.Fatal(err)
	}
	out.Header = r.header.Clone()
	canaries.Sent(out)
	response, err := client.Do(out)
	return read(t, response, err)
}

func (w *world) get(target string) answer {
	w.t.Helper()
	return w.send(request{method: "GET", target: target, header: http.Header{}})
}

// ops asks the operations port, without TLS.
func (w *world) ops(target string) answer {
	w.t.Helper()
	response, err := http.Get("http://" + w.opsAddress + target)
	return read(w.t, response, err)
}

func (w *world) dial() *tls.Conn {
	w.t.Helper()
	connection, err := tls.Dial("tcp", w.address, &tls.Config{RootCAs: w.roots, NextProtos: []string{"http/1.1"}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { connection.Close() })
	if err := connection.SetDeadline(time.Now().Add(15 * time.Second)); err != nil {
		w.t.Fatal(err)
	}
	return connection
}

// raw sends bytes as they are and reads one response, to a request of the method.
func (w *world) raw(method, text string) answer {
	w.t.Helper()
	a, _ := w.exchange(method, text)
	return a
}

// rawUntilClosed is raw, and reports whether the server then closes the connection.
func (w *world) rawUntilClosed(method, text string) (a answer, closed bool) {
	w.t.Helper()
	a, connection := w.exchange(method, text)
	if err := connection.SetReadDeadline(time.Now().Add(2 * time.Second)); err != nil {
		w.t.Fatal(err)
	}
	n, err := connection.Read(make([]byte, 1))
	return a, n == 0 && !isTimeout(err)
}

func (w *world) exchange(method, text string) (answer, *tls.Conn) {
	w.t.Helper()
	connection := w.dial()
	go connection.Write([]byte(text)) // the answer may come before all is sent
	response, err := http.ReadResponse(bufio.NewReader(connection), &http.Request{Method: method})
	return read(w.t, response, err), connection
}

func isTimeout(err error) bool {
	timeout, ok := err.(interface{ Timeout() bool })
	return ok && timeout.Timeout()
}

// text is the request as it goes over an HTTP/1.1 wire, with more header lines.
func (r request) text(lines ...string) string {
	var out bytes.Buffer
	fmt.Fprintf(&out, "%s %s HTTP/1.1\r\nHost: tokens.example.com\r\n", r.method, r.target)
	if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "Transfer-Encoding:") }) {
		fmt.Fprintf(&out, "Content-Length: %d\r\n", len(r.body))
	}
	for name, values := range r.header {
		for _, value := range values {
			fmt.Fprintf(&out, "%s: %s\r\n", name, value)
		}
	}
	for _, line := range lines {
		out.WriteString(line + "\r\n")
	}
	return out.String() + "\r\n" + r.body
}
