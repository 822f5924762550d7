package issuer

import (
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

// The frames of RFC 9113 that these tests send.
const (
	frameData        = 0x0
	frameHeaders     = 0x1
	frameResetStream = 0x3
	frameSettings    = 0x4
	flagEndStream    = 0x1
	flagEndHeaders   = 0x4
)

// frame writes one frame.
func frame(t *testing.T, w io.Writer, kind, flags byte, stream uint32, payload []byte) {
	t.Helper()
	header := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind, flags}
	if _, err := w.Write(append(binary.BigEndian.AppendUint32(header, stream), payload...)); err != nil {
		t.Fatal(err)
	}
}

// nextFrame reads one frame, and tells its type.
func nextFrame(r io.Reader) (kind byte, err error) {
	var header [9]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return 0, err
	}
	_, err = io.CopyN(io.Discard, r, int64(header[0])<<16|int64(header[1])<<8|int64(header[2]))
	return header[3], err
}

// get is the header of a request for a path, without compression (RFC 7541).
func get(path string) []byte {
	header := []byte{0x82, 0x87} // :method: GET, :scheme: https
	header = append(header, 0x01, 0x01, 'x', 0x04, byte(len(path)))
	return append(header, path...)
}

// deaf opens a connection of HTTP/2 whose answers nobody takes: no byte of a body fits into its streams.
func (r running) deaf(from string) *tls.Conn {
	r.t.Helper()
	connection := r.secure(r.dial(from), "h2")
	fmt.Fprint(connection, http2Preface[:len(http2Preface)-9])
	const initialWindowSize = 4
	frame(r.t, connection, frameSettings, 0, 0, []byte{0, initialWindowSize, 0, 0, 0, 0})
	return connection
}

// TestUnreadAnswersTakePlaces: an answer that waits to be read is a request in progress, so that a source cannot have more
// of them than of others, nor fill the memory with them.
func TestUnreadAnswersTakePlaces(t *testing.T) {
	r := start(t, func(s *Server) {
		s.requests.all, s.requests.perSource = 8, 3
		s.refusals.all, s.refusals.perSource = 8, 2
	})
	connection := r.deaf("127.0.0.1")
	var refused atomic.Int32
	go func() {
		defer refused.Store(-1)
		for {
			kind, err := nextFrame(connection)
			if err != nil {
				return
			}
			if kind == frameResetStream {
				refused.Add(1)
			}
		}
	}()
	for stream := range uint32(10) {
		frame(t, connection, frameHeaders, flagEndStream|flagEndHeaders, 2*stream+1, get("/oauth2/jwks"))
	}
	r.await("the end of the others", func() bool { return refused.Load() == 5 })
	if requests, refusals := r.requests.count(), r.refusals.count(); requests != 3 || refusals != 2 {
		t.Errorf("%d requests and %d refusals are in progress", requests, refusals)
	}
	if status := exchange(t, r.secure(r.dial("127.0.0.2"), "http/1.1")); status != http.StatusOK {
		t.Errorf("somebody else is answered with %d", status)
	}
	connection.Close()
	r.await("the places", func() bool { return r.requests.count() == 0 && r.refusals.count() == 0 })
}

// TestLargeFrame: a frame of any type is read as a whole before anybody looks at it.
func TestLargeFrame(t *testing.T) {
	const unknown, ping, size = 0xbb, 6, 16 << 10
	r := start(t, func(*Server) {})
	connection := r.secure(r.dial("127.0.0.1"), "h2")
	fmt.Fprint(connection, http2Preface)
	frame(t, connection, unknown, 0, 0, make([]byte, size)) // is ignored (RFC 9113 section 4.1)
	frame(t, connection, ping, 0, 0, []byte("anything"))
	answers := make([]byte, 1<<10)
	for got := ""; !strings.Contains(got, "anything"); {
		n, err := connection.Read(answers)
		if err != nil {
			t.Fatalf("a frame of %d bytes ends the connection: %v", size, err)
		}
		got += string(answers[:n])
	}
	_, _ = connection.Write([]byte{0, size >> 8, 1, unknown, 0, 0, 0, 0, 0}) // and nothing of the frame itself
	wantClosed(t, connection)
}

// TestFalseLengthHTTP2: a body that is longer than its Content-Length ends the stream, whatever else is to come, so that
// nobody reads more than was announced.
func TestFalseLengthHTTP2(t *testing.T) {
	const announced = 9
	for size, want := range map[int]byte{announced: frameHeaders, announced + 1: frameResetStream} {
		r := start(t, func(*Server) {})
		connection := r.secure(r.dial("127.0.0.1"), "h2")
		fmt.Fprint(connection, http2Preface)
		const path = "/oauth2/token"
		header := append([]byte{0x83, 0x87, 0x01, 0x01, 'x', 0x04, byte(len(path))}, path...) // :method: POST
		header = append(header, 0x0f, 0x0d, 1, '0'+announced)                                 // content-length
		frame(t, connection, frameHeaders, flagEndHeaders, 1, header)
		frame(t, connection, frameData, 0, 1, make([]byte, size))
		if size == announced {
			frame(t, connection, frameData, flagEndStream, 1, nil)
		}
		if got := firstOf(t, connection, frameHeaders, frameResetStream); got != want {
			t.Errorf("%d bytes of %d are answered by a frame of type %d, want %d", size, announced, got, want)
		}
	}
}

// firstOf waits for a frame of one of some types.
func firstOf(t *testing.T, connection io.Reader, types ...byte) byte {
	t.Helper()
	t.Helper()
	for {
		kind, err := nextFrame(connection)
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(types, kind) {
			return kind
		}
	}
}

// TestSlowReaderHTTP2 never reads anything, over a connection that holds nothing on the way.
func TestSlowReaderHTTP2(t *testing.T) {
	t.Parallel()
	pipes := pipeListener{connections: make(chan net.Conn), closed: make(chan struct{})}
	r := startOn(t, pipes, func(s *Server) {
		if s.public.HTTP2.WriteByteTimeout != writeTimeout {
			t.Errorf("the timeout is %s", s.public.HTTP2.WriteByteTimeout)
		}
		onlyTimeout(s, func(s *http.Server) { s.WriteTimeout = patience })
		s.public.HTTP2.WriteByteTimeout = patience
	})
	r.maxTLS = tls.VersionTLS12
	near, far := net.Pipe()
	defer near.Close()
	pipes.connections <- far
	connection := r.secure(near, "h2")
	fmt.Fprint(connection, http2Preface)
	frame(t, connection, frameHeaders, flagEndStream|flagEndHeaders, 1, get("/oauth2/jwks"))
	r.await("the end", func() bool { return r.publicConnections.places.count() == 0 && r.requests.count() == 0 })
}
