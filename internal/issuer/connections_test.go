package issuer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestQuota(t *testing.T) {
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	q := newQuota(4, 2)
	for i, step := range []struct {
		source netip.Addr
		want   bool
	}{{a, true}, {a, true}, {a, false}, {b, true}, {netip.Addr{}, true}, {b, false}, {netip.Addr{}, false}} {
		if got := q.take(step.source); got != step.want {
			t.Errorf("step %d: %t", i, got)
		}
	}
	if !q.spent(a) || q.spent(b) || q.spent(netip.Addr{}) || q.count() != 4 {
		t.Errorf("it has lost count: %+v", q.bySource)
	}
	for _, source := range []netip.Addr{a, a, b, {}} {
		q.giveBack(source)
	}
	if q.count() != 0 || len(q.bySource) != 0 {
		t.Errorf("it still knows %d, %v", q.count(), q.bySource)
	}
}

// running is a server with whatever limits a test wants.
type running struct {
	*Server
	t              *testing.T
	address, opsAt string
	maxTLS         uint16 // of clients; zero: the newest
}

// start serves, after change has seen the server.
func start(t *testing.T, change func(*Server)) running { return startOn(t, listen(t), change) }

func startOn(t *testing.T, public net.Listener, change func(*Server)) running {
	t.Helper()
	s := newServer(0)
	furnish(t, s, func(string) {})
	change(s)
	ops := listen(t)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, public, ops) }()
	t.Cleanup(func() {
		stop()
		<-done
	})
	return running{Server: s, t: t, address: public.Addr().String(), opsAt: ops.Addr().String()}
}

// dial connects from an address of this machine, without TLS yet.
func (r running) dial(from string) net.Conn {
	r.t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 10 * time.Second}
	connection, err := dialer.Dial("tcp", r.address)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { connection.Close() })
	if err := connection.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		r.t.Fatal(err)
	}
	return connection
}

// secure speaks TLS on a connection.
func (r running) secure(connection net.Conn, protocol string) *tls.Conn {
	r.t.Helper()
	client := tls.Client(connection, &tls.Config{InsecureSkipVerify: true, MaxVersion: r.maxTLS, NextProtos: []string{protocol}})
	if err := client.Handshake(); err != nil {
		r.t.Fatal(err)
	}
	return client
}

// idle is a connection that has been answered, and waits.
func (r running) idle(from string) *tls.Conn {
	r.t.Helper()
	connection := r.secure(r.dial(from), "http/1.1")
	if status := exchange(r.t, connection); status != http.StatusOK {
		r.t.Fatalf("status %d", status)
	}
	r.await("the end of the request", func() bool { return r.waits(connection) })
	return connection
}

// busy is a connection whose request is being answered.
func (r running) busy(from string) *tls.Conn {
	r.t.Helper()
	before := r.requests.count()
	connection := r.secure(r.dial(from), "http/1.1")
	fmt.Fprint(connection, "POST /oauth2/token HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
	r.await("the request", func() bool { return r.requests.count() == before+1 })
	return connection
}

// exchange asks on a connection and reads the answer.
func exchange(t *testing.T, connection net.Conn) int {
	t.Helper()
	fmt.Fprint(connection, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
	answer := make([]byte, 512)
	n, err := connection.Read(answer)
	var status int
	if _, scanErr := fmt.Sscanf(string(answer[:n]), "HTTP/1.1 %d", &status); scanErr != nil {
		t.Fatalf("%q, %v", answer[:n], err)
	}
	return status
}

func (r running) await(what string, condition func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("%s does not come", what)
		}
	}
}

// wantClosed waits until the server has closed a connection.
func wantClosed(t *testing.T, connection net.Conn) {
	t.Helper()
	if _, err := io.Copy(io.Discard, connection); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("it is not closed")
	}
}

func TestLongestWaitingMakesRoom(t *testing.T) {
	r := start(t, func(s *Server) { s.publicConnections.places.all = 4 })
	busy := r.busy("127.0.0.1")
	silent := r.dial("127.0.0.2") // not even TLS
	r.await("the silent one", func() bool { return r.publicConnections.places.count() == 2 })
	first, second := r.idle("127.0.0.1"), r.idle("127.0.0.1")
	third := r.idle("127.0.0.3")
	wantClosed(t, silent)
	if exchange(t, first) != http.StatusOK { // so that the second waits longer now
		t.Error("it makes too much room")
	}
	r.await("the first to wait", func() bool { return r.waits(first) })
	fourth := r.idle("127.0.0.1")
	wantClosed(t, second)
	for _, connection := range []*tls.Conn{first, third, fourth} {
		if connection != first && exchange(t, connection) != http.StatusOK {
			t.Error("a connection is closed that need not be")
		}
	}
	fmt.Fprint(busy, "grant_type")
	if n, err := busy.Read(make([]byte, 1)); n != 1 {
		t.Errorf("a request is cut off: %v", err)
	}
	if got := r.publicConnections.places.count(); got != 4 {
		t.Errorf("%d connections", got)
	}
}

// waits says whether the server waits for a request on a client's connection.
func (r running) waits(client net.Conn) bool {
	return slices.ContainsFunc(r.waiting(), func(c *connection) bool { return c.RemoteAddr().String() == client.LocalAddr().String() })
}

