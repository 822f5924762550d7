package integration

import (
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/feed"
	"github.com/m2m-operator/m2m-operator/internal/issuer"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

// TestIssuerWaitsForAnAPIServerThatIsAwayAtStart: it must neither give up nor say that it is ready.
func TestIssuerWaitsForAnAPIServerThatIsAwayAtStart(t *testing.T) {
	ensureIssuer(t)
	restConfig, err := world.Plane.ServiceAccountConfig(ctx, suite.InstallNamespace, "m2m-issuer")
	if err != nil {
		t.Fatal(err)
	}
	server, err := url.Parse(restConfig.Host)
	if err != nil {
		t.Fatal(err)
	}
	away, err := net.Listen("tcp", "127.0.0.1:0") // taken, so that nobody else gets it; what connects is turned away
	if err != nil {
		t.Fatal(err)
	}
	defer away.Close()
	back := make(chan struct{})
	refused := make(chan struct{}, 1000)
	go relay(away, server.Host, back, refused)
	restConfig.Host = "https://" + away.Addr().String()

	running, stop := context.WithCancel(ctx)
	defer stop()
	state := issuer.NewState(issuerName, access.NewIndex(suite.InstallNamespace))
	log := slog.New(slog.NewJSONHandler(world.Log, nil))
	public, _ := net.Listen("tcp", "127.0.0.1:0")
	ops, _ := net.Listen("tcp", "127.0.0.1:0")
	go issuer.New(state, issuer.Options{Now: time.Now, Random: rand.Reader, Logger: log, Audit: world.Audit}).Serve(running, public, ops)
	fed := make(chan error, 1)
	go func() {
		fed <- feed.Run(running, restConfig, feed.Options{Namespace: suite.InstallNamespace, TokenIssuer: issuerName, Logger: log}, state)
	}()
	for range 3 {
		<-refused // it has tried, several times
	}
	response, err := http.Get("http://" + ops.Addr().String() + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, _ := io.ReadAll(response.Body); response.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(body), "have not all arrived") {
		t.Errorf("readyz says %d %s", response.StatusCode, body)
	}
	close(back)
	suite.Eventually(t, func() string {
		select {
		case err := <-fed:
			t.Fatalf("the feed gave up: %v", err)
		default:
		}
		return notReady(&suite.Issuer{OpsAddress: ops.Addr().String()})
	})
}

// relay turns connections away until back is closed, and then passes them on.
func relay(listener net.Listener, to string, back <-chan struct{}, refused chan<- struct{}) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		select {
		case <-back:
		default:
			connection.Close()
			refused <- struct{}{}
			continue
		}
		upstream, err := net.Dial("tcp", to)
		if err != nil {
			connection.Close()
			continue
		}
		go func() { defer upstream.Close(); io.Copy(upstream, connection) }()
		go func() { defer connection.Close(); io.Copy(connection, upstream) }()
	}
}
