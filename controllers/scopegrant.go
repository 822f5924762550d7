package controllers

import (
	"context"
	"time"

	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
)

// ScopeGrantReconciler says what a grant does. Granting itself needs no controller: issuers read the spec.
type ScopeGrantReconciler struct {
	client.Client
	Index     *access.Index
	Wakeups   *Wakeups
	Now       func() time.Time
	Events    events.EventRecorder
	Conflicts conflicts
	// Timeout of one reconcile.
	Timeout time.Duration
}

// SetupWithManager registers the controller.
func (r *ScopeGrantReconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.ScopeGrant{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WatchesRawSource(r.Wakeups.of(access.KindScopeGrant)).
		WithOptions(controllerOptions(r.Timeout)).
		Complete(r)
}

// Reconcile brings one ScopeGrant's status up to date.
func (r *ScopeGrantReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	grant := &v1alpha1.ScopeGrant{}
	if err := r.Get(ctx, req.NamespacedName, grant); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	now := r.Now()
	known := r.Index.Generation(access.RefOf(grant))
	judged, ok := r.Index.GrantVerdict(req.NamespacedName, now)
	if !ok {
		wait, err := departing(ctx, r.Client, grant, now)
		return r.Conflicts.settle(req, wait, err)
	}
	if known != grant.Generation {
		return ctrl.Result{}, nil // about to be looked at again
	}
	before := grant.DeepCopy()
	matched := int32(judged.MatchedClients)
	grant.Status.MatchedClients = &matched
	message := judged.Active.Message
	if judged.MatchedClients == 0 && !judged.Active.OK {
		message += "; its subjects match no M2MClient of the API's TokenIssuer"
	}
	wait := report(r.Events, grant, now,
		access.Finding{OK: true, Reason: v1alpha1.ReasonReady, Message: message},
		counts(v1alpha1.ConditionAccepted, judged.Accepted),
		counts(v1alpha1.ConditionResolvedRefs, judged.ResolvedRefs),
		informs(v1alpha1.ConditionActive, judged.Active))
	return r.Conflicts.settle(req, soonest(now, judged.NextChange, wait), patchStatus(ctx, r.Client, before, grant))
}
