package manager

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// weather is what becomes of a manager's requests on their way to the API server and back. What befalls the n-th request
// of one method for one path follows from the seed alone, however the manager's workers take turns.
type weather struct {
	seed  uint64
	clear atomic.Bool // nothing befalls anybody any more

	mu     sync.Mutex
	counts map[string]uint64 // requests so far, by method and path
	struck map[string]int    // requests that something befell, by what
	log    []string          // of all writes, and what befell them
	falls  map[string]int    // of lists and watches that keep a cache in step, by path
	hung   int
}

func newWeather(seed uint64) *weather {
	return &weather{seed: seed, counts: map[string]uint64{}, struck: map[string]int{}, falls: map[string]int{}}
}

// The faults. A request that is refused is answered without having been done; one that is lost has been done, and the
// manager is told otherwise.
const (
	fine         = ""
	refused500   = "500"
	refused503   = "503"
	refused429   = "429 with Retry-After"
	refused409   = "409"
	unreachable  = "no connection"
	timedOut     = "no answer in time"
	hangs        = "no answer at all"
	slow         = "slow"
	lost500      = "done, and answered 500"
	lost504      = "done, and answered 504"
	lostAnswer   = "done, and the connection broke"
	watchRefused = "watch refused"
	watchGone    = "watch answered 410"
	watchCut     = "watch cut"
	maxHangs     = 3
	maxFalls     = 4 // of what keeps one cache in step: client-go waits twice as long after each
)

// chance is how many requests of a thousand a fault befalls.
type chance struct {
	fault string
	of    int
}

var (
	onReads = []chance{{refused500, 40}, {refused503, 20}, {refused429, 3}, {unreachable, 30}, {timedOut, 30}, {slow, 30}, {hangs, 2}}
	onWrite = append([]chance{{refused409, 60}, {lost500, 40}, {lost504, 40}, {lostAnswer, 40}}, onReads...)
	onWatch = []chance{{watchRefused, 150}, {watchGone, 150}, {watchCut, 500}}
)

// wrap is for suite.ManagerOptions.
func (w *weather) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		fault, random := w.draw(r)
		switch fault {
		case fine:
			return next.RoundTrip(r)
		case refused500, refused503, refused429, refused409, watchRefused, watchGone:
			return refusal(r, fault), nil
		case unreachable:
			return nil, errors.New("connection refused")
		case timedOut:
			return nil, context.DeadlineExceeded
		case hangs:
			<-r.Context().Done()
			return nil, r.Context().Err()
		case slow:
			time.Sleep(time.Duration(random.IntN(200)) * time.Millisecond)
			return next.RoundTrip(r)
		}
		response, err := next.RoundTrip(r)
		if err != nil {
			return nil, err
		}
		if fault == watchCut {
			response.Body = cutAfter(response.Body, time.Duration(random.IntN(4000))*time.Millisecond)
			return response, nil
		}
		response.Body.Close()
		if fault == lostAnswer {
			return nil, errors.New("connection reset by peer")
		}
		return refusal(r, fault), nil
	})
}

// draw is what befalls the request.
func (w *weather) draw(r *http.Request) (string, *rand.Rand) {
	if w.clear.Load() {
		return fine, nil
	}
	chances, key := onReads, r.Method+" "+r.URL.Path
	watch := r.URL.Query().Get("watch") != ""
	switch {
	case watch:
		chances, key = onWatch, "WATCH "+r.URL.Path
	case r.Method != http.MethodGet:
		chances = onWrite
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts[key]++
	hash := fnv.New64a()
	fmt.Fprint(hash, key, w.counts[key])
	random := rand.New(rand.NewPCG(w.seed, hash.Sum64()))
	fault, die := fine, random.IntN(1000)
	for _, c := range chances {
		if die -= c.of; die < 0 {
			fault = c.fault
			break
		}
	}
	_, bounded := r.Context().Deadline()
	switch {
	case fault == fine:
	case !bounded && (fault == hangs || w.falls[r.URL.Path] == maxFalls):
		return fine, nil
	case !bounded:
		w.falls[r.URL.Path]++
	case fault == hangs && w.hung == maxHangs:
		return fine, nil
	case fault == hangs:
		w.hung++
	}
	if fault != fine {
		w.struck[fault]++
	}
	if r.Method != http.MethodGet && !strings.Contains(r.URL.Path, "/events") {
		w.log = append(w.log, fmt.Sprintf("%s %s: %s", rfc3339(clock()), key, cmp.Or(fault, "fine")))
	}
	return fault, random
}

// report says what has befallen how many.
func (w *weather) report() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var requests uint64
	for _, n := range w.counts {
		requests += n
	}
	var faults []string
	for _, fault := range slices.Sorted(maps.Keys(w.struck)) {
		faults = append(faults, fmt.Sprintf("%s: %d", fault, w.struck[fault]))
	}
	return fmt.Sprintf("%d requests; %s", requests, strings.Join(faults, "; "))
}

// writes are those whose path has the part in it, in their order.
func (w *weather) writes(part string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(slices.DeleteFunc(slices.Clone(w.log), func(line string) bool { return !strings.Contains(line, part) }), "\n")
}

// refusal is the API server's answer.
func refusal(r *http.Request, fault string) *http.Response {
	status := metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure, Message: "bad weather"}
	header := http.Header{"Content-Type": {"application/json"}}
	switch fault {
	case refused500, lost500, watchRefused:
		status.Code, status.Reason = http.StatusInternalServerError, metav1.StatusReasonInternalError
	case refused503:
		status.Code, status.Reason = http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable
	case refused429:
		status.Code, status.Reason = http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests
		header.Set("Retry-After", "1")
	case lost504:
		status.Code, status.Reason = http.StatusGatewayTimeout, metav1.StatusReasonTimeout
	case watchGone:
		status.Code, status.Reason = http.StatusGone, metav1.StatusReasonExpired
	case refused409:
		status.Code, status.Reason = http.StatusConflict, metav1.StatusReasonConflict
	}
	body, err := json.Marshal(status)
	if err != nil {
		panic(err) // it always can be
	}
	return &http.Response{
		StatusCode: int(status.Code), Status: http.StatusText(int(status.Code)), Header: header, Request: r,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}
}

// cut is a body that ends in the middle.
type cut struct {
	io.ReadCloser
	timer *time.Timer
}

func cutAfter(body io.ReadCloser, d time.Duration) *cut {
	return &cut{body, time.AfterFunc(d, func() { _ = body.Close() })}
}

func (c *cut) Close() error {
	c.timer.Stop()
	return c.ReadCloser.Close()
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
