// Command loader asks for tokens all the time and verifies each, for the end-to-end tests: with a new connection for
// each request, and over connections that stay, with HTTP/1.1 and HTTP/2. It uses what its files hold at each request. It
// prints a line of JSON for each failure, and every half second one that sums up.
package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

const (
	timeout   = 5 * time.Second
	forgetful = 5 * time.Second // how often the keys are fetched again
)

func main() {
	directory := flag.String("credentials-dir", "/etc/loader/credentials", "the mounted Secret of an M2MClient")
	audience := flag.String("audience", "https://loader.example.com", "identifier of the ApiResource to ask for")
	pause := flag.Duration("pause", 20*time.Millisecond, "of each of four workers between two requests")
	patient := flag.Bool("patient", false, "verify every token for ever, by every JWKS that may still be kept")
	once := flag.Bool("once", false, "ask for one token, print what it says, and exit")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	l := &loader{directory: *directory, audience: *audience, pause: *pause}
	if *patient {
		l.archive = &archive{signed: map[string]int{}, refused: map[string]int{}}
	}
	if *once {
		claims, err := l.newWorker(false, false).ask(ctx)
		if err != nil {
			fmt.Fprintln(os.Stderr, "loader:", err)
			os.Exit(1) //nolint:gocritic // there is nothing to stop
		}
		fmt.Println(string(claims))
		return
	}
	l.run(ctx)
}

type loader struct {
	directory, audience     string
	pause                   time.Duration
	archive                 *archive // nil unless verifiers are patient
	fresh, kept1, kept2     atomic.Int64
	ports                   atomic.Int64
	failures, slowestMillis atomic.Int64
}

func (l *loader) run(ctx context.Context) {
	var workers sync.WaitGroup
	if l.archive != nil {
		workers.Go(func() { l.keepSets(ctx) })
	}
	for _, w := range []struct {
		count       *atomic.Int64
		keep, http2 bool
	}{{&l.fresh, false, false}, {&l.fresh, false, true}, {&l.kept1, true, false}, {&l.kept2, true, true}} {
		workers.Go(func() { l.work(ctx, l.newWorker(w.keep, w.http2), w.count) })
	}
	ticks := time.NewTicker(500 * time.Millisecond)
	defer ticks.Stop()
	for ctx.Err() == nil {
		select {
		case <-ticks.C:
		case <-ctx.Done():
			workers.Wait()
		}
		l.sumUp()
	}
}

func (l *loader) sumUp() {
	line := map[string]any{
		"newConnections": l.fresh.Load(), "keepAlive1": l.kept1.Load(), "keepAlive2": l.kept2.Load(),
		"failures": l.failures.Load(), "slowestMillis": l.slowestMillis.Load(), "authorities": l.authorities(),
		"secret": l.secret(),
	}
	if l.archive != nil {
		l.archive.sumUp(line)
	}
	printLine(line)
}

func printLine(line any) {
	text, err := json.Marshal(line)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(text))
}

// work ends with the request that is under way when the context ends.
func (l *loader) work(ctx context.Context, w *worker, count *atomic.Int64) {
	for ctx.Err() == nil {
		started := time.Now()
		_, err := w.ask(context.WithoutCancel(ctx))
		took := time.Since(started)
		if err != nil {
			l.fail(map[string]any{"failure": err.Error(), "keepAlive": w.keep, "http2": w.http2, "started": started, "tookMillis": took.Milliseconds()})
		}
		count.Add(1)
		for slowest := l.slowestMillis.Load(); took.Milliseconds() > slowest && !l.slowestMillis.CompareAndSwap(slowest, took.Milliseconds()); {
			slowest = l.slowestMillis.Load()
		}
		time.Sleep(l.pause)
	}
}

func (l *loader) fail(line map[string]any) {
	l.failures.Add(1)
	printLine(line)
}

func (l *loader) file(name string) (string, error) {
	text, err := fs.ReadFile(os.DirFS(l.directory), name)
	return strings.TrimSpace(string(text)), err
}

// authorities are the fingerprints of the certificates that the mounted ca.crt holds.
func (l *loader) authorities() []string {
	text, _ := l.file("ca.crt")
	var prints []string
	for rest := []byte(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return prints
		}
		sum := sha256.Sum256(block.Bytes)
		prints = append(prints, hex.EncodeToString(sum[:]))
	}
}

