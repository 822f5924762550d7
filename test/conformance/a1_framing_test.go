package conformance

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

var framing = []statement{
	{"T-12", "ends_of_requests_are_never_in_doubt", testFraming},
	{"T-12", "malformed_headers", testMalformedHeaders},
	{"T-12", "versions", testVersions},
	{"T-12", "refused_requests_leave_nothing_behind", testUnreadBodies},
	{"T-12", "expect", testExpect},
	{"T-12", "no_h2c_on_the_TLS_port", testNoH2COnTLSPort},
	{"T-12", "assertion_limit", testAssertionLimit},
	{"T-5", "connect", testConnect},
}

const (
	// formPost is the header of a token request up to what says how long its body is. It has no credentials: 401.
	formPost = "POST /oauth2/token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
	formBody = "grant_type=client_credentials" // 29 bytes, 1d in chunks
	chunked  = "Transfer-Encoding: chunked\r\n"
	chunks   = "1d\r\n" + formBody + "\r\n0\r\n\r\n"
	// follower is answered by 200 where the server takes it for a request.
	follower = "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
)

// hostile are bytes, and the statuses of all that is answered to them before the server closes the connection.
type hostile struct {
	name, text string
	want       []int
}

func (w *world) runHostile(cases []hostile) {
	w.t.Helper()
	for _, c := range cases {
		w.run(c.name, func(t *testing.T) {
			if got := w.statuses(c.text); !slices.Equal(got, c.want) {
				t.Errorf("answered by %v, want %v", got, c.want)
			}
		})
	}
}

// statuses sends bytes and reads all answers.
func (w *world) statuses(text string) []int {
	w.t.Helper()
	connection := w.dial()
	go connection.Write([]byte(text)) // the answers may come before all is sent
	var out []int
	for reader := bufio.NewReader(connection); ; {
		response, err := http.ReadResponse(reader, nil)
		if isTimeout(err) {
			w.t.Fatalf("after %v the connection stays open", out)
		} else if err != nil {
			return out
		}
		out = append(out, read(w.t, response, nil).status)
	}
}