// waiting are the connections that wait for a request.
func (r running) waiting() (waiting []*connection) {
	c := r.publicConnections
	c.mu.Lock()
	defer c.mu.Unlock()
	for e := c.all.Front(); e != nil; e = e.Next() {
		if x := e.Value.(*connection); x.waits {
			waiting = append(waiting, x)
		}
	}
	return waiting
}

func TestNoRoom(t *testing.T) {
	r := start(t, func(s *Server) { s.publicConnections.places.all = 2 })
	one, two := r.busy("127.0.0.1"), r.busy("127.0.0.2")
	wantClosed(t, r.dial("127.0.0.3"))
	one.Close()
	r.await("a place", func() bool { return r.publicConnections.places.count() == 1 })
	r.idle("127.0.0.3")
	two.Close()
}

func TestOneSourceDoesNotTakeAll(t *testing.T) {
	r := start(t, func(s *Server) { s.publicConnections.places.all, s.publicConnections.places.perSource = 4, 2 })
	other := r.idle("127.0.0.2")
	one := r.busy("127.0.0.1")
	two := r.idle("127.0.0.1")
	three := r.busy("127.0.0.1") // has the second make room, though the other source's waits longer
	wantClosed(t, two)
	wantClosed(t, r.dial("127.0.0.1"))
	if exchange(t, other) != http.StatusOK {
		t.Error("one source pushes out another")
	}
	one.Close()
	three.Close()
	r.await("the places", func() bool { return r.publicConnections.places.count() == 1 })
}

func TestProxiesMayTakeAll(t *testing.T) {
	r := start(t, func(s *Server) {
		s.publicConnections.places.all, s.publicConnections.places.perSource = 4, 1
		s.publicConnections.exempt = func(a netip.Addr) bool { return a == netip.MustParseAddr("127.0.0.1") }
	})
	for range 4 {
		defer r.busy("127.0.0.1").Close()
	}
	wantClosed(t, r.dial("127.0.0.2"))
}

// TestHTTP2ConnectionsWait checks that it is known of them too whether they are used.
func TestHTTP2ConnectionsWait(t *testing.T) {
	r := start(t, func(s *Server) { s.publicConnections.places.all = 1 })
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true,
	}}
	reader, writer := io.Pipe()
	answered := make(chan int, 1)
	go func() {
		response, err := client.Post("https://"+r.address+"/oauth2/token", "application/x-www-form-urlencoded", reader)
		if err != nil {
			answered <- 0
			return
		}
		response.Body.Close()
		answered <- response.ProtoMajor*1000 + response.StatusCode
	}()
	r.await("the request", func() bool { return r.requests.count() == 1 })
	wantClosed(t, r.dial("127.0.0.2"))
	writer.Close()
	if got := <-answered; got != 2401 {
		t.Errorf("got %d", got)
	}
	r.await("the end of the request", func() bool { return len(r.waiting()) == 1 })
	r.idle("127.0.0.2")
	client.CloseIdleConnections()
}

func TestRequestQuota(t *testing.T) {
	r := start(t, func(s *Server) { s.requests.all, s.requests.perSource = 3, 2 })
	one, two := r.busy("127.0.0.1"), r.busy("127.0.0.1")
	if status := exchange(t, r.secure(r.dial("127.0.0.1"), "http/1.1")); status != http.StatusServiceUnavailable {
		t.Errorf("a third one of the same source: %d", status)
	}
	three := r.busy("127.0.0.2")
	refused := r.secure(r.dial("127.0.0.3"), "http/1.1")
	if status := exchange(t, refused); status != http.StatusServiceUnavailable {
		t.Errorf("a fourth one: %d", status)
	}
	wantClosed(t, refused)
	if w := ask(r.serveOps, "GET", "/metrics"); !strings.Contains(w.Body.String(), "m2m_issuer_requests_in_progress 3\n") ||
		!strings.Contains(w.Body.String(), "m2m_issuer_open_connections") {
		t.Error("the load is not told")
	}
	if w := ask(r.serveOps, "GET", "/readyz"); w.Code != http.StatusOK {
		t.Errorf("the operations port is busy too: %d", w.Code)
	}
	for _, connection := range []*tls.Conn{one, two, three} {
		connection.Close()
	}
	r.await("the places", func() bool { return r.requests.count() == 0 })
	r.idle("127.0.0.1")
}

func TestOpsConnectionsAreBounded(t *testing.T) {
	r := start(t, func(*Server) {})
	r.address = r.opsAt
	first := r.dial("127.0.0.1")
	r.await("the first", func() bool { return r.opsConnections.places.count() == 1 })
	for range maxOpsConnections {
		r.dial("127.0.0.1")
	}
	wantClosed(t, first)
	if got := r.opsConnections.places.count(); got > maxOpsConnections {
		t.Errorf("%d connections", got)
	}
}

func TestConnectionsAreForgotten(t *testing.T) {
	r := start(t, func(*Server) {})
	for range 3 {
		connection := r.idle("127.0.0.1")
		connection.Close()
		r.dial("127.0.0.2").Close()
	}
	r.await("the end", func() bool {
		c := r.publicConnections
		c.mu.Lock()
		defer c.mu.Unlock()
		c.places.mu.Lock()
		defer c.places.mu.Unlock()
		return c.all.Len() == 0 && c.places.taken == 0 && len(c.places.bySource) == 0
	})
}
