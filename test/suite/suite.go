// Package suite runs the product for tests: a real control plane, and the manager and token issuers on it, each under
// its own ServiceAccount's token and RBAC.
package suite

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/controllers"
	"github.com/m2m-operator/m2m-operator/hack/controlplane"
	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/feed"
	"github.com/m2m-operator/m2m-operator/internal/issuer"
	"github.com/m2m-operator/m2m-operator/test/canary"
)

// InstallNamespace is where the product is installed.
const InstallNamespace = "m2m-system"

// Suite is a control plane with the CRDs and RBAC of this repository.
type Suite struct {
	Plane *controlplane.ControlPlane
	Admin client.Client
	// Log of all managers and issuers, but for the audit log.
	Log *Log
	// Audit is the audit log of all issuers.
	Audit *Log
	// Canary knows what is secret, and what was written down.
	Canary *canary.Run

	cancel context.CancelFunc
}

// Start brings up the control plane.
func Start(ctx context.Context) (*Suite, error) { return StartWith(ctx, controlplane.Options{}) }

// StartWith brings up a control plane with options of its own.
func StartWith(ctx context.Context, options controlplane.Options) (*Suite, error) {
	plane, err := controlplane.Start(ctx, options)
	if err != nil {
		return nil, err
	}
	run := canary.NewRun()
	s := &Suite{Plane: plane, Canary: run,
		Log:   NewLog(run.Writer("the log of managers and issuers")),
		Audit: NewLog(run.Writer("the audit log of issuers")),
	}
	log := slog.New(slog.NewJSONHandler(s.Log, nil))
	ctrl.SetLogger(logr.FromSlogHandler(log.Handler()))
	klog.SetSlogLogger(log)
	root, err := controlplane.RepoRoot()
	if err == nil {
		err = plane.InstallManifests(ctx, filepath.Join(root, "config/crd/bases"), filepath.Join(root, "config/rbac"))
	}
	if err == nil {
		s.Admin, err = client.New(plane.Admin(), client.Options{Scheme: feed.NewScheme()})
	}
	observing, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.cancel = cancel
	if err == nil {
		err = observe(observing, plane.Admin(), run)
	}
	if err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

// Stop ends the control plane.
func (s *Suite) Stop() error {
	s.cancel()
	return s.Plane.Stop()
}

// ManagerOptions may all be left out.
type ManagerOptions struct {
	// Now is the controllers' clock. Default: the machine's.
	Now func() time.Time
	// Elapsed is their clock that does not jump. Default: the machine's.
	Elapsed func() time.Duration
	// Dial reaches the endpoints of issuers: EndpointSlices name no address of this machine.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Wrap sees all their requests.
	Wrap func(http.RoundTripper) http.RoundTripper
	// Image that issuers are deployed from. Default: none are.
	Image string
	// Timeout of one reconcile. Default: the controllers'.
	Timeout time.Duration
	// Resync is how often everything is looked at although nothing happens. Default: controller-runtime's, 10 hours.
	Resync time.Duration
	// RotationsPerMinute of client secrets. Default: more than any test needs.
	RotationsPerMinute int
	// DefaultIssuer is the spec of the TokenIssuer "default". Default: none is made.
	DefaultIssuer *v1alpha1.TokenIssuerSpec
}

// StartManager runs the controllers.
func (s *Suite) StartManager(o ManagerOptions) (stop func() error, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			cancel()
		}
	}()
	restConfig, err := s.Plane.ServiceAccountConfig(ctx, InstallNamespace, "m2m-manager")
	if err != nil {
		return nil, err
	}
	if o.Wrap != nil {
		restConfig.Wrap(o.Wrap)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	several := true // one after the other, or beside each other, in one process
	caches := controllers.CacheOptions(InstallNamespace)
	if o.Resync > 0 {
		caches.SyncPeriod = &o.Resync
	}
	mgr, err := ctrl.NewManager(restConfig, ctrl.Options{
		Scheme: feed.NewScheme(), Cache: caches,
		Controller: config.Controller{MaxConcurrentReconciles: 4, SkipNameValidation: &several},
		Metrics:    metricsserver.Options{BindAddress: "0"},
	})
	if err != nil {
		return nil, err
	}
	if err := controllers.Add(ctx, mgr, controllers.Options{
		Namespace: InstallNamespace, Image: o.Image, Now: o.Now, Elapsed: o.Elapsed, Dial: o.Dial, Random: rand.Reader, Timeout: o.Timeout, RotationsPerMinute: cmp.Or(o.RotationsPerMinute, 60_000),
		DefaultIssuer: o.DefaultIssuer,
	}); err != nil {
		return nil, err
	}
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	return func() error {
		cancel()
		return <-done
	}, nil
}

