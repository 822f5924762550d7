package faults

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// trap is a manager's way to the API server. It lets the manager die for the things of one name while it goes on with all
// else, so that several can be played at the same time: nothing is shared between them but what is only read.
type trap struct {
	mu     sync.Mutex
	deaths []*death
	wrote  []string // what was written and by whom counts, with its answer
}

// death is set for the n-th write from then on, of those that concern the name. That is the last act: the write comes to
// nothing, or it happens and the manager never hears of it. From then on it hears nothing of the name at all.
type death struct {
	of    string
	spare string // ends the paths of writes that do not count
	n     int
	left  int // writes to the last one; zero: it was called off
	after bool
	dead  bool
	died  chan struct{}
	last  string
}

// set makes the n-th write of what has the name the last one, of those whose path does not end in spare.
func (k *trap) set(of, spare string, n int, after bool) *death {
	k.mu.Lock()
	defer k.mu.Unlock()
	d := &death{of: of, spare: spare, n: n, left: n, after: after, died: make(chan struct{})}
	k.deaths = slices.DeleteFunc(k.deaths, func(other *death) bool { return other.of == of })
	k.deaths = append(k.deaths, d)
	return d
}

// callOff lets the manager live, and reports whether it does.
func (k *trap) callOff(d *death) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	d.left = 0
	return !d.dead
}

// writes is how often something of the name was written, or tried to be.
func (k *trap) writes(of string) (list []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, write := range k.wrote {
		if strings.Contains(write, of) {
			list = append(list, write)
		}
	}
	return list
}

var errDead = errors.New("this manager is dead")

// wrap is for suite.ManagerOptions.
func (k *trap) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		what := r.Method + " " + r.URL.Path
		if r.Method == http.MethodPost { // what is created is named inside
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return nil, err
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			what += " " + string(body)
		}
		d, err := k.pass(r, what)
		if err != nil {
			return nil, err
		}
		response, err := next.RoundTrip(r)
		if d != nil {
			if err == nil {
				response.Body.Close()
			}
			close(d.died)
			return nil, errDead
		}
		return response, err
	})
}

// pass fails if the manager is dead for what the request is about, or dies now, and returns a death that comes once the
// request has been answered.
func (k *trap) pass(r *http.Request, what string) (*death, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if writes(r) {
		k.wrote = append(k.wrote, what)
	}
	i := slices.IndexFunc(k.deaths, func(d *death) bool { return strings.Contains(what, d.of) })
	if i < 0 {
		return nil, nil
	}
	d := k.deaths[i]
	if d.dead {
		return nil, errDead
	}
	if !writes(r) || d.left == 0 || (d.spare != "" && strings.HasSuffix(r.URL.Path, d.spare)) {
		return nil, nil
	}
	if d.left--; d.left > 0 {
		return nil, nil
	}
	d.dead, d.last = true, r.Method+" "+r.URL.Path
	if !d.after {
		close(d.died)
		return nil, errDead
	}
	return d, nil
}

// writes reports whether a request changes anything that counts.
func writes(r *http.Request) bool {
	return r.Method != http.MethodGet && !strings.Contains(r.URL.Path, "/events") && r.URL.Query().Get("dryRun") == ""
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
