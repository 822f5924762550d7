package issuer

import (
	"net/http"
	"net/netip"
	"sync"
	"time"
)

const (
	// maxRequests bounds how many requests are answered at once. One is answered in well under a millisecond once it has
	// arrived: only senders and readers that take their time add up. Each holds a header and a body at most, some 100
	// KiB, so that all of them take 200 MiB.
	maxRequests = 2048
	// sourceShare is the part of all requests and connections, one in so many, that one source may have.
	sourceShare = 4
)

var errBusy = &oauthError{status: http.StatusServiceUnavailable, code: codeUnavailable, reason: reasonBusy,
	description: "the server is busy, try again later", retryAfter: time.Second, closing: true}

// quota hands out places, to one source only a part of them.
type quota struct {
	all, perSource int

	mu       sync.Mutex
	taken    int
	bySource map[netip.Addr]int
}

func newQuota(all, perSource int) *quota {
	return &quota{all: all, perSource: perSource, bySource: map[netip.Addr]int{}}
}

// take a place, if there is one. A source that is no address takes it from all.
func (q *quota) take(source netip.Addr) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.taken >= q.all || (source.IsValid() && q.bySource[source] >= q.perSource) {
		return false
	}
	q.taken++
	if source.IsValid() {
		q.bySource[source]++
	}
	return true
}

// giveBack a place that the source has taken.
func (q *quota) giveBack(source netip.Addr) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.taken--
	if !source.IsValid() {
		return
	}
	if q.bySource[source]--; q.bySource[source] == 0 {
		delete(q.bySource, source)
	}
}

// spent says whether the source has all that one source may have.
func (q *quota) spent(source netip.Addr) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return source.IsValid() && q.bySource[source] >= q.perSource
}

// count is how many places are taken.
func (q *quota) count() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.taken
}

// answerBusy is the answer to a request for which there is no place.
func answerBusy(http.ResponseWriter, *http.Request, endpoint, *record) reply {
	return errBusy.reply("")
}