// Issuer is a running token server.
type Issuer struct {
	// Address and OpsAddress are host:port.
	Address, OpsAddress string
	stop                context.CancelFunc
	done                chan error
}

// Stop ends the server.
func (i *Issuer) Stop() error {
	i.stop()
	return errors.Join(<-i.done, <-i.done)
}

// StartIssuer runs a token server for a TokenIssuer on addresses of this machine.
func (s *Suite) StartIssuer(tokenIssuer string) (*Issuer, error) {
	ctx, cancel := context.WithCancel(context.Background())
	restConfig, err := s.Plane.ServiceAccountConfig(ctx, InstallNamespace, "m2m-issuer")
	if err != nil {
		cancel()
		return nil, err
	}
	public, err1 := net.Listen("tcp", "127.0.0.1:0")
	ops, err2 := net.Listen("tcp", "127.0.0.1:0")
	if err := errors.Join(err1, err2); err != nil {
		cancel()
		return nil, err
	}
	log := slog.New(slog.NewJSONHandler(s.Log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	state := issuer.NewState(tokenIssuer, access.NewIndex(InstallNamespace))
	server := issuer.New(state, issuer.Options{Now: time.Now, Random: rand.Reader, Logger: log, Audit: s.Audit})
	i := &Issuer{Address: public.Addr().String(), OpsAddress: ops.Addr().String(), stop: cancel, done: make(chan error, 2)}
	go func() { i.done <- server.Serve(ctx, public, ops) }()
	go func() {
		i.done <- feed.Run(ctx, restConfig, feed.Options{Namespace: InstallNamespace, TokenIssuer: tokenIssuer, Logger: log}, state)
	}()
	return i, nil
}

// Writes counts what a client writes, events aside.
type Writes struct {
	mu   sync.Mutex
	seen []string
}

// Wrap is for StartManager.
func (w *Writes) Wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		if r.Method != http.MethodGet && !strings.Contains(r.URL.Path, "/events") {
			w.mu.Lock()
			w.seen = append(w.seen, r.Method+" "+r.URL.Path)
			w.mu.Unlock()
		}
		return next.RoundTrip(r)
	})
}

// List is every write so far.
func (w *Writes) List() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.seen...)
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Log keeps everything that is logged.
type Log struct {
	mu   sync.Mutex
	text strings.Builder
	copy io.Writer
}

var _ io.Writer = (*Log)(nil)

// NewLog keeps what it is written, and passes it on. It may be read while it is written.
func NewLog(to io.Writer) *Log { return &Log{copy: to} }

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p)
	return l.copy.Write(p)
}

// String is all of it.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// patience bounds every wait for something that is about to happen.
const patience = 60 * time.Second

// Eventually waits until check returns "", and fails with what it last returned.
func Eventually(t testing.TB, check func() string) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(patience); ; <-ticker.C {
		problem := check()
		if problem == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %s: %s", patience, problem)
		}
	}
}

// Save writes the object as kubectl edit would: whatever a controller has written to it meanwhile is no conflict.
func Save(t testing.TB, c client.Client, object client.Object) {
	t.Helper()
	ctx := context.Background()
	current := object.DeepCopyObject().(client.Object)
	if err := c.Get(ctx, client.ObjectKeyFromObject(object), current); err != nil {
		t.Fatal(err)
	}
	object.SetResourceVersion(current.GetResourceVersion())
	object.SetManagedFields(current.GetManagedFields())
	if err := c.Patch(ctx, object, client.MergeFrom(current)); err != nil {
		t.Fatal(err)
	}
}
