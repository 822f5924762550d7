//go:build soak

package soak

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/test/suite"
)

const (
	// overlap of client secrets: long enough for whoever looks at his Secret ten times a second.
	overlap = 5 * time.Second
	// requestTimeout is what a request may take on a machine that does a great deal else.
	requestTimeout = 10 * time.Second
	// pause of each worker between two requests.
	pause = 50 * time.Millisecond
)

// mounted is what a client's Secret holds.
type mounted struct {
	world *world
	name  string
	now   atomic.Pointer[credentials]
}

type credentials struct {
	id, secret string
	authority  []byte
	roots      *x509.CertPool
}

func (m *mounted) refresh() error {
	found := &corev1.Secret{}
	if err := m.world.Admin.Get(ctx, client.ObjectKey{Namespace: "jobs", Name: m.name}, found); err != nil {
		return err
	}
	c := &credentials{string(found.Data["client_id"]), string(found.Data["client_secret"]), found.Data["ca.crt"], x509.NewCertPool()}
	if !c.roots.AppendCertsFromPEM(c.authority) {
		return errors.New("ca.crt holds no certificate")
	}
	m.now.Store(c)
	return nil
}

// tokenRequest is a good request, to whoever answers at an address.
func (m *mounted) tokenRequest(ctx context.Context, address string) (*http.Request, error) {
	form := url.Values{"grant_type": {"client_credentials"}, "audience": {audience}}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+address+"/machines/oauth2/token", strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	now := m.now.Load()
	request.SetBasicAuth(now.id, now.secret)
	return request, nil
}

// transport makes connections by what the Secret holds at that time.
func (m *mounted) transport(dial func(context.Context) (net.Conn, error), keep bool, protocol string) *http.Transport {
	return &http.Transport{
		DisableKeepAlives: !keep, ForceAttemptHTTP2: protocol == "h2",
		DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			plain, err := dial(ctx)
			if err != nil {
				return nil, err
			}
			secured := tls.Client(plain, &tls.Config{
				RootCAs: m.now.Load().roots, ServerName: "127.0.0.1", NextProtos: []string{protocol}, MinVersion: tls.VersionTLS12,
			})
			if err := secured.HandshakeContext(ctx); err != nil {
				return nil, errors.Join(brokenError{plain.RemoteAddr().String(), err}, plain.Close())
			}
			return secured, nil
		},
	}
}

// load is constant until stop.
type load struct {
	t         testing.TB
	client    *mounted
	verifiers verifiers
	stop      func()

	mu                  sync.Mutex
	requests, failovers int
	failures            []string
	slowest             time.Duration
}

// startLoad has clients ask for tokens through the Service, over new connections and ones that stay.
func (w *world) startLoad(t testing.TB, m *mounted) *load {
	t.Helper()
	l := &load{t: t, client: m}
	ctx, cancel := context.WithCancel(ctx)
	var workers sync.WaitGroup
	workers.Go(func() {
		every(ctx, 100*time.Millisecond, func() { _ = m.refresh() }) // what was known last, if the API server is away
	})
	for _, keep := range []bool{false, true} {
		for _, protocol := range []string{"http/1.1", "h2"} {
			asking := &http.Client{Timeout: requestTimeout, Transport: m.transport(w.service.dial, keep, protocol)}
			workers.Go(func() {
				every(ctx, pause, func() { l.count(l.token(asking)) })
				asking.CloseIdleConnections()
			})
		}
	}
	fetching := &http.Client{Timeout: requestTimeout, Transport: m.transport(w.service.dial, false, "http/1.1")}
	workers.Go(func() { l.verifiers.keep(ctx, func() (*http.Response, error) { return l.jwks(fetching) }, l.count) })
	l.stop = sync.OnceFunc(func() {
		cancel()
		workers.Wait()
	})
	t.Cleanup(l.stop)
	return l
}

// count takes down how a request ended.
func (l *load) count(took time.Duration, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.requests++
	l.slowest = max(l.slowest, took)
	if err != nil {
		l.failures = append(l.failures, fmt.Sprint(time.Now().Format(time.TimeOnly), " ", err))
	}
}

// token asks for one and has it verified.
func (l *load) token(asking *http.Client) (time.Duration, error) {
	begin := time.Now()
	response, err := l.send(asking, func(ctx context.Context) (*http.Request, error) { return l.client.tokenRequest(ctx, "127.0.0.1") })
	if err != nil {
		return time.Since(begin), err
	}
	took := time.Since(begin)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		return took, fmt.Errorf("token request: %s %s: %w", response.Status, body, errOr(err))
	}
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return took, err
	}
	return took, l.verifiers.verify(answer.AccessToken)
}

var errStatus = errors.New("not 200")

func errOr(err error) error {
	if err != nil {
		return err
	}
	return errStatus
}

func (l *load) jwks(asking *http.Client) (*http.Response, error) {
	return l.send(asking, func(ctx context.Context) (*http.Request, error) {
		return http.NewRequestWithContext(ctx, http.MethodGet, issuerURL+"/oauth2/jwks", nil)
	})
}

// send tries once more where a connection broke that led to an issuer which is being killed.
func (l *load) send(asking *http.Client, request func(context.Context) (*http.Request, error)) (*http.Response, error) {
	for {
		address := ""
		ctx := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
			address = info.Conn.RemoteAddr().String()
		}})
		r, err := request(ctx)
		if err != nil {
			return nil, err
		}
		response, err := asking.Do(r)
		if err == nil {
			return response, nil
		}
		if broken := (brokenError{}); errors.As(err, &broken) {
			address = broken.address
		}
		if address == "" || address != l.client.world.service.dying.Load() {
			return nil, fmt.Errorf("on a connection to %q: %w", address, err)
		}
		l.mu.Lock()
		l.failovers++
		l.mu.Unlock()
	}
}

// soFar is how many requests there were.
func (l *load) soFar() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.requests
}

// goOn waits for more requests.
func (l *load) goOn(t testing.TB) {
	t.Helper()
	before := l.soFar()
	suite.Eventually(t, func() string {
		if n := l.soFar() - before; n < 40 {
			return fmt.Sprintf("%d more requests", n)
		}
		return ""
	})
}

// judge ends the load and fails if a request has failed, or a token could not be verified.
func (l *load) judge(t testing.TB, what string) {
	t.Helper()
	l.stop()
	l.verifiers.judge(t)
	measured("%s: %d requests, %d failed, %d tried once more on another issuer; the slowest took %d ms",
		what, l.requests, len(l.failures), l.failovers, l.slowest.Milliseconds())
	for n, failure := range l.failures {
		if n == 20 {
			break
		}
		t.Error(failure)
	}
	if l.requests == 0 {
		t.Error("there were no requests")
	}
}
