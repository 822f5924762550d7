//go:build soak

package soak

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/test/suite"
)

const (
	readinessInterval = 200 * time.Millisecond
	readinessTimeout  = time.Second
)

// service leads connections to the issuers that are ready, as a Service does, and keeps its EndpointSlice.
type service struct {
	world *world
	ready [howManyIssuers]atomic.Bool
	turn  atomic.Uint64
	// dying is the address of an issuer that a test is killing, "" if none: its connections may break.
	dying atomic.Value
}

func newService(t *testing.T, w *world) *service {
	t.Helper()
	s := &service{world: w}
	s.dying.Store("")
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	for n := range w.issuers {
		watching.Go(func() { every(ctx, readinessInterval, func() { s.look(n) }) })
	}
	var published []bool
	watching.Go(func() {
		every(ctx, readinessInterval, func() {
			if now := s.readiness(); !slices.Equal(now, published) && s.publish(now) == nil {
				published = now
			}
		})
	})
	t.Cleanup(func() {
		cancel()
		watching.Wait()
	})
	suite.Eventually(t, func() string {
		if slices.Contains(s.readiness(), false) {
			return fmt.Sprint("ready: ", s.readiness())
		}
		return ""
	})
	return s
}

// every does something at once, and then all the time.
func every(ctx context.Context, interval time.Duration, do func()) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for ctx.Err() == nil {
		do()
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
}

// look asks an issuer whether it is ready, as a kubelet does.
func (s *service) look(n int) {
	status, _ := s.world.issuers[n].ops("/readyz")
	s.ready[n].Store(status == http.StatusOK)
}

func (s *service) readiness() (ready []bool) {
	for n := range s.ready {
		ready = append(ready, s.ready[n].Load())
	}
	return ready
}

// publish may fail, and is then tried again.
func (s *service) publish(ready []bool) error {
	wanted := s.world.slice(ready)
	found := wanted.DeepCopy()
	err := s.world.Admin.Get(ctx, client.ObjectKeyFromObject(wanted), found)
	if apierrors.IsNotFound(err) {
		return s.world.Admin.Create(ctx, wanted)
	}
	if err != nil {
		return err
	}
	found.Endpoints = wanted.Endpoints
	return s.world.Admin.Update(ctx, found)
}

// brokenError is what became of a connection to an address.
type brokenError struct {
	address string
	error
}

func (e brokenError) Unwrap() error { return e.error }

// dial connects to an issuer that is ready, or to the next one if that does not answer.
func (s *service) dial(ctx context.Context) (net.Conn, error) {
	turn := int(s.turn.Add(1))
	dialer := net.Dialer{Timeout: readinessTimeout}
	var failures []error
	for _, ready := range []bool{true, false} {
		for n := range s.ready {
			n = (turn + n) % len(s.ready)
			if s.ready[n].Load() != ready {
				continue
			}
			connection, err := dialer.DialContext(ctx, "tcp", s.world.issuers[n].address)
			if err == nil {
				return connection, nil
			}
			failures = append(failures, err)
		}
	}
	return nil, fmt.Errorf("no issuer answers: %w", errors.Join(failures...))
}

// dialer connects to one address.
func dialer(address string) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", address)
	}
}