// secret is the fingerprint of the mounted client_secret.
func (l *loader) secret() string {
	text, _ := l.file("client_secret")
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

type worker struct {
	*loader
	keep, http2  bool
	tokens, keys *http.Client
	keySet       oidc.KeySet
	keySetSince  time.Time
}

func (l *loader) newWorker(keep, http2 bool) *worker {
	return &worker{
		loader: l, keep: keep, http2: http2,
		tokens: &http.Client{Timeout: timeout, Transport: l.transport(keep, http2)},
		keys:   &http.Client{Timeout: timeout, Transport: l.transport(keep, http2)},
	}
}

// transport reads ca.crt anew for each connection, as it may change while the pod runs.
func (l *loader) transport(keep, http2 bool) http.RoundTripper {
	protocols := []string{"http/1.1"}
	if http2 {
		protocols = []string{"h2"}
	}
	return &http.Transport{
		DisableKeepAlives: !keep,
		ForceAttemptHTTP2: http2,
		DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			authority, err := l.file("ca.crt")
			if err != nil {
				return nil, err
			}
			roots := x509.NewCertPool()
			if !roots.AppendCertsFromPEM([]byte(authority)) {
				return nil, errors.New("ca.crt holds no certificate")
			}
			dialer := tls.Dialer{NetDialer: l.dialer(), Config: &tls.Config{RootCAs: roots, NextProtos: protocols, MinVersion: tls.VersionTLS12}}
			return dialer.DialContext(ctx, network, address)
		},
	}
}

// dialer takes each port of ours in turn. The kernel would take again one that was given up a second ago, and the node,
// which remembers for two minutes where a Service's connection was led to, may lead the new one to that pod, even if the
// pod is gone by now: a failure which no issuer can do anything about.
func (l *loader) dialer() *net.Dialer {
	const first, count = 10000, 50000
	return &net.Dialer{LocalAddr: &net.TCPAddr{Port: first + int(l.ports.Add(1)%count)}}
}

// mounted is what the files say now.
type mounted struct{ clientID, clientSecret, tokenEndpoint, issuer string }

func (m mounted) jwksURI() string { return strings.TrimSuffix(m.tokenEndpoint, "/token") + "/jwks" }

func (l *loader) mounted() (m mounted, err error) {
	for name, text := range map[string]*string{
		"client_id": &m.clientID, "client_secret": &m.clientSecret, "token_endpoint": &m.tokenEndpoint, "issuer": &m.issuer,
	} {
		if *text, err = l.file(name); err != nil {
			return m, err
		}
	}
	return m, nil
}

func (l *loader) verifier(issuer string, keys oidc.KeySet) *oidc.IDTokenVerifier {
	return oidc.NewVerifier(issuer, keys, &oidc.Config{
		ClientID: l.audience, SupportedSigningAlgs: []string{oidc.ES256, oidc.RS256, oidc.PS256, oidc.EdDSA},
	})
}

// ask gets a token, verifies it and returns its claims. If verifiers are patient it is verified from now on, and not here.
func (w *worker) ask(ctx context.Context) (json.RawMessage, error) {
	m, err := w.mounted()
	if err != nil {
		return nil, err
	}
	config := clientcredentials.Config{
		ClientID: m.clientID, ClientSecret: m.clientSecret, TokenURL: m.tokenEndpoint,
		AuthStyle: oauth2.AuthStyleInHeader, EndpointParams: url.Values{"audience": {w.audience}},
	}
	token, err := config.Token(context.WithValue(ctx, oauth2.HTTPClient, w.tokens))
	if err != nil {
		return nil, fmt.Errorf("token request: %w", err)
	}
	if w.archive != nil {
		return nil, w.archive.add(ctx, token.AccessToken)
	}
	if time.Since(w.keySetSince) > forgetful {
		w.keySet = oidc.NewRemoteKeySet(oidc.ClientContext(context.WithoutCancel(ctx), w.keys), m.jwksURI())
		w.keySetSince = time.Now()
	}
	verified, err := w.verifier(m.issuer, w.keySet).Verify(ctx, token.AccessToken)
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	var claims json.RawMessage
	return claims, verified.Claims(&claims)
}
