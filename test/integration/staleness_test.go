package integration

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/feed"
	"github.com/m2m-operator/m2m-operator/internal/issuer"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

// TestStalenessOfTheWatchDuringAnOutage: while the API server is away an issuer knows how old its knowledge is, and when
// it is back again every kind is heard of.
func TestStalenessOfTheWatchDuringAnOutage(t *testing.T) {
	ensureIssuer(t)
	i, link := startBehindLink(t, time.Now)
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

// TestMaxStaleness: beyond the bound no token is issued and none is called good, while keys are served and readiness
// stays, without which the Service would lead nowhere. When the API server is heard again it goes on.
func TestMaxStaleness(t *testing.T) {
	ensureIssuer(t)
	const identifier = "https://bounded.example.com"
	newAPI(t, "courses", "bounded", identifier, "read")
	create(t, grantOf("courses", "bounded", "bounded", "jobs", "bounded", "read"))
	id, secret := newCaller(t, "jobs", "bounded", nil)
	var ahead atomic.Int64
	i, link := startBehindLink(t, func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) })
	bound := func(d *metav1.Duration) {
		tokenIssuer := get(t, &v1alpha1.TokenIssuer{}, "", issuerName)
		tokenIssuer.Spec.MaxStaleness = d
		update(t, tokenIssuer)
	}
	bound(&metav1.Duration{Duration: 2 * time.Minute})
	defer bound(nil)
	awaitVerdict(t, "granted", id, secret, "audience", identifier)
	ahead.Store(int64(time.Hour))
	suite.Eventually(t, func() string { // the bound is known, be the issuer as new as it is
		if a := ask(t, i, id, secret, "audience", identifier); a.status != http.StatusServiceUnavailable {
			return a.body
		}
		return ""
	})
	ahead.Store(0)
	issued := ask(t, i, id, secret, "audience", identifier)
	if issued.status != http.StatusOK {
		t.Fatalf("within the bound: %d %s", issued.status, issued.body)
	}
	link.cut()
	ahead.Store(int64(3 * time.Minute))
	a := ask(t, i, id, secret, "audience", identifier)
	if a.status != http.StatusServiceUnavailable || a.verdict() != "temporarily_unavailable" || a.header.Get("Retry-After") == "" {
		t.Errorf("beyond the bound: %d %v %s", a.status, a.header, a.body)
	}
	introspection := httptest.NewRequest(http.MethodPost, "https://"+i.Address+"/machines/oauth2/introspect", strings.NewReader("token="+issued.token(t).AccessToken))
	introspection.RequestURI = ""
	introspection.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	introspection.SetBasicAuth(id, secret)
	if a := do(t, i, introspection); a.status != http.StatusServiceUnavailable || a.verdict() != "temporarily_unavailable" {
		t.Errorf("introspection beyond the bound: %d %s", a.status, a.body)
	}
	for _, path := range []string{"/machines/oauth2/jwks", "/machines/.well-known/openid-configuration", "/readyz"} {
		request, _ := http.NewRequest(http.MethodGet, "https://"+i.Address+path, nil)
		if a := do(t, i, request); a.status != http.StatusOK {
			t.Errorf("%s beyond the bound: %d %s", path, a.status, a.body)
		}
	}
	if problem := notReady(i); problem != "" {
		t.Errorf("beyond the bound: %s", problem)
	}
	if refusing := gauges(t, i, "m2m_issuer_too_stale")["m2m_issuer_too_stale"]; refusing != 1 {
		t.Errorf("the metric is %v", refusing)
	}
	if refused := gauges(t, i, "m2m_issuer_failures_total")[`m2m_issuer_failures_total{error="temporarily_unavailable",reason="TooStale"}`]; refused < 2 {
		t.Errorf("%v refusals are counted", refused)
	}
	if !strings.Contains(world.Audit.String(), `"outcome":"temporarily_unavailable","reason":"TooStale"`) {
		t.Error("the audit log does not say why")
	}
	ahead.Store(0)
	link.mend()
	if a := ask(t, i, id, secret, "audience", identifier); a.status != http.StatusOK {
		t.Errorf("within the bound again: %d %s", a.status, a.body)
	}
}

// startBehindLink runs an issuer that reaches the API server over a link, until the test ends.
func startBehindLink(t *testing.T, now func() time.Time) (*suite.Issuer, *link) {
	t.Helper()
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
	t.Cleanup(stop)
	state := issuer.NewState(issuerName, access.NewIndex(suite.InstallNamespace))
	log := slog.New(slog.NewJSONHandler(world.Log, nil))
	public, _ := net.Listen("tcp", "127.0.0.1:0")
	ops, _ := net.Listen("tcp", "127.0.0.1:0")
	go issuer.New(state, issuer.Options{Now: now, Random: rand.Reader, Logger: log, Audit: world.Audit}).Serve(running, public, ops)
	go feed.Run(running, restConfig, feed.Options{Namespace: suite.InstallNamespace, TokenIssuer: issuerName, Logger: log}, state)
	i := &suite.Issuer{Address: public.Addr().String(), OpsAddress: ops.Addr().String()}
	suite.Eventually(t, func() string { return notReady(i) })
	return i, link
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
