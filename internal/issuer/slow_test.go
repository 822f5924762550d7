package issuer

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// patience is the timeout that a test is about. The others are too long to be what ends the connection.
const patience = 2 * time.Second

// impatient is a server with timeouts of one kind.
func impatient(t *testing.T, change func(*http.Server)) running {
	return start(t, func(s *Server) { onlyTimeout(s, change) })
}

func onlyTimeout(s *Server, change func(*http.Server)) {
	for _, server := range []*http.Server{s.public, s.ops} {
		server.ReadHeaderTimeout, server.ReadTimeout, server.WriteTimeout, server.IdleTimeout = time.Hour, time.Hour, time.Hour, time.Hour
		change(server)
	}
}

func TestTimeouts(t *testing.T) {
	s := newServer(0)
	for name, server := range map[string]*http.Server{"public": s.public, "ops": s.ops} {
		got := []time.Duration{server.ReadHeaderTimeout, server.ReadTimeout, server.WriteTimeout, server.IdleTimeout}
		for i, want := range []time.Duration{headerTimeout, readTimeout, writeTimeout, idleTimeout} {
			if got[i] != want {
				t.Errorf("%s: timeout %d is %s, want %s", name, i, got[i], want)
			}
		}
	}
}

func TestSlowHandshake(t *testing.T) {
	t.Parallel()
	r := impatient(t, func(s *http.Server) { s.ReadHeaderTimeout = patience })
	connection := r.dial("127.0.0.1")
	fmt.Fprint(connection, "\x16\x03\x01") // a ClientHello begins so
	wantClosed(t, connection)
}

func TestSlowHeader(t *testing.T) {
	t.Parallel()
	r := impatient(t, func(s *http.Server) { s.ReadHeaderTimeout = patience })
	connection := r.secure(r.dial("127.0.0.1"), "http/1.1")
	fmt.Fprint(connection, "POST /oauth2/token HTTP/1.1\r\nHost: x\r\nX-Slow: ")
	wantClosed(t, connection)
	// Also the header of the next request.
	connection = r.idle("127.0.0.1")
	fmt.Fprint(connection, "POST /oauth2/token HTTP/1.1\r\n")
	wantClosed(t, connection)
}

func TestIdle(t *testing.T) {
	t.Parallel()
	r := impatient(t, func(s *http.Server) { s.IdleTimeout = patience })
	wantClosed(t, r.idle("127.0.0.1"))
	connection := r.secure(r.dial("127.0.0.1"), "h2")
	fmt.Fprint(connection, http2Preface)
	wantClosed(t, connection)
}

func TestSlowBody(t *testing.T) {
	t.Parallel()
	r := impatient(t, func(s *http.Server) { s.ReadTimeout = patience })
	connection := r.secure(r.dial("127.0.0.1"), "http/1.1")
	fmt.Fprint(connection, "POST /oauth2/token HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n"+
		"Content-Type: application/x-www-form-urlencoded\r\n\r\ngrant_type=")
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusBadRequest || !response.Close || !strings.Contains(string(body), "could not be read") {
		t.Errorf("%d, closing: %t, %s, %v", response.StatusCode, response.Close, body, err)
	}
	wantClosed(t, connection)
	r.await("the end", func() bool { return r.requests.count() == 0 })
}

func TestSlowBodyHTTP2(t *testing.T) {
	t.Parallel()
	r := impatient(t, func(s *http.Server) { s.ReadTimeout = patience })
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}}
	defer client.CloseIdleConnections()
	reader, writer := io.Pipe()
	defer writer.Close()
	response, err := client.Post("https://"+r.address+"/oauth2/token", typeForm, reader)
	if err == nil {
		response.Body.Close()
		if response.ProtoMajor != 2 || response.StatusCode != http.StatusBadRequest {
			t.Errorf("%s %d", response.Proto, response.StatusCode)
		}
	}
	r.await("the end", func() bool { return r.requests.count() == 0 })
}

// TestSlowReader never reads an answer, over a connection that holds nothing on the way.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	pipes := pipeListener{connections: make(chan net.Conn), closed: make(chan struct{})}
	r := startOn(t, pipes, func(s *Server) { onlyTimeout(s, func(s *http.Server) { s.WriteTimeout = patience }) })
	r.maxTLS = tls.VersionTLS12 // whose server has nothing more to say after the handshake
	near, far := net.Pipe()
	defer near.Close()
	pipes.connections <- far
	fmt.Fprint(r.secure(near, "http/1.1"), "GET /oauth2/jwks HTTP/1.1\r\nHost: x\r\n\r\n")
	r.await("the end", func() bool { return r.publicConnections.places.count() == 0 && r.requests.count() == 0 })
}

// pipeListener accepts the ends of pipes.
type pipeListener struct {
	connections chan net.Conn
	closed      chan struct{}
}

func (l pipeListener) Accept() (net.Conn, error) {
	select {
	case connection := <-l.connections:
		return connection, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l pipeListener) Close() error   { close(l.closed); return nil }
func (l pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }

// http2Preface opens a connection (RFC 9113 section 3.4), with empty settings.
const http2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"

// TestStreams checks that the server announces how many streams a connection may have.
func TestStreams(t *testing.T) {
	r := start(t, func(*Server) {})
	connection := r.secure(r.dial("127.0.0.1"), "h2")
	fmt.Fprint(connection, http2Preface)
	settings := map[uint16]uint32{}
	reader := bufio.NewReader(connection)
	header := make([]byte, 9)
	if _, err := io.ReadFull(reader, header); err != nil || header[3] != 4 {
		t.Fatalf("no SETTINGS: %x, %v", header, err)
	}
	for range int(header[2]) / 6 {
		var setting [6]byte
		if _, err := io.ReadFull(reader, setting[:]); err != nil {
			t.Fatal(err)
		}
		settings[uint16(setting[0])<<8|uint16(setting[1])] = uint32(setting[2])<<24 | uint32(setting[3])<<16 | uint32(setting[4])<<8 | uint32(setting[5])
	}
	const maxConcurrentStreams, maxHeaderListSize = 3, 6
	if settings[maxConcurrentStreams] != 100 || settings[maxHeaderListSize] < maxHeader || settings[maxHeaderListSize] > 2*maxHeader {
		t.Errorf("settings %v", settings)
	}
}
