package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

// fakeIssuer answers each connection with its name, and /readyz by ready.
func fakeIssuer(t *testing.T, name string, ready bool) (issuer *backend, listener net.Listener) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, name)
			_ = conn.Close()
		}
	}()
	issuer = &backend{address: listener.Addr().String()}
	issuer.ready.Store(ready)
	return issuer, listener
}

// answers counts who answers to a number of connections.
func answers(t *testing.T, b *balancer, connections int) map[string]int {
	t.Helper()
	front, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer front.Close()
	go func() {
		for {
			conn, err := front.Accept()
			if err != nil {
				return
			}
			go b.pass(context.Background(), conn)
		}
	}()
	got := map[string]int{}
	for range connections {
		conn, err := net.Dial("tcp", front.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		name, err := io.ReadAll(conn)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
		got[string(name)]++
	}
	return got
}

func TestTheBalancerTakesTurnsAndFailsOver(t *testing.T) {
	a, listenerA := fakeIssuer(t, "a", true)
	b, _ := fakeIssuer(t, "b", true)
	c, _ := fakeIssuer(t, "c", false)
	balance := &balancer{backends: []*backend{a, b, c}}

	if got := answers(t, balance, 30); got["a"] < 10 || got["b"] < 10 || got["a"]+got["b"] != 30 {
		t.Errorf("two ready issuers answered %v: want both, and none that is not ready", got)
	}
	_ = listenerA.Close() // killed, and nobody has noticed yet
	if got := answers(t, balance, 10); got["b"] != 10 {
		t.Errorf("after a was killed %v answered, want b alone", got)
	}
	b.ready.Store(false)
	if got := answers(t, balance, 10); got["b"]+got["c"] != 10 {
		t.Errorf("with no issuer known to be ready %v answered, want any that can be reached", got)
	}
}

func TestReadinessIsAsked(t *testing.T) {
	asked := make(chan struct{})
	ops := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		select {
		case asked <- struct{}{}:
		default:
		}
	}))
	defer ops.Close()
	ctx, cancel := context.WithCancel(context.Background())
	b := &backend{readyURL: ops.URL}
	stopped := make(chan struct{})
	go func() { b.watchReadiness(ctx); close(stopped) }()
	<-asked
	<-asked // the first answer has been taken in by now
	if !b.ready.Load() {
		t.Error("an issuer that says it is ready is not taken for ready")
	}
	cancel()
	<-stopped
}
