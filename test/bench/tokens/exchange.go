package tokens

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"syscall"
	"time"
)

// exchange is a request and its answer over one connection without TLS, which is asked for and never waited for.
type exchange struct {
	conn   *client
	socket syscall.RawConn
	due    time.Time
	buffer []byte
	got    int
}

// largestAnswer is more than any that is paced.
const largestAnswer = 16 << 10

func newExchange(c *client) (*exchange, error) {
	conn, ok := c.conn.(syscall.Conn)
	if !ok {
		return nil, fmt.Errorf("a %T cannot be asked", c.conn)
	}
	socket, err := conn.SyscallConn()
	return &exchange{conn: c, socket: socket, buffer: make([]byte, largestAnswer)}, err
}

// begin sends a request that was due at an instant.
func (x *exchange) begin(request []byte, due time.Time) error {
	x.due, x.got = due, 0
	_, err := x.conn.conn.Write(request)
	return err
}

// poll takes what has arrived, and reports whether that is the answer.
func (x *exchange) poll(want int) (done bool, err error) {
	var n int
	if failed := x.socket.Read(func(fd uintptr) bool {
		n, err = syscall.Read(int(fd), x.buffer[x.got:])
		return true
	}); failed != nil {
		return false, failed
	}
	switch {
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EINTR):
		return false, nil
	case err != nil:
		return false, err
	case n == 0:
		return false, io.ErrUnexpectedEOF
	}
	x.got += n
	return complete(x.buffer[:x.got], want)
}

// complete reports whether an answer has all arrived, and is of the status that is wanted.
func complete(answer []byte, want int) (bool, error) {
	header, body, found := bytes.Cut(answer, []byte("\r\n\r\n"))
	if !found {
		return false, nil
	}
	if status := fmt.Sprintf("HTTP/1.1 %d ", want); !bytes.HasPrefix(header, []byte(status)) {
		return false, fmt.Errorf("answered %.30q, not %q", header, status)
	}
	_, length, found := bytes.Cut(header, []byte("\r\nContent-Length: "))
	if !found {
		return false, errAnswer
	}
	length, _, _ = bytes.Cut(length, []byte("\r\n"))
	size, err := strconv.Atoi(string(length))
	return len(body) >= size, err
}
