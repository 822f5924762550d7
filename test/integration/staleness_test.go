package integration

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/feed"
	"github.com/m2m-operator/m2m-operator/internal/issuer"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

// TestStalenessOfTheWatchDuringAnOutage: while the API server is away an issuer knows how old its knowledge is, and when
// it is back again every kind is heard of.
func TestStalenessOfTheWatchDuringAnOutage(t *testing.T) {
	ensureIssuer(t)
	restConfig, err := world.Plane.ServiceAccountConfig(ctx, suite.InstallNamespace, "m2m-issuer")
	if err != nil {
		t.Fatal(err)
	}
	server, err := url.Parse(restConfig.Host)
	if err != nil {
		t.Fatal(err)
	}
	link := newLink(t, server.Host)
	restConfig.Host = "https://" + link.listener.Addr().String()

	running, stop := context.WithCancel(ctx)
	defer stop()
	state := issuer.NewState(issuerName, access.NewIndex(suite.InstallNamespace))
	log := slog.New(slog.NewJSONHandler(world.Log, nil))
	public, _ := net.Listen("tcp", "127.0.0.1:0")
	ops, _ := net.Listen("tcp", "127.0.0.1:0")
	go issuer.New(state, issuer.Options{Now: time.Now, Random: rand.Reader, Logger: log, Audit: world.Audit}).Serve(running, public, ops)
	go feed.Run(running, restConfig, feed.Options{Namespace: suite.InstallNamespace, TokenIssuer: issuerName, Logger: log}, state)
	i := &suite.Issuer{OpsAddress: ops.Addr().String()}
	suite.Eventually(t, func() string { return notReady(i) })

	link.cut()
	first := gauges(t, i, "m2m_issuer_watch_")
	if len(first) != 8 {
		t.Fatalf("there are %v", first)
	}
	suite.Eventually(t, func() string {
		now := gauges(t, i, "m2m_issuer_watch_")
		if before, after := first["m2m_issuer_watch_staleness_seconds"], now["m2m_issuer_watch_staleness_seconds"]; after < before+1 {
			return fmt.Sprintf("the staleness was %v and is %v", before, after)
		}
		return ""
	})
	away := gauges(t, i, "m2m_issuer_watch_heard_")
	if problem := notReady(i); problem != "" {
		t.Errorf("an issuer that knows everything is not ready: %s", problem)
	}
	link.mend()
	suite.Eventually(t, func() string {
		for name, at := range gauges(t, i, "m2m_issuer_watch_heard_") {
			if at == 0 || at <= away[name] {
				return fmt.Sprintf("%s is %v, as it was while the API server was away", name, at)
			}
		}
		return ""
	})
}

// gauges scrapes the metrics whose names begin so.
func gauges(t testing.TB, i *suite.Issuer, prefix string) map[string]float64 {
	t.Helper()
	response, err := http.Get("http://" + i.OpsAddress + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]float64{}
	for line := range strings.Lines(string(body)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && strings.HasPrefix(name, prefix) {
			if found[name], err = strconv.ParseFloat(value, 64); err != nil {
				t.Fatal(err)
			}
		}
	}
	return found
}

// link passes connections on, as long as it is not cut.
type link struct {
	listener net.Listener
	to       string

	mu    sync.Mutex
	isCut bool
	open  []net.Conn
}

func newLink(t *testing.T, to string) *link {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &link{listener: listener, to: to}
	t.Cleanup(func() {
		listener.Close()
		l.cut()
	})
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			l.pass(connection)
		}
	}()
	return l
}

func (l *link) pass(connection net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	upstream, err := net.Dial("tcp", l.to)
	if err != nil || l.isCut {
		connection.Close()
		if err == nil {
			upstream.Close()
		}
		return
	}
	l.open = append(l.open, connection, upstream)
	go func() { defer upstream.Close(); io.Copy(upstream, connection) }()
	go func() { defer connection.Close(); io.Copy(connection, upstream) }()
}

// cut ends all connections, and turns away new ones.
func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.isCut = true
	for _, connection := range l.open {
		connection.Close()
	}
	l.open = nil
}

// mend ends the outage.
func (l *link) mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.isCut = false
}
