package feed

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"k8s.io/client-go/rest"

	"github.com/m2m-operator/m2m-operator/internal/clientauth"
)

// apiServer answers as kube-apiserver does for the keys of its ServiceAccounts.
type apiServer struct {
	t  *testing.T
	mu sync.Mutex
	apiServerState
	asked []time.Time // for the keys, by the clock of the test's bubble
}

type apiServerState struct {
	issuer   string
	keys     string
	status   int
	location string
	away     bool
}

// set changes what the server says from now on.
func (s *apiServer) set(change func(*apiServerState)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.apiServerState)
}

// serve sets the keys.
func (s *apiServer) serve(keys ...json.RawMessage) {
	s.set(func(now *apiServerState) { now.keys = keySet(keys...) })
}

func (s *apiServer) askedAt() []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

func (s *apiServer) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Method != http.MethodGet || r.URL.Host != "api.example.com" {
		s.t.Errorf("%s %s is asked", r.Method, r.URL)
	}
	body := ""
	switch r.URL.Path {
	case "/prefix/.well-known/openid-configuration":
		body = `{"issuer":"` + s.issuer + `","jwks_uri":"https://elsewhere.example.com/keys"}`
	case "/prefix/openid/v1/jwks":
		body = s.keys
		s.asked = append(s.asked, time.Now())
	default:
		s.t.Errorf("%s is asked for", r.URL)
	}
	if s.away {
		return nil, errors.New("connection refused")
	}
	header := http.Header{}
	if s.location != "" {
		header.Set("Location", s.location)
	}
	return &http.Response{StatusCode: s.status, Header: header, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

func publicKey(t *testing.T, kid, use string) json.RawMessage {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	text, err := jose.JSONWebKey{Key: &key.PublicKey, KeyID: kid, Algorithm: "ES256", Use: use}.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func keySet(keys ...json.RawMessage) string {
	text, _ := json.Marshal(map[string]any{"keys": keys})
	return string(text)
}

// following is a feed that runs until the end of the test's bubble.
type following struct {
	server *apiServer
	feed   *clusterFeed
	used   atomic.Pointer[clientauth.Cluster]
	log    bytes.Buffer
}

// follow starts a feed in a bubble, in which time passes only while everybody waits.
func follow(t *testing.T, test func(*following)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := &following{server: &apiServer{t: t, apiServerState: apiServerState{
			issuer: "https://cluster.example.com", keys: keySet(publicKey(t, "one", "sig")), status: http.StatusOK,
		}}}
		var err error
		f.feed, err = newClusterFeed(&rest.Config{Host: "https://api.example.com/prefix", Transport: f.server},
			slog.New(slog.NewTextHandler(&f.log, nil)), f.used.Store)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go f.feed.run(ctx)
		synctest.Wait()
		test(f)
	})
}

func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// kids that the feed hands out.
func (f *following) kids() string {
	used := f.used.Load()
	if used == nil {
		return "nothing"
	}
	var kids []string
	for _, key := range used.Keys.Keys {
		kids = append(kids, key.KeyID)
	}
	return strings.Join(kids, " ")
}

func TestClusterIsKnownAtOnceAndFollowed(t *testing.T) {
	follow(t, func(f *following) {
		if used := f.used.Load(); used == nil || used.Issuer != "https://cluster.example.com" || f.kids() != "one" {
			t.Fatalf("known at once: %+v", used)
		}
		f.server.serve(publicKey(t, "one", "sig"), publicKey(t, "two", ""))
		pass(clusterRefresh * 2)
		if asked := f.server.askedAt(); f.kids() != "one two" || len(asked) > 3 {
			t.Errorf("after a while: %s, asked %d times", f.kids(), len(asked))
		}
	})
}

func TestOnlyKeysThatVerifySignaturesAreTaken(t *testing.T) {
	follow(t, func(f *following) {
		private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		secret, _ := jose.JSONWebKey{Key: private, KeyID: "private"}.MarshalJSON()
		f.server.serve(publicKey(t, "encryption", "enc"), publicKey(t, "", "sig"), secret,
			json.RawMessage(`{"kty":"oct","kid":"symmetric","k":"c2VjcmV0"}`), json.RawMessage(`{"kty":"AKP","kid":"later"}`),
			json.RawMessage(`{"kty":"RSA","kid":"broken"}`), json.RawMessage(`"no key"`), publicKey(t, "good", "sig"))
		pass(clusterRefresh * 2)
		if f.kids() != "good" {
			t.Errorf("taken: %s", f.kids())
		}
	})
}

