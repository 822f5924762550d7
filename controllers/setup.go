package controllers

import (
	"context"
	"errors"
	"io"
	"net"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
)

// Options of all controllers together.
type Options struct {
	// Namespace that the operator is installed in.
	Namespace string
	// Image that issuers are deployed from; "" where somebody else runs them.
	Image string
	// Now is the clock.
	Now func() time.Time
	// Elapsed is how long the manager has run, by a clock that does not jump. Default: the machine's monotonic clock.
	Elapsed func() time.Duration
	// Dial reaches the endpoints of issuers. Default: as addresses say.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Random is where secrets come from.
	Random io.Reader
	// Timeout bounds one reconcile. Default: a minute.
	Timeout time.Duration
	// RotationsPerMinute is how many scheduled rotations of client secrets there may be.
	RotationsPerMinute int
	// DefaultIssuer is the spec of the TokenIssuer "default", which is made once. nil: none is made.
	DefaultIssuer *v1alpha1.TokenIssuerSpec
}

// Add registers all controllers with a manager whose cache was made with CacheOptions.
func Add(ctx context.Context, mgr ctrl.Manager, o Options) error {
	index := access.NewIndex(o.Namespace)
	wakeups, err := WatchIndex(ctx, mgr.GetCache(), index)
	if err != nil {
		return err
	}
	if o.Elapsed == nil {
		started := time.Now()
		o.Elapsed = func() time.Duration { return time.Since(started) }
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	c, live, recorder := mgr.GetClient(), mgr.GetAPIReader(), mgr.GetEventRecorder("m2m-manager")
	if o.DefaultIssuer != nil {
		err = mgr.Add(&defaultIssuer{Client: c, Live: live, Namespace: o.Namespace, Spec: *o.DefaultIssuer, Events: recorder})
	}
	return errors.Join(err,
		(&TokenIssuerReconciler{
			Client: c, Live: live, Namespace: o.Namespace, Now: o.Now, Elapsed: o.Elapsed, Dial: o.Dial, Random: o.Random, Events: recorder, Image: o.Image,
			Conflicts: newConflicts(), Timeout: o.Timeout,
		}).SetupWithManager(mgr),
		(&ApiResourceReconciler{
			Client: c, Live: live, Index: index, Wakeups: wakeups, Namespace: o.Namespace, Now: o.Now, Events: recorder,
			Conflicts: newConflicts(), Timeout: o.Timeout,
		}).SetupWithManager(mgr),
		(&M2MClientReconciler{
			Client: c, Live: live, Index: index, Wakeups: wakeups, Namespace: o.Namespace, Now: o.Now, Random: o.Random, Events: recorder,
			Pace: newPace(o.RotationsPerMinute), Conflicts: newConflicts(), Timeout: o.Timeout,
		}).SetupWithManager(mgr),
		(&ScopeGrantReconciler{
			Client: c, Index: index, Wakeups: wakeups, Now: o.Now, Events: recorder,
			Conflicts: newConflicts(), Timeout: o.Timeout,
		}).SetupWithManager(mgr),
	)
}
