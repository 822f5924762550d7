package controllers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/credential"
	"github.com/m2m-operator/m2m-operator/internal/manifests"
)

const (
	maxListedAPIs   = 32
	maxListedScopes = 64
)

// M2MClientReconciler keeps what a client's workload mounts, its credential Secret above all, and tells issuers how to
// check it.
type M2MClientReconciler struct {
	client.Client
	// Live reads past the cache.
	Live      client.Reader
	Index     *access.Index
	Wakeups   *Wakeups
	Namespace string
	Now       func() time.Time
	// Random is where secrets come from.
	Random io.Reader
	Events events.EventRecorder
	// Pace of scheduled rotations.
	Pace      *pace
	Conflicts conflicts
	// Timeout of one reconcile.
	Timeout time.Duration
}

// SetupWithManager registers the controller.
func (r *M2MClientReconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.M2MClient{}).
		WatchesRawSource(r.Wakeups.of(access.KindM2MClient)).
		Watches(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(parent(manifests.LabelM2MClient))).
		Watches(&corev1.ConfigMap{}, handler.EnqueueRequestsFromMapFunc(parent(manifests.LabelM2MClient))).
		Watches(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(dependents(r, r.Index, access.KindM2MClient)), inNamespace(r.Namespace)).
		WithOptions(controllerOptions(r.Timeout)).
		Complete(r)
}