// A new key is fetched soon, and whoever sends tokens of keys that do not exist has the API server asked rarely.
func TestUnknownKeysAreFetchedSoonAndRarely(t *testing.T) {
	follow(t, func(f *following) {
		pass(clusterMinInterval)
		f.server.serve(publicKey(t, "two", "sig"))
		f.used.Load().Refetch()
		synctest.Wait()
		if f.kids() != "two" {
			t.Fatalf("wanted, and not there: %s", f.kids())
		}
		before := len(f.server.askedAt())
		for range 600 { // a minute
			for range 10 {
				f.used.Load().Refetch()
			}
			pass(100 * time.Millisecond)
		}
		asked := f.server.askedAt()
		if n := len(asked) - before; n < 5 || n > 7 {
			t.Errorf("asked %d times in a minute", n)
		}
		for i := 1; i < len(asked); i++ {
			if between := asked[i].Sub(asked[i-1]); between < clusterMinInterval {
				t.Errorf("asked again after %s", between)
			}
		}
	})
}

// Whatever goes wrong, the last good answer stays, it is said once, and a good answer is taken again.
func TestLastGoodAnswerStays(t *testing.T) {
	for name, breakIt := range map[string]func(*apiServerState){
		"away":         func(s *apiServerState) { s.away = true },
		"forbidden":    func(s *apiServerState) { s.status = http.StatusForbidden },
		"redirect":     func(s *apiServerState) { s.status, s.location = http.StatusFound, "https://elsewhere.example.com/" },
		"no JSON":      func(s *apiServerState) { s.keys = "<html>" },
		"other JSON":   func(s *apiServerState) { s.keys = "[]" },
		"no keys":      func(s *apiServerState) { s.keys = `{"keys":[]}` },
		"no good keys": func(s *apiServerState) { s.keys = `{"keys":[{"kty":"AKP"}]}` },
		"no issuer":    func(s *apiServerState) { s.issuer = "" },
		"too large":    func(s *apiServerState) { s.keys += strings.Repeat(" ", maxClusterDocument) },
	} {
		t.Run(name, func(t *testing.T) {
			follow(t, func(f *following) {
				good := f.server.apiServerState
				f.server.set(breakIt)
				pass(clusterRefresh * 3)
				if f.kids() != "one" {
					t.Errorf("in use: %s", f.kids())
				}
				if n := strings.Count(f.log.String(), "level=WARN"); n != 1 {
					t.Errorf("said %d times:\n%s", n, f.log.String())
				}
				f.server.set(func(s *apiServerState) { *s = good })
				f.server.serve(publicKey(t, "two", "sig"))
				pass(clusterRetry * 2)
				if f.kids() != "two" {
					t.Errorf("back again: %s", f.kids())
				}
			})
		})
	}
}

// What a snapshot says is used until the API server says it anew.
func TestRestoredClusterIsUsed(t *testing.T) {
	follow(t, func(f *following) {
		text, err := json.Marshal(clusterDocument{Issuer: f.used.Load().Issuer, Keys: f.used.Load().Keys})
		if err != nil {
			t.Fatal(err)
		}
		f.used.Store(nil)
		f.server.serve(publicKey(t, "two", "sig"))
		if err := f.feed.restore(text); err != nil {
			t.Fatal(err)
		}
		if used := f.used.Load(); f.kids() != "one" || used.Issuer != "https://cluster.example.com" {
			t.Errorf("restored: %+v", used)
		}
		f.used.Load().Refetch()
		pass(clusterMinInterval)
		if f.kids() != "two" {
			t.Errorf("in use: %s", f.kids())
		}
		if err := f.feed.restore([]byte(`{"keys":5}`)); err == nil || f.kids() != "two" {
			t.Errorf("what makes no sense is restored: %v", err)
		}
	})
}

// Nothing is handed out before there is a good answer.
func TestUnknownClusterIsAskedAgainSoon(t *testing.T) {
	follow(t, func(f *following) {
		f.used.Store(nil)
		f.server.set(func(s *apiServerState) { s.away = true })
		pass(clusterRefresh * 2)
		if used := f.used.Load(); used != nil {
			t.Errorf("in use: %+v", used)
		}
		f.server.set(func(s *apiServerState) { s.away = false })
		pass(clusterRetry * 2)
		if f.kids() != "one" {
			t.Errorf("in use: %s", f.kids())
		}
	})
}
