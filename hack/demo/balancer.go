package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// balancer plays the issuers' Service: connections to one address go to the ready issuers in turn. It passes bytes on
// and sees no plaintext, as a Service does.
type balancer struct {
	backends []*backend
	turn     atomic.Uint64
}

type backend struct {
	address  string
	readyURL string
	ready    atomic.Bool
}

const (
	readinessInterval = 200 * time.Millisecond
	dialTimeout       = time.Second
	// drainDelay that issuers are given: until then the balancer has noticed that one is about to end.
	drainDelay = 2 * readinessInterval
)

func newBalancer(issuers []issuerProcess) *balancer {
	b := &balancer{}
	for _, issuer := range issuers {
		b.backends = append(b.backends, &backend{address: issuer.Address, readyURL: issuer.readyURL()})
	}
	return b
}

// serve passes connections on until the listener is closed.
func (b *balancer) serve(ctx context.Context, listener net.Listener) error {
	for _, each := range b.backends {
		go each.watchReadiness(ctx)
	}
	for {
		incoming, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		go b.pass(ctx, incoming)
	}
}

// watchReadiness asks as a kubelet does. A dead process is noticed by the failing dial already.
func (b *backend) watchReadiness(ctx context.Context) {
	client := &http.Client{Timeout: dialTimeout}
	ticker := time.NewTicker(readinessInterval)
	defer ticker.Stop()
	for {
		ready := false
		if response, err := client.Get(b.readyURL); err == nil {
			ready = response.StatusCode == http.StatusOK
			_ = response.Body.Close()
		}
		if b.ready.Swap(ready) != ready {
			log.Printf("balancer: %s ready=%t", b.address, ready)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// dial tries the ready backends first, beginning with the one whose turn it is, and then the others: a backend may be
// back before it was asked.
func (b *balancer) dial(ctx context.Context) (net.Conn, error) {
	turn := int(b.turn.Add(1) % uint64(len(b.backends)))
	dialer := net.Dialer{Timeout: dialTimeout}
	var failures []error
	for _, ready := range []bool{true, false} {
		for i := range b.backends {
			each := b.backends[(turn+i)%len(b.backends)]
			if each.ready.Load() != ready {
				continue
			}
			conn, err := dialer.DialContext(ctx, "tcp", each.address)
			if err == nil {
				return conn, nil
			}
			failures = append(failures, err)
		}
	}
	return nil, fmt.Errorf("no issuer answers: %w", errors.Join(failures...))
}

func (b *balancer) pass(ctx context.Context, incoming net.Conn) {
	defer incoming.Close()
	outgoing, err := b.dial(ctx)
	if err != nil {
		log.Printf("balancer: %v", err)
		return
	}
	defer outgoing.Close()
	done := make(chan struct{}, 2)
	oneWay := func(to, from net.Conn) {
		_, _ = io.Copy(to, from) // its error is the end of the connection, which both sides learn
		if half, ok := to.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		}
		done <- struct{}{}
	}
	go oneWay(outgoing, incoming)
	go oneWay(incoming, outgoing)
	<-done
	<-done
}
