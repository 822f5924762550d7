package issuer

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/credential"
	"github.com/m2m-operator/m2m-operator/internal/keyring"
	"github.com/m2m-operator/m2m-operator/internal/pki"
)

func newServer(drain time.Duration) *Server {
	return New(NewState("default", access.NewIndex("m2m-system")), Options{
		DrainDelay: drain, Now: time.Now, Random: rand.Reader, Logger: slog.New(slog.DiscardHandler), Audit: io.Discard,
	})
}

// furnish gives a server all that it needs, step by step, and calls visit before each.
func furnish(t *testing.T, s *Server, visit func(lacking string)) {
	t.Helper()
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	visit("objects")
	s.state.SetSynced(func() bool { return true })
	visit("TokenIssuer")
	s.state.index.Upsert(&v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "default"}})
	visit("signing key")
	key, err := keyring.Generate(v1alpha1.ES256)
	must(err)
	ring := keyring.Ring{}.Fill(keyring.Slot{Algorithm: v1alpha1.ES256, Generation: 1}, key, time.Now())
	keys, err := keyring.NewKeySet(ring, nil)
	must(err)
	s.state.SetKeys(keys)
	visit("signing key")
	keys, err = keyring.NewKeySet(ring, []jose.JSONWebKey{key})
	must(err)
	s.state.SetKeys(keys)
	visit("pepper")
	pepper, err := credential.ParsePepper(bytes.Repeat([]byte{1}, 32))
	must(err)
	s.state.SetPepper(pepper)
	visit("serving certificate")
	authority, err := pki.NewAuthority("test", time.Now())
	must(err)
	serving, err := pki.NewServing(authority, []string{"127.0.0.1"}, time.Now())
	must(err)
	certificate, err := tls.X509KeyPair(serving.Certificate, serving.Key)
	must(err)
	s.state.SetCertificate(&certificate)
}

func ask(handler http.HandlerFunc, method, target string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	handler(w, httptest.NewRequest(method, target, nil))
	return w
}

func TestReadiness(t *testing.T) {
	s := newServer(0)
	furnish(t, s, func(lacking string) {
		for _, handler := range []http.HandlerFunc{s.servePublic, s.serveOps} {
			w := ask(handler, "GET", "/readyz")
			if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), lacking) {
				t.Errorf("without %s: %d %s", lacking, w.Code, w.Body)
			}
		}
		if w := ask(s.serveOps, "GET", "/livez"); w.Code != http.StatusOK {
			t.Errorf("without %s it is not alive: %d", lacking, w.Code)
		}
		// Without a certificate nobody comes here, with it or without.
		if w := ask(s.servePublic, "POST", "/oauth2/token"); lacking != "serving certificate" && w.Code != http.StatusServiceUnavailable {
			t.Errorf("without %s tokens are asked for: %d", lacking, w.Code)
		}
	})
	if w := ask(s.serveOps, "GET", "/readyz"); w.Code != http.StatusOK || w.Body.String() != "ok\n" {
		t.Errorf("ready: %d %s", w.Code, w.Body)
	}
	s.draining.Store(true)
	w := ask(s.serveOps, "GET", "/readyz")
	if w.Code != http.StatusServiceUnavailable || w.Body.String() != "shutting down\n" || w.Header().Get("Connection") != "close" {
		t.Errorf("draining: %d %s", w.Code, w.Body)
	}
}

func TestPanicIsAServerError(t *testing.T) {
	s := newServer(0)
	s.state.SetSynced(func() bool { panic("inside") })
	w := ask(s.servePublic, "POST", "/oauth2/token")
	want := `{"error":"server_error","error_description":"the request failed, it may be tried again"}`
	if w.Code != http.StatusInternalServerError || w.Body.String() != want+"\n" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// TestServe checks that a server that is told to stop says so, goes on serving, and then stops.
func TestServe(t *testing.T) {
	const drain = 500 * time.Millisecond
	s := newServer(drain)
	furnish(t, s, func(string) {})
	public, ops := listen(t), listen(t)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, public, ops) }()

	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	status := func(url string) int {
		response, err := client.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			t.Fatal(err)
		}
		return response.StatusCode
	}
	jwks, ready := "https://"+public.Addr().String()+"/oauth2/jwks", "http://"+ops.Addr().String()+"/readyz"
	if status(jwks) != http.StatusOK || status(ready) != http.StatusOK {
		t.Error("it does not serve")
	}
	stopping := time.Now()
	stop()
	for !s.draining.Load() {
		time.Sleep(time.Millisecond)
	}
	if status(jwks) != http.StatusOK || status(ready) != http.StatusServiceUnavailable {
		t.Error("it does not drain")
	}
	if err := <-done; err != nil || time.Since(stopping) < drain {
		t.Errorf("stopped after %s: %v", time.Since(stopping), err)
	}
	if _, err := client.Get(jwks); err == nil {
		t.Error("it serves for ever")
	}
}

func TestServeFailsWithItsListener(t *testing.T) {
	s := newServer(time.Hour)
	public, ops := listen(t), listen(t)
	public.Close()
	if err := s.Serve(context.Background(), public, ops); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v", err)
	}
	if _, err := net.Dial("tcp", ops.Addr().String()); err == nil {
		t.Error("the other listener goes on")
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}
