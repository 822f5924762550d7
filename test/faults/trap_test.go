package faults

import (
	"errors"
	"net/http"
	"strings"
	"sync"
)

// trap is a manager's way to the API server. Once it is set, the n-th write from then on is the manager's last act: the
// write comes to nothing, or it happens and the manager never hears of it.
type trap struct {
	mu    sync.Mutex
	left  int // writes to the last one; zero: it is not set
	after bool
	dead  bool
	died  chan struct{}
	last  string
}

func newTrap() *trap { return &trap{died: make(chan struct{})} }

// set makes the n-th write the last one.
func (k *trap) set(n int, after bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.left, k.after = n, after
}

// disarm lets the manager live, and reports whether it does.
func (k *trap) disarm() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.left = 0
	return !k.dead
}

var errDead = errors.New("this manager is dead")

// wrap is for suite.ManagerOptions.
func (k *trap) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		dies, err := k.pass(r)
		if err != nil {
			return nil, err
		}
		response, err := next.RoundTrip(r)
		if dies {
			if err == nil {
				response.Body.Close()
			}
			close(k.died)
			return nil, errDead
		}
		return response, err
	})
}

// pass fails if the manager is dead, or dies now, and reports whether it dies once the request has been answered.
func (k *trap) pass(r *http.Request) (dies bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.dead {
		return false, errDead
	}
	if !writes(r) || k.left == 0 {
		return false, nil
	}
	if k.left--; k.left > 0 {
		return false, nil
	}
	k.dead, k.last = true, r.Method+" "+r.URL.Path
	if !k.after {
		close(k.died)
		return false, errDead
	}
	return true, nil
}

// writes reports whether a request changes anything that counts.
func writes(r *http.Request) bool {
	return r.Method != http.MethodGet && !strings.Contains(r.URL.Path, "/events") && r.URL.Query().Get("dryRun") == ""
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
