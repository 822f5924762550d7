package controllers

import (
	"context"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/manifests"
)

var apiKind = v1alpha1.GroupVersion.WithKind("ApiResource")

// ApiResourceReconciler writes an API's verifier ConfigMap and says whether its identifier is its own.
type ApiResourceReconciler struct {
	client.Client
	// Live reads past the cache.
	Live      client.Reader
	Index     *access.Index
	Wakeups   *Wakeups
	Namespace string
	Now       func() time.Time
	Events    events.EventRecorder
	Conflicts conflicts
	// Timeout of one reconcile.
	Timeout time.Duration
}

// SetupWithManager registers the controller.
func (r *ApiResourceReconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.ApiResource{}).
		WatchesRawSource(r.Wakeups.of(access.KindApiResource)).
		Watches(&corev1.ConfigMap{}, handler.EnqueueRequestsFromMapFunc(parent(manifests.LabelApiResource))).
		Watches(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(dependents(r, r.Index, access.KindApiResource)), inNamespace(r.Namespace)).
		WithOptions(controllerOptions(r.Timeout)).
		Complete(r)
}

// Reconcile brings one ApiResource to what its spec asks for.
func (r *ApiResourceReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	api := &v1alpha1.ApiResource{}
	if err := r.Get(ctx, req.NamespacedName, api); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	now := r.Now()
	known := r.Index.Generation(access.RefOf(api))
	judged, ok := r.Index.ApiResourceVerdict(req.NamespacedName, now)
	if !ok {
		wait, err := departing(ctx, r.Client, api, now)
		return r.Conflicts.settle(req, wait, err)
	}
	if known != api.Generation {
		return ctrl.Result{}, nil // about to be looked at again
	}
	before := api.DeepCopy()
	api.Status.PendingRequests, api.Status.PendingRequestCount = pendingRequests(judged.Pending)
	made, err := r.ensureVerifier(ctx, api, judged)
	if overtaken(err) || terminating(err) {
		return r.Conflicts.settle(req, 0, err)
	}
	if err != nil {
		made = failed("Writing the verifier ConfigMap", err)
	}
	wait := report(r.Events, api, now,
		access.Finding{OK: true, Reason: v1alpha1.ReasonReady, Message: "Tokens can be issued for " + api.Spec.Identifier},
		counts(v1alpha1.ConditionAccepted, judged.Accepted),
		counts(v1alpha1.ConditionResolvedRefs, judged.ResolvedRefs), made)
	if made.Reason == v1alpha1.ReasonConfigMapNotOwned && (wait == 0 || wait > refusalRecheck) {
		wait = refusalRecheck
	}
	return r.Conflicts.settle(req, soonest(now, judged.NextChange, wait), errors.Join(err, patchStatus(ctx, r.Client, before, api)))
}

// maxPendingNamespaces is how many namespaces an ApiResource's status lists.
const maxPendingNamespaces = 32

// pendingRequests is the bounded form of who waits.
func pendingRequests(all []access.Pending) (listed []v1alpha1.PendingRequests, count int32) {
	for i, p := range all {
		if count += int32(p.Clients); i < maxPendingNamespaces {
			listed = append(listed, v1alpha1.PendingRequests{Namespace: v1alpha1.NamespaceName(p.Namespace), Count: int32(p.Clients)})
		}
	}
	return listed, count
}

// ensureVerifier writes the ConfigMap that the API's own pods mount. An API that is not accepted keeps the one it has:
// its pods go on verifying tokens that are alive.
func (r *ApiResourceReconciler) ensureVerifier(ctx context.Context, api *v1alpha1.ApiResource, judged access.ApiResourceVerdict) (verdict, error) {
	if !judged.Fit() {
		return notYetProgrammed(v1alpha1.ReasonWaiting, "Nothing is written while the ApiResource is not accepted"), nil
	}
	endpoint, ready, err := readEndpoint(ctx, r, r.Namespace, api.Spec.IssuerRef.Name)
	if err != nil {
		return verdict{}, err
	}
	if !ready {
		return issuerNotReady(api.Spec.IssuerRef.Name), nil
	}
	wanted := manifests.Verifier(api, endpoint)
	ours, err := ensureConfigMap(ctx, r.Client, r.Live, api, apiKind, wanted)
	if err != nil {
		return verdict{}, err
	}
	if !ours {
		return configMapNotOwned(wanted, apiKind), nil
	}
	api.Status.VerifierConfigMapName = wanted.Name
	return programmed("The ConfigMap " + wanted.Name + " tells verifiers what to check"), nil
}
