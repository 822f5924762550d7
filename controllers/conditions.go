package controllers

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
)

// MissingReferenceGrace is how long a missing reference may be an object that the same commit is about to bring.
const MissingReferenceGrace = 60 * time.Second

// verdict is what a reconcile found out about one aspect of an object.
type verdict struct {
	condition string
	access.Finding
	// transient: it heals by itself or by another object's controller, so it is nobody's mistake.
	transient bool
	// summary: it counts towards Ready.
	summary bool
}

func counts(condition string, f access.Finding) verdict {
	return verdict{condition: condition, Finding: f, summary: true}
}

func informs(condition string, f access.Finding) verdict {
	return verdict{condition: condition, Finding: f}
}

// notYetProgrammed is a finding that time or another controller heals.
func notYetProgrammed(reason, message string) verdict {
	return verdict{condition: v1alpha1.ConditionProgrammed, Finding: access.Finding{Reason: reason, Message: message}, transient: true, summary: true}
}

func programmed(message string) verdict {
	return counts(v1alpha1.ConditionProgrammed, access.Finding{OK: true, Reason: v1alpha1.ReasonProgrammed, Message: message})
}

var missingReference = map[string]bool{
	v1alpha1.ReasonIssuerNotFound:         true,
	v1alpha1.ReasonApiResourceNotFound:    true,
	v1alpha1.ReasonApiResourceNotAccepted: true,
	v1alpha1.ReasonUnknownScope:           true,
	v1alpha1.ReasonTLSSecretNotFound:      true,
}

// report writes the verdicts into the object's conditions, with Ready and Stalled derived from them, and returns how
// long to wait before a missing reference counts as a mistake, zero if none does. A mistake that was not there before
// is an event too.
func report(recorder events.EventRecorder, object conditioned, now time.Time, ready access.Finding, verdicts ...verdict) time.Duration {
	var first *verdict
	for i, v := range verdicts {
		if v.summary && !v.OK && !v.transient && falseReason(object, v.condition) != v.Reason {
			eventf(recorder, object, corev1.EventTypeWarning, v.Reason, v.Message)
		}
		set(object, now, v.condition, v.Finding)
		if v.summary && !v.OK && first == nil {
			first = &verdicts[i]
		}
	}
	*object.ObservedGeneration() = object.GetGeneration()
	if first == nil {
		set(object, now, v1alpha1.ConditionReady, ready)
		set(object, now, v1alpha1.ConditionStalled, access.Finding{Reason: v1alpha1.ReasonProgressing, Message: "Nothing is in the way"})
		return 0
	}
	set(object, now, v1alpha1.ConditionReady, first.Finding)
	var wait time.Duration
	if missingReference[first.Reason] {
		since := meta.FindStatusCondition(*object.StatusConditions(), first.condition).LastTransitionTime
		wait = max(0, MissingReferenceGrace-now.Sub(since.Time))
	}
	if first.transient || wait > 0 {
		set(object, now, v1alpha1.ConditionStalled, access.Finding{Reason: v1alpha1.ReasonProgressing, Message: "Waiting: " + first.Message})
	} else {
		set(object, now, v1alpha1.ConditionStalled, access.Finding{OK: true, Reason: first.Reason, Message: first.Message})
	}
	return wait
}

// conditioned is an object of one of the four kinds.
type conditioned interface {
	client.Object
	v1alpha1.Conditioned
}

// falseReason is the reason why a condition is False, "" if it is not.
func falseReason(object v1alpha1.Conditioned, condition string) string {
	if c := meta.FindStatusCondition(*object.StatusConditions(), condition); c != nil && c.Status == metav1.ConditionFalse {
		return c.Reason
	}
	return ""
}

func set(object v1alpha1.Conditioned, now time.Time, condition string, f access.Finding) {
	status := metav1.ConditionFalse
	if f.OK {
		status = metav1.ConditionTrue
	}
	existing := meta.FindStatusCondition(*object.StatusConditions(), condition)
	transition := metav1.NewTime(now)
	if existing != nil && existing.Status == status {
		transition = existing.LastTransitionTime
	}
	meta.SetStatusCondition(object.StatusConditions(), metav1.Condition{
		Type: condition, Status: status, Reason: f.Reason, Message: f.Message,
		ObservedGeneration: object.GetGeneration(), LastTransitionTime: transition,
	})
}

// patchStatus writes the status of after if it differs from before's. It fails with a conflict when the object has
// changed since it was read: a verdict on an old state, or a lost credential, is never written over a newer one.
func patchStatus(ctx context.Context, c client.Client, before, after client.Object) error {
	if apiequality.Semantic.DeepEqual(before, after) {
		return nil
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) { // the reconcile's time is up, and that is what there is to say
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), reportTimeout)
		defer cancel()
	}
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := c.Status().Patch(ctx, after, patch); err != nil {
		return fmt.Errorf("write status: %w", err)
	}
	return nil
}
