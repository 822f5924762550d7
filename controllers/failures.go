package controllers

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
)

const (
	// conflictRetry is when to look again, at first, at what somebody else, or a cache that lags, was in the way of.
	conflictRetry = 100 * time.Millisecond
	// failureRetry is when to try again, at first, what has failed.
	failureRetry = 5 * time.Millisecond
	// maxRetry bounds both, which double each time: how long after an outage the last object is tried again.
	maxRetry = 30 * time.Second
	// defaultTimeout bounds one reconcile, so that requests that nobody answers hold no worker for ever.
	defaultTimeout = time.Minute
	// reportTimeout bounds how long it takes to say that the time was up.
	reportTimeout = 10 * time.Second
	// refusalRecheck is how often to look again at what no watch tells of: a stranger's Secret or ConfigMap of our name, a
	// quota, an admission policy.
	refusalRecheck = 10 * time.Second
)

// controllerOptions of every kind.
func controllerOptions(timeout time.Duration) controller.Options {
	return controller.Options{
		RateLimiter:           workqueue.NewTypedItemExponentialFailureRateLimiter[ctrl.Request](failureRetry, maxRetry),
		ReconciliationTimeout: timeout,
	}
}

// conflicts spaces out the looks at what somebody is in the way of again and again.
type conflicts struct {
	workqueue.TypedRateLimiter[ctrl.Request]
}

func newConflicts() conflicts {
	return conflicts{workqueue.NewTypedItemExponentialFailureRateLimiter[ctrl.Request](conflictRetry, maxRetry)}
}

// settle ends a reconcile. That something changed, or went, since it was read is no error but a matter of looking again.
func (c conflicts) settle(req ctrl.Request, after time.Duration, err error) (ctrl.Result, error) {
	if overtaken(err) || terminating(err) {
		return ctrl.Result{RequeueAfter: c.When(req)}, nil
	}
	c.Forget(req)
	return ctrl.Result{RequeueAfter: after}, err
}

// overtaken reports whether the world has changed since it was read, so that there is nothing to report but to look again.
func overtaken(err error) bool {
	return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err)
}

// terminating reports whether nothing can be made in the namespace any more.
func terminating(err error) bool {
	return apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause)
}

// refused reports whether the API server will say the same again, until a person changes something.
func refused(err error) bool {
	return (apierrors.IsForbidden(err) || apierrors.IsInvalid(err)) && !terminating(err)
}

// failed is the verdict on an attempt, such as "Writing the verifier ConfigMap". It says the same from one try to the next
// for as long as the cause is the same.
func failed(attempt string, err error) verdict {
	if refused(err) {
		return counts(v1alpha1.ConditionProgrammed, access.Finding{
			Reason: v1alpha1.ReasonRefused, Message: fmt.Sprintf("%s is refused by the API server: %v", attempt, err)})
	}
	return notYetProgrammed(v1alpha1.ReasonWaiting, fmt.Sprintf("%s failed and is tried again: %s", attempt, cause(err)))
}

// cause is why something failed, in words that do not differ from one request to the next.
func cause(err error) string {
	status, transport := apierrors.APIStatus(nil), (*url.Error)(nil)
	answered := errors.As(err, &status)
	switch {
	case apierrors.IsTooManyRequests(err):
		return "the API server asks for fewer requests (429)"
	case apierrors.IsTimeout(err), apierrors.IsServerTimeout(err), errors.Is(err, context.DeadlineExceeded):
		return "the API server does not answer in time"
	case terminating(err):
		return "the namespace is being deleted"
	case answered:
		return fmt.Sprintf("the API server answers %d %s", status.Status().Code, status.Status().Reason)
	case errors.As(err, &transport):
		return "the API server cannot be reached"
	}
	return err.Error()
}

// discreet is an error of the API server without the values, should it ever repeat them.
func discreet(err error, values ...[]byte) error {
	status := apierrors.APIStatus(nil)
	if !errors.As(err, &status) {
		return err
	}
	clean := status.Status()
	for _, value := range values {
		if len(value) == 0 {
			continue
		}
		for _, written := range []string{string(value), base64.StdEncoding.EncodeToString(value)} {
			clean.Message = strings.ReplaceAll(clean.Message, written, "(secret)")
		}
	}
	return &apierrors.StatusError{ErrStatus: clean}
}

// departing says of an object that counts as gone, without being deleted itself, that its namespace is on its way out. It
// returns when to look again, zero if there is nothing to say. Commonly the object is gone before that.
func departing(ctx context.Context, c client.Client, object conditioned, now time.Time) (time.Duration, error) {
	namespace := &corev1.Namespace{}
	if err := c.Get(ctx, client.ObjectKey{Name: object.GetNamespace()}, namespace); err != nil {
		return 0, client.IgnoreNotFound(err)
	}
	if namespace.DeletionTimestamp == nil || object.GetDeletionTimestamp() != nil {
		return 0, nil
	}
	if wait := refusalRecheck - now.Sub(namespace.DeletionTimestamp.Time); wait > 0 {
		return min(wait, refusalRecheck), nil
	}
	before := object.DeepCopyObject().(client.Object)
	finding := access.Finding{Reason: v1alpha1.ReasonNamespaceTerminating, Message: "The namespace is being deleted: the object counts as gone"}
	*object.ObservedGeneration() = object.GetGeneration()
	set(object, now, v1alpha1.ConditionAccepted, finding)
	set(object, now, v1alpha1.ConditionReady, finding)
	set(object, now, v1alpha1.ConditionStalled, access.Finding{Reason: v1alpha1.ReasonProgressing, Message: "Waiting: " + finding.Message})
	return 0, patchStatus(ctx, c, before, object)
}
