package issuer

import (
	"io"
	"net/http"
)

// trackedBody knows whether a body was read to its end.
type trackedBody struct {
	io.ReadCloser
	ended bool
}

func (b *trackedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.ended = b.ended || err == io.EOF
	return n, err
}

// delimited says whether what follows a request on its HTTP/1 connection is the next one, in everybody's opinion. It is
// not while some of the body has not been read. A Content-Length beside a Transfer-Encoding, and a Transfer-Encoding in
// HTTP/1.0, mean that a proxy may have seen the end elsewhere (RFC 9112 section 6.1: the server MUST close the
// connection); net/http, which decides well, does not tell of them, so all such requests count as such.
func (b *trackedBody) delimited(r *http.Request) bool {
	chunked := r.ContentLength < 0
	return r.ProtoAtLeast(1, 1) && !chunked && (r.ContentLength == 0 || b.ended)
}
