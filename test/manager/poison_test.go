package manager

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

// TestWhatAChangeMovesWaitsBehindWhatWasChanged: a grant that selects hundreds of clients has each of their statuses
// written anew. Whoever makes a client meanwhile waits for those that are being written, and for none of the others.
func TestWhatAChangeMovesWaitsBehindWhatWasChanged(t *testing.T) {
	const selected, workers = 200, 4
	gate := newGate("/namespaces/poisoned/m2mclients/")
	depth := func(labels map[string]string) float64 {
		labels["controller"] = "m2mclient"
		return value(t, "workqueue_depth", labels)
	}
	stale, staleFirst := depth(map[string]string{}), depth(map[string]string{"priority": "0"}) // of managers that have ended
	queued := func() float64 { return depth(map[string]string{}) - stale }
	startManager(t, suite.ManagerOptions{Wrap: gate.wrap})
	issuer, api := tokenIssuer("poisoned"), apiResource("poisoned", "poisoned", "poisoned", "read")
	create(t, issuer, namespace("poisoned"), namespace("unpoisoned"), api)
	awaitReady(t, issuer, api)
	var clients []conditioned
	for i := range selected {
		c := m2mClient("poisoned", fmt.Sprintf("client-%d", i), "poisoned")
		c.Labels = map[string]string{"poison": "yes"}
		clients = append(clients, c)
		create(t, c)
	}
	awaitReady(t, clients...)
	suite.Eventually(t, func() string {
		if n := queued(); n > 0 {
			return fmt.Sprintf("%v are queued", n)
		}
		return ""
	})

	gate.shut()
	create(t, scopeGrant(api, "poison", selecting("poisoned", "poison", "yes"), "read"))
	suite.Eventually(t, func() string {
		if n := queued(); n < selected-workers {
			return fmt.Sprintf("only %v of them are queued", n)
		}
		return ""
	})
	c := m2mClient("unpoisoned", "ordinary", "poisoned")
	create(t, c)
	suite.Eventually(t, func() string {
		if n := depth(map[string]string{"priority": "0"}) - staleFirst; n < 1 {
			return "the ordinary client is not queued"
		}
		return ""
	})
	gate.open()
	awaitReady(t, c)
	order := gate.writes()
	last := 0
	for i, path := range order {
		if strings.Contains(path, "/namespaces/unpoisoned/") {
			last = i
		}
	}
	before := slices.Clone(order[:last])
	before = slices.DeleteFunc(before, func(path string) bool { return strings.Contains(path, "/namespaces/unpoisoned/") })
	t.Logf("%d of %d other writes were before the last of the ordinary client's", len(before), selected)
	if len(before) > selected/2 {
		t.Errorf("%d of %d others were before the ordinary client", len(before), selected)
	}
	suite.Eventually(t, func() string {
		for _, other := range clients {
			if c := get(t, other.(*v1alpha1.M2MClient), "poisoned", other.GetName()); c.Status.AccessCount != 1 {
				return c.Name + " is not told"
			}
		}
		return ""
	})
}

// gate holds back the writes whose path has the part in it, while it is shut, and notes all writes from then on.
type gate struct {
	part string

	mu     sync.Mutex
	opened chan struct{} // closed while the gate is open
	order  []string
	noting bool
}

func newGate(part string) *gate {
	g := &gate{part: part, opened: make(chan struct{})}
	close(g.opened)
	return g
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.opened, g.noting = make(chan struct{}), true
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.opened)
}

func (g *gate) writes() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.order)
}

func (g *gate) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		if r.Method == http.MethodGet || strings.Contains(r.URL.Path, "/events") {
			return next.RoundTrip(r)
		}
		if strings.Contains(r.URL.Path, g.part) {
			g.mu.Lock()
			opened := g.opened
			g.mu.Unlock()
			<-opened
		}
		g.mu.Lock()
		if g.noting {
			g.order = append(g.order, r.URL.Path)
		}
		g.mu.Unlock()
		return next.RoundTrip(r)
	})
}