func testFraming(t *testing.T) {
	w := newWorld(t)
	length := func(field string) string { return formPost + field + "\r\n\r\n" + formBody + follower }
	encoded := func(field string) string { return formPost + field + "\r\n\r\n" + chunks + follower }
	chunk := func(text string) string { return formPost + chunked + "\r\n" + text + "\r\n0\r\n\r\n" + follower }
	w.runHostile([]hostile{
		{"two good ones", length("Content-Length: 29"), []int{401, 200}},
		{"two equal lengths", length("Content-Length: 29\r\nContent-Length: 29"), []int{401, 200}},
		{"folded length", length("Content-Length:\r\n 29"), []int{401, 200}},
		{"another name", length("Content_Length: 0\r\nContent-Length: 29"), []int{401, 200}},
		{"two lengths", length("Content-Length: 29\r\nContent-Length: 0"), []int{400}},
		{"list of lengths", length("Content-Length: 29, 29"), []int{400}},
		{"negative length", length("Content-Length: -1"), []int{400}},
		{"signed length", length("Content-Length: +29"), []int{400}},
		{"hexadecimal length", length("Content-Length: 0x1d"), []int{400}},
		{"length of 2^63", length("Content-Length: 9223372036854775808"), []int{400}},
		{"length of 2^64", length("Content-Length: 18446744073709551645"), []int{400}},
		{"no length", length("Content-Length: "), []int{400}},
		{"space before the colon", length("Content-Length : 29"), []int{400}},
		{"vertical tab", length("Content-Length:\x0b29"), []int{400}},

		{"chunked", encoded("Transfer-Encoding: chunked"), []int{401}},
		{"chunked, with its length", encoded("Content-Length: 39\r\nTransfer-Encoding: chunked"), []int{401}},
		{"chunked, and shorter", encoded("Content-Length: 4\r\nTransfer-Encoding: chunked"), []int{401}},
		{"chunked, and shorter, after it", encoded("Transfer-Encoding: chunked\r\nContent-Length: 4"), []int{401}},
		{"CHUNKED", encoded("Transfer-Encoding: CHUNKED"), []int{401}},
		{"folded", encoded("Transfer-Encoding:\r\n chunked"), []int{401}},
		{"chunked twice", encoded("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), []int{501}},
		{"chunked and identity", encoded("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"), []int{501}},
		{"gzip, chunked", encoded("Transfer-Encoding: gzip, chunked"), []int{501}},
		{"xchunked", encoded("Transfer-Encoding: xchunked"), []int{501}},
		{"quoted", encoded(`Transfer-Encoding: "chunked"`), []int{501}},
		{"identity", length("Transfer-Encoding: identity\r\nContent-Length: 29"), []int{501}},
		{"empty encoding", length("Transfer-Encoding: \r\nContent-Length: 29"), []int{501}},
		{"chunked behind a vertical tab", encoded("Transfer-Encoding: \x0bchunked"), []int{400}},

		{"chunk with an extension", chunk("1d;a=b\r\n" + formBody), []int{401}},
		{"trailer", formPost + chunked + "\r\n1d\r\n" + formBody + "\r\n0\r\nContent-Length: 5\r\n\r\n" + follower, []int{401}},
		{"size of no number", chunk("zz\r\n" + formBody), []int{400}},
		{"negative size", chunk("-1d\r\n" + formBody), []int{400}},
		{"signed size", chunk("+1d\r\n" + formBody), []int{400}},
		{"size with 0x", chunk("0x1d\r\n" + formBody), []int{400}},
		{"size of 2^64", chunk("1000000000000001d\r\n" + formBody), []int{400}},
		{"no size", chunk("\r\n" + formBody), []int{400}},
		{"size too small", chunk("1c\r\n" + formBody), []int{400}},
		{"size too large", chunk("1e\r\n" + formBody), []int{400}},
		{"chunks in lines of LF", formPost + chunked + "\r\n1d\n" + formBody + "\n0\n\n" + follower, []int{400}},
		{"LF in an extension", chunk("1d;a\nb\r\n" + formBody), []int{400}},
	})
	endless := formPost + chunked + "\r\n1d;" + strings.Repeat("x", 64<<10) + "\r\n" + formBody + "\r\n0\r\n\r\n" + follower
	if got := w.statuses(endless); slices.Contains(got, http.StatusOK) || slices.Contains(got, http.StatusUnauthorized) {
		t.Errorf("an endless extension is answered by %v", got)
	}
}

func testMalformedHeaders(t *testing.T) {
	w := newWorld(t)
	with := func(lines string) string {
		return formPost + lines + "\r\nContent-Length: 29\r\n\r\n" + formBody + follower
	}
	get := func(line string) string { return "GET /livez HTTP/1.1\r\n" + line + "\r\n" + follower }
	w.runHostile([]hostile{
		{"folded", with("X-A: b\r\n c"), []int{401, 200}},
		{"blank line before", "\r\n" + get("Host: x\r\n"), []int{400}},
		{"NUL in a value", with("X-A: a\x00b"), []int{400}},
		{"NUL in a name", with("X\x00A: b"), []int{400}},
		{"CR in a value", with("X-A: a\rb"), []int{400}},
		{"no colon", with("X-A"), []int{400}},
		{"no name", with(": x"), []int{400}},
		{"space in a name", with("X A: b"), []int{400}},
		{"folded at once", "GET /livez HTTP/1.1\r\n X: y\r\nHost: x\r\n\r\n" + follower, []int{400}},
		{"CR only", "GET /livez HTTP/1.1\rHost: x\r\r" + follower, []int{400}},
		{"LF only", strings.ReplaceAll(get("Host: x\r\n"), "\r\n", "\n"), []int{200, 200}},
		{"no request", "\x00\x01\x02\r\n\r\n" + follower, []int{400}},
		{"TLS in TLS", "\x16\x03\x01\x02\x00\r\n\r\n" + follower, []int{400}},
		{"space in the target", "GET /livez x HTTP/1.1\r\nHost: x\r\n\r\n" + follower, []int{400}},

		{"absolute target", "GET https://evil.example.com/livez HTTP/1.1\r\nHost: x\r\n\r\n" + follower, []int{200, 200}},
		{"absolute target, elsewhere", "GET https://evil.example.com/x HTTP/1.1\r\nHost: x\r\n\r\n" + follower, []int{404, 200}},
		{"no host", get(""), []int{400}},
		{"two hosts", get("Host: x\r\nHost: x\r\n"), []int{400}},
		{"empty host", get("Host:\r\n"), []int{200, 200}},
		{"host with a space", get("Host: a b\r\n"), []int{400}},
		{"host with a user", get("Host: a/b@c\r\n"), []int{400}},
		{"host with markup", get("Host: <script>\r\n"), []int{400}},
		{"host with a quote", get("Host: a\"b\r\n"), []int{400}},
	})
	// A host that may be one changes nothing (M-7 has the metadata).
	want := w.send(w.tokenRequest().bare()).fingerprint()
	for _, host := range []string{"evil.example.com", "evil.example.com:99999", "127.0.0.1", "[::1]", "a,b", "x;y", "'"} {
		text := strings.Replace(w.tokenRequest().bare().text(), "Host: tokens.example.com", "Host: "+host, 1)
		if got := w.raw("POST", text).fingerprint(); got != want {
			t.Errorf("host %s: %s", host, got)
		}
	}
}

func testVersions(t *testing.T) {
	w := newWorld(t)
	get := func(version string) string { return "GET /livez " + version + "\r\nHost: x\r\n\r\n" + follower }
	upgrade := "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
	w.runHostile([]hostile{
		{"1.1", get("HTTP/1.1"), []int{200, 200}},
		{"1.0", get("HTTP/1.0"), []int{200}},
		{"1.0, kept alive", strings.Replace(get("HTTP/1.0"), "Host: x", "Connection: keep-alive", 1), []int{200}},
		{"1.0, chunked", strings.Replace(formPost, "1.1", "1.0", 1) + "Connection: keep-alive\r\n" + chunked + "\r\n" + follower, []int{401}},
		{"0.9", "GET /livez\r\n" + follower, []int{400}},
		{"2.0", get("HTTP/2.0"), []int{505}},
		{"3.0", get("HTTP/3.0"), []int{505}},
		{"no version", get("HTTP/x"), []int{400}},
		{"prior knowledge", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + follower, []int{404}},
		{"upgrade", "GET /livez HTTP/1.1\r\nHost: x\r\n" + upgrade + follower, []int{200, 200}},
	})
}

// testUnreadBodies hides a request in the body of one that is refused without a look at its body.
func testUnreadBodies(t *testing.T) {
	w := newWorld(t)
	ask := func(method, target string) string {
		return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", method, target, len(follower), follower) + follower
	}
	large := strings.Repeat("x", 300<<10) // more than net/http reads for the sake of a connection
	cases := []hostile{
		{"no such endpoint", ask("POST", "/x"), []int{404}},
		{"wrong method", ask("PUT", tokenPath), []int{405}},
		{"TRACE", ask("TRACE", tokenPath), []int{405}},
		{"GET", ask("GET", jwksPath), []int{200}},
		{"health", ask("GET", "/livez"), []int{200}},
		{"too large", fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", formPost, len(large), large) + follower, []int{400}},
		{"no body", "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n" + follower, []int{404, 200}},
	}
	w.runHostile(cases)
	w.state.SetSynced(func() bool { return false })
	w.runHostile([]hostile{{"not ready", ask("POST", tokenPath), []int{503}}})
}

func testExpect(t *testing.T) {
	w := newWorld(t)
	expect := func(head, expectation string) string {
		return head + "Expect: " + expectation + "\r\nContent-Length: 29\r\n\r\n" + formBody + follower
	}
	w.runHostile([]hostile{
		{"a token", expect(formPost, "100-continue"), []int{100, 401, 200}},
		{"no such endpoint", expect("POST /x HTTP/1.1\r\nHost: x\r\n", "100-continue"), []int{404}},
		{"wrong method", expect("PUT /oauth2/token HTTP/1.1\r\nHost: x\r\n", "100-continue"), []int{405}},
		{"something else", expect(formPost, "x"), []int{417}},
	})
}

// testNoH2COnTLSPort speaks HTTP/2 where TLS is spoken. testNoH2C has the operations port.
func testNoH2COnTLSPort(t *testing.T) {
	w := newWorld(t)
	connection, err := net.Dial("tcp", w.address)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	connection.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprint(connection, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
	const settings = "\x04" // the type of the first frame that a server sends
	response := make([]byte, 1024)
	n, err := connection.Read(response)
	if isTimeout(err) || (n > 3 && string(response[3:4]) == settings) {
		t.Errorf("got %q, %v", response[:n], err)
	}
}

func testAssertionLimit(t *testing.T) {
	w := newWorld(t)
	for _, length := range []int{16 << 10, 16<<10 + 1, 60 << 10} {
		r := w.tokenRequest("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
			"client_assertion", strings.Repeat("x", length)).bare()
		w.send(r).wantError(t, http.StatusUnauthorized, "invalid_client")
	}
}

func testConnect(t *testing.T) {
	w := newWorld(t)
	w.runHostile([]hostile{
		{"a host", "CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n" + follower, []int{404, 200}},
		{"the token endpoint", "CONNECT /oauth2/token HTTP/1.1\r\nHost: x\r\n\r\n" + follower, []int{405, 200}},
		{"everything", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n" + follower, []int{404, 200}},
		{"nothing", "GET * HTTP/1.1\r\nHost: x\r\n\r\n" + follower, []int{404, 200}},
	})
}
