package tokens

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
)

// connections that requests are sent over at once, and kept alive.
const connections = 8

// client sends requests over one connection. It is as plain as it can be: it shares the machine with what it measures.
type client struct {
	conn net.Conn
	in   *bufio.Reader
}

// dial opens a connection to a server, with TLS or without.
func dial(p *process, secure bool) (*client, error) {
	address := p.Plain
	if secure {
		address = p.TLS
	}
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	if secure {
		over := tls.Client(conn, p.trust)
		if err := over.Handshake(); err != nil {
			return nil, err
		}
		conn = over
	}
	return &client{conn: conn, in: bufio.NewReaderSize(conn, 16<<10)}, nil
}

var errAnswer = errors.New("no answer that could be read")

// ask sends a request and reads the answer, of which it returns the status and the body. The body is good until the next
// request.
func (c *client) ask(request []byte) (status int, body []byte, err error) {
	if _, err := c.conn.Write(request); err != nil {
		return 0, nil, err
	}
	length := 0
	for first := true; ; first = false {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return 0, nil, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if first {
			if len(line) < 12 {
				return 0, nil, errAnswer
			}
			if status, err = strconv.Atoi(string(line[9:12])); err != nil {
				return 0, nil, err
			}
			continue
		}
		if len(line) == 0 {
			break
		}
		if name, value, _ := bytes.Cut(line, []byte(": ")); bytes.EqualFold(name, []byte("Content-Length")) {
			if length, err = strconv.Atoi(string(value)); err != nil {
				return 0, nil, err
			}
		}
	}
	if length <= c.in.Size() {
		body, err = c.in.Peek(length)
		if err != nil {
			return 0, nil, err
		}
		_, err = c.in.Discard(length)
		return status, body, err
	}
	body = make([]byte, length)
	_, err = io.ReadFull(c.in, body)
	return status, body, err
}

// pool is open connections to one server.
type pool []*client

func open(p *process, secure bool, size int) (pool, error) {
	var all pool
	for range size {
		c, err := dial(p, secure)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

// send sends every request once, as fast as they are answered.
func (p pool) send(requests [][]byte, want int) error {
	var next atomic.Int64
	var failure error
	var once sync.Once
	var done sync.WaitGroup
	for _, c := range p {
		done.Go(func() {
			for {
				at := int(next.Add(1)) - 1
				if at >= len(requests) {
					return
				}
				status, body, err := c.ask(requests[at])
				if err == nil && status != want {
					err = fmt.Errorf("answered %d, not %d: %s", status, want, body)
				}
				if err != nil {
					once.Do(func() { failure = err })
					return
				}
			}
		})
	}
	done.Wait()
	return failure
}
