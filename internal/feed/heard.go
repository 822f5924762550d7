package feed

import (
	"io"
	"maps"
	"net/http"
	"path"
	"sync"
	"time"
)

// watched are the kinds that an issuer watches, by the last element of the path that they are asked for at.
var watched = map[string]string{
	"tokenissuers": "TokenIssuer",
	"apiresources": "ApiResource",
	"m2mclients":   "M2MClient",
	"scopegrants":  "ScopeGrant",
	"namespaces":   "Namespace",
	"secrets":      "Secret",
	"configmaps":   "ConfigMap",
}

// heard remembers when the API server was last heard of each kind. An API server sends a bookmark to every watch about
// once a minute, so that even where nothing changes a silence tells that what is known may be old.
type heard struct {
	mu   sync.Mutex
	last map[string]time.Time
}

func newHeard() *heard {
	h := &heard{last: map[string]time.Time{}}
	for _, kind := range watched {
		h.last[kind] = time.Time{}
	}
	return h
}

// times of all kinds, zero for those never heard of.
func (h *heard) times() map[string]time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return maps.Clone(h.last)
}

// of is when the API server was last heard of a kind.
func (h *heard) of(kind string) time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last[kind]
}

// remember sets when it was heard of a kind before this process began.
func (h *heard) remember(kind string, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last[kind] = at
}

func (h *heard) note(kind string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last[kind] = time.Now()
}

// wrap listens to the answers of lists and watches.
func (h *heard) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		response, err := next.RoundTrip(r)
		kind, ok := watched[path.Base(r.URL.Path)]
		if err == nil && ok && r.Method == http.MethodGet && response.StatusCode == http.StatusOK {
			response.Body = &listener{ReadCloser: response.Body, heard: func() { h.note(kind) }}
		}
		return response, err
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// listener is a body that tells of every byte.
type listener struct {
	io.ReadCloser
	heard func()
}

func (l *listener) Read(p []byte) (int, error) {
	n, err := l.ReadCloser.Read(p)
	if n > 0 {
		l.heard()
	}
	return n, err
}