// Reconcile brings one M2MClient to what its spec asks for.
func (r *M2MClientReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	object := &v1alpha1.M2MClient{}
	if err := r.Get(ctx, req.NamespacedName, object); err != nil {
		r.Pace.leave(req.NamespacedName)
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	now := r.Now()
	known := r.Index.Generation(access.RefOf(object))
	judged, ok := r.Index.ClientVerdict(req.NamespacedName, now)
	if !ok {
		wait, err := departing(ctx, r.Client, object, now)
		return r.Conflicts.settle(req, wait, err)
	}
	if known != object.Generation {
		return ctrl.Result{}, nil // about to be looked at again
	}
	before := object.DeepCopy()
	run := &clientRun{M2MClientReconciler: r, client: object, before: before, now: now, next: judged.NextChange}
	made, err := run.program(ctx, judged.ResolvedRefs.OK)
	if overtaken(err) || terminating(err) {
		return r.Conflicts.settle(req, 0, err)
	}
	if err != nil {
		made = failed("Writing what the workload mounts", err)
	}
	object.Status.ClientID = object.ClientID()
	object.Status.SecretName = ""
	if object.Authenticates(v1alpha1.AuthenticateBySecret) {
		object.Status.SecretName = object.SecretName()
	}
	object.Status.Access, object.Status.AccessCount = effectiveAccess(judged.Access)
	object.Status.Requests = accessRequests(object.Status.Requests, judged.Wishes, now)
	wait := report(r.Events, object, now, readiness(object),
		counts(v1alpha1.ConditionAccepted, judged.Accepted), counts(v1alpha1.ConditionResolvedRefs, judged.ResolvedRefs), made)
	switch made.Reason {
	case v1alpha1.ReasonSecretNotOwned, v1alpha1.ReasonConfigMapNotOwned, v1alpha1.ReasonSecretRefused, v1alpha1.ReasonPepperLost:
		run.look(now.Add(refusalRecheck))
	}
	return r.Conflicts.settle(req, soonest(now, run.next, wait), errors.Join(err, patchStatus(ctx, r.Client, run.before, object)))
}

func readiness(c *v1alpha1.M2MClient) access.Finding {
	if c.Spec.Suspend {
		return access.Finding{OK: true, Reason: v1alpha1.ReasonSuspended, Message: "Suspended: its credentials are refused until spec.suspend is false"}
	}
	return access.Finding{OK: true, Reason: v1alpha1.ReasonReady, Message: madeFor(c)}
}

// effectiveAccess is the bounded form of what a client may do.
func effectiveAccess(all []access.Access) ([]v1alpha1.EffectiveAccess, int32) {
	var listed []v1alpha1.EffectiveAccess
	for _, a := range all[:min(len(all), maxListedAPIs)] {
		entry := v1alpha1.EffectiveAccess{
			Audience: a.Audience, ScopeCount: int32(len(a.Scopes)),
			ApiResource: v1alpha1.NamespacedReference{
				Namespace: v1alpha1.NamespaceName(a.ApiResource.Namespace), Name: v1alpha1.ObjectName(a.ApiResource.Name)},
		}
		for _, scope := range a.Scopes[:min(len(a.Scopes), maxListedScopes)] {
			entry.Scopes = append(entry.Scopes, v1alpha1.ScopeName(scope))
		}
		listed = append(listed, entry)
	}
	return listed, int32(len(all))
}

// accessRequests says what has become of the client's wishes, and since when, which goes on from what was said before.
func accessRequests(before []v1alpha1.AccessRequestStatus, wishes []access.WishVerdict, now time.Time) []v1alpha1.AccessRequestStatus {
	var out []v1alpha1.AccessRequestStatus
	for _, w := range wishes {
		entry := v1alpha1.AccessRequestStatus{
			State: w.State, SinceTime: metav1.NewTime(now).Rfc3339Copy(), ApiResource: v1alpha1.NamespacedReference{
				Namespace: v1alpha1.NamespaceName(w.ApiResource.Namespace), Name: v1alpha1.ObjectName(w.ApiResource.Name)}}
		for _, b := range before {
			if b.ApiResource == entry.ApiResource && b.State == entry.State && !b.SinceTime.IsZero() {
				entry.SinceTime = b.SinceTime
			}
		}
		for _, scope := range w.Missing {
			entry.Missing = append(entry.Missing, v1alpha1.ScopeName(scope))
		}
		out = append(out, entry)
	}
	return out
}

// clientRun is one reconcile of one M2MClient.
type clientRun struct {
	*M2MClientReconciler
	client *v1alpha1.M2MClient
	// before is the object as it is in the API server: what status patches are made against.
	before *v1alpha1.M2MClient
	now    time.Time
	// next is when to look again, zero if nothing is due.
	next time.Time
}

func (r *clientRun) look(at time.Time) {
	if !at.IsZero() && (r.next.IsZero() || at.Before(r.next)) {
		r.next = at
	}
}

func (r *clientRun) owner() credential.Owner {
	return credential.Owner{Issuer: r.client.Spec.IssuerRef.Name, ClientID: r.client.ClientID()}
}

// secretRefused says what the API server has against the Secret.
func (r *clientRun) secretRefused(err error) verdict {
	return counts(v1alpha1.ConditionProgrammed, access.Finding{Reason: v1alpha1.ReasonSecretRefused, Message: fmt.Sprintf(
		"The API server does not take the Secret %s: %v", r.client.SecretName(), err)})
}

// otherPepper says how to go on when the Secret was made with another pepper, or says so.
func (r *clientRun) otherPepper(secret *corev1.Secret) verdict {
	if r.unproven(secret) {
		return counts(v1alpha1.ConditionProgrammed, access.Finding{Reason: v1alpha1.ReasonSecretNotOwned, Message: fmt.Sprintf(
			"The Secret %s names a pepper that its TokenIssuer does not have, so that nothing proves that this operator wrote it for this client. "+
				"It is left alone and is no credential. Have the Secret %s/%s restored from the same backup, and it is taken up as it is; or delete it to get a new credential.",
			r.client.SecretName(), r.Namespace, manifests.PepperName(r.client.Spec.IssuerRef.Name))})
	}
	return counts(v1alpha1.ConditionProgrammed, access.Finding{Reason: v1alpha1.ReasonPepperLost, Message: fmt.Sprintf(
		"The credential in the Secret %s was made with a pepper that the TokenIssuer no longer has; it is refused, and left as it is. "+
			"Have the pepper restored from a backup; or delete the Secret to get a new credential.", r.client.SecretName())})
}

// secretNotOwned says how to go on when the Secret's name is taken.
func (r *clientRun) secretNotOwned(found *corev1.Secret) verdict {
	message := fmt.Sprintf("A Secret %s exists that carries no proof that this operator wrote it for this client. It is left alone and is no credential. "+
		"Rename or delete it, or create the M2MClient anew with another spec.credential.secretName.", r.client.SecretName())
	if other := found.Labels[manifests.LabelM2MClient]; other != "" && other != r.client.Name {
		message = fmt.Sprintf("The Secret %s is the credential of M2MClient %s. Create this M2MClient anew with another spec.credential.secretName.",
			r.client.SecretName(), other)
	}
	return counts(v1alpha1.ConditionProgrammed, access.Finding{Reason: v1alpha1.ReasonSecretNotOwned, Message: message})
}
