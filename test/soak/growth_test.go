//go:build soak

package soak

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/m2m-operator/m2m-operator/hack/controlplane"
)

const (
	// hourly requests that are the least: an hour of 20 a second.
	hourly = 20 * 3600
	// growthWorkers send one request after the other.
	growthWorkers = 16
	// defaultGrowth is how long the load goes on at the least, but for SOAKTIME.
	defaultGrowth = 90 * time.Second
)

// kinds of requests; of ten, six are good.
var kinds = []string{"good", "good", "wrong secret", "good", "unknown client", "good", "malformed", "good", "unknown audience", "good"}

// sample of what an issuer takes.
type sample struct {
	Seconds    float64 `json:"seconds"`
	Requests   int64   `json:"requests"`
	HeapMB     float64 `json:"heapMB"`
	ResidentMB float64 `json:"residentMB"`
	Goroutines float64 `json:"goroutines"`
	Files      float64 `json:"files"`
}

// TestGrowth has an issuer answer as many requests as come in an hour, as fast as it can, and looks at what it takes. What
// grows with requests would go on growing in the last third.
func TestGrowth(t *testing.T) {
	least := defaultGrowth
	if text := os.Getenv("SOAKTIME"); text != "" {
		var err error
		if least, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	w := newWorld(t)
	m := w.newClient(t, "busy")
	i := w.issuers[0]
	i.comesTo(t, true, m)
	w.killManagers()
	g := &growth{issuer: i, client: m}
	samples := g.run(t, least)
	g.report(t, samples)
	i.wants(t, true, m)
	if wrong := g.wrong.Load(); wrong != nil {
		t.Errorf("a request was answered otherwise than it should: %s", *wrong)
	}
	third := len(samples) / 3
	if third < 10 {
		t.Fatalf("there are but %d samples", len(samples))
	}
	before, after := samples[third:2*third], samples[2*third:]
	for _, of := range []struct {
		what          string
		least         bool // of the samples, and not the most: what is left after a garbage collection
		value         func(sample) float64
		factor, grace float64
	}{
		{"heap, MB", true, func(s sample) float64 { return s.HeapMB }, 1.3, 4},
		{"resident memory, MB", false, func(s sample) float64 { return s.ResidentMB }, 1.2, 16},
		{"goroutines", false, func(s sample) float64 { return s.Goroutines }, 1.2, 32},
		{"files", false, func(s sample) float64 { return s.Files }, 1.2, 32},
	} {
		a, b := extreme(before, of.least, of.value), extreme(after, of.least, of.value)
		measured("growth: %s: %.1f in the second third, %.1f in the last", of.what, a, b)
		if a == 0 || b > a*of.factor+of.grace {
			t.Errorf("%s: %.1f, and then %.1f", of.what, a, b)
		}
	}
}

func extreme(samples []sample, least bool, value func(sample) float64) float64 {
	most, fewest := 0.0, math.Inf(1)
	for _, s := range samples {
		most, fewest = max(most, value(s)), min(fewest, value(s))
	}
	if least {
		return fewest
	}
	return most
}

// growth is one run of it.
type growth struct {
	issuer   *issuer
	client   *mounted
	requests atomic.Int64
	wrong    atomic.Pointer[string]
}

func (g *growth) run(t *testing.T, least time.Duration) []sample {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	var workers sync.WaitGroup
	for n := range growthWorkers {
		workers.Go(func() { g.work(ctx, n) })
	}
	workers.Go(func() { every(ctx, 100*time.Millisecond, g.hangUp) })
	defer workers.Wait()
	defer cancel()
	var samples []sample
	ticker := time.NewTicker(least / 180)
	defer ticker.Stop()
	for begin := time.Now(); time.Since(begin) < least || g.requests.Load() < hourly; <-ticker.C {
		now := g.issuer.metrics()
		if len(now) == 0 { // it was too busy to answer within a second
			continue
		}
		samples = append(samples, sample{
			Seconds: time.Since(begin).Seconds(), Requests: g.requests.Load(),
			HeapMB: now["go_memstats_heap_alloc_bytes"] / 1e6, ResidentMB: now["process_resident_memory_bytes"] / 1e6,
			Goroutines: now["go_goroutines"], Files: now["process_open_fds"],
		})
		if g.issuer.ended() {
			t.Fatalf("the issuer has ended:\n%s", g.issuer.log)
		}
	}
	return samples
}

// work keeps its connection for a thousand requests.
func (g *growth) work(ctx context.Context, n int) {
	for ctx.Err() == nil {
		transport := g.client.transport(dialer(g.issuer.address), true, []string{"http/1.1", "h2"}[n%2])
		asking := &http.Client{Timeout: requestTimeout, Transport: transport}
		for range 1000 {
			if ctx.Err() != nil {
				break
			}
			g.ask(asking, kinds[int(g.requests.Add(1))%len(kinds)])
		}
		transport.CloseIdleConnections()
	}
}

// hangUp opens a connection, says something that is no TLS, and goes.
func (g *growth) hangUp() {
	connection, err := net.Dial("tcp", g.issuer.address)
	if err != nil {
		return
	}
	_, _ = fmt.Fprint(connection, "GET / HTTP/1.1\r\n\r\n") // whatever becomes of it
	_ = connection.Close()
}

func (g *growth) ask(asking *http.Client, kind string) {
	request, err := g.client.tokenRequest(ctx, g.issuer.address)
	if err != nil {
		g.note(kind, err.Error())
		return
	}
	// The secret of one client is wrong so often that this is throttled.
	want := map[string]int{
		"good": http.StatusOK, "wrong secret": http.StatusUnauthorized, "unknown client": http.StatusUnauthorized,
		"malformed": http.StatusBadRequest, "unknown audience": http.StatusBadRequest,
	}[kind]
	body := func(text string) *http.Request {
		r, _ := http.NewRequestWithContext(ctx, request.Method, request.URL.String(), strings.NewReader(text))
		r.Header = request.Header
		return r
	}
	switch kind {
	case "wrong secret":
		request.SetBasicAuth(g.client.now.Load().id, rand.Text())
	case "unknown client":
		request.SetBasicAuth("jobs."+strings.ToLower(rand.Text()), rand.Text())
	case "unknown audience":
		request = body("grant_type=client_credentials&audience=https://" + rand.Text() + ".example.com")
	case "malformed":
		request = body("grant_type=client_credentials&audience=%zz" + strings.Repeat(rand.Text(), 40))
	}
	response, err := asking.Do(request)
	if err != nil {
		g.note(kind, err.Error())
		return
	}
	_, err = io.Copy(io.Discard, response.Body) // to the end, so that the connection stays
	if err := errors.Join(err, response.Body.Close()); err != nil || response.StatusCode != want && (kind != "wrong secret" || response.StatusCode != http.StatusTooManyRequests) {
		g.note(kind, fmt.Sprint(response.Status, ", want ", want, " ", err))
	}
}

// note keeps what went wrong first.
func (g *growth) note(kind, what string) {
	text := kind + ": " + what
	g.wrong.CompareAndSwap(nil, &text)
}

// report prints the curve, and writes all of it to bin/soak.json.
func (g *growth) report(t *testing.T, samples []sample) {
	t.Helper()
	last := samples[len(samples)-1]
	measured("growth: %d requests in %.0f s, as many as an hour of %.0f a second brings; of ten, six are good",
		last.Requests, last.Seconds, float64(last.Requests)/3600)
	measured("%8s %9s %9s %12s %11s %6s", "seconds", "requests", "heap, MB", "resident, MB", "goroutines", "files")
	for n := range 13 {
		s := samples[n*(len(samples)-1)/12]
		measured("%8.0f %9d %9.1f %12.1f %11.0f %6.0f", s.Seconds, s.Requests, s.HeapMB, s.ResidentMB, s.Goroutines, s.Files)
	}
	root, err := controlplane.RepoRoot()
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.MarshalIndent(map[string]any{"requests": last.Requests, "seconds": last.Seconds, "samples": samples}, "", " ")
	if err == nil {
		err = os.MkdirAll(filepath.Join(root, "bin"), 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(root, "bin", "soak.json"), text, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}
