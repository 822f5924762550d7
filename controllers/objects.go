package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/manifests"
)

// managed selects what the manager has written.
var managed = labels.SelectorFromSet(labels.Set{manifests.LabelManagedBy: manifests.ManagedBy})

func hasLabels(object metav1.Object, wanted map[string]string) bool {
	return labels.SelectorFromSet(wanted).Matches(labels.Set(object.GetLabels()))
}

// addLabels sets our labels and leaves others' as they are.
func addLabels(object metav1.Object, wanted map[string]string) {
	object.SetLabels(labels.Merge(object.GetLabels(), wanted))
}

// own makes the object go when its owner goes, and reports whether that is news. An owner of the same name but another
// UID, as a restored backup brings it, is replaced. Owners are not kept from being deleted first, which would need
// rights on their finalizers.
func own(object, owner metav1.Object, kind schema.GroupVersionKind) bool {
	references := object.GetOwnerReferences()
	reference := metav1.OwnerReference{
		APIVersion: kind.GroupVersion().String(), Kind: kind.Kind, Name: owner.GetName(), UID: owner.GetUID(),
	}
	if other := metav1.GetControllerOf(object); other == nil || (other.Kind == kind.Kind && other.Name == owner.GetName()) {
		controller := true // of which there can be one
		reference.Controller = &controller
	}
	for i, r := range references {
		if r.Kind != reference.Kind || r.Name != reference.Name {
			continue
		}
		if r.UID == reference.UID {
			return false
		}
		references[i] = reference
		object.SetOwnerReferences(references)
		return true
	}
	object.SetOwnerReferences(append(references, reference))
	return true
}

// ownedBy reports whether the object names this very owner.
func ownedBy(object, owner metav1.Object) bool {
	return slices.ContainsFunc(object.GetOwnerReferences(), func(r metav1.OwnerReference) bool { return r.UID == owner.GetUID() })
}

// stillThere asks past the cache whether an object is, before something is made that it owns. What it owned may be seen
// to go before it is itself; and what is made for an owner whose kind is gone too, as when everything is uninstalled,
// nobody ever collects.
func stillThere(ctx context.Context, live client.Reader, owner client.Object) error {
	current := owner.DeepCopyObject().(client.Object)
	err := live.Get(ctx, client.ObjectKeyFromObject(owner), current)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("read %s: %w", owner.GetName(), err)
	}
	if err != nil || current.GetUID() != owner.GetUID() || current.GetDeletionTimestamp() != nil {
		return apierrors.NewConflict(v1alpha1.GroupVersion.WithResource("owner").GroupResource(), owner.GetName(),
			errors.New("it is being deleted"))
	}
	return nil
}

// soonest is how long to wait for the next of a point in time and a wait, each of which may be zero for never. It is
// never less than a moment, so that a deadline that has just come does not spin.
func soonest(now, at time.Time, wait time.Duration) time.Duration {
	if !at.IsZero() {
		if until := max(at.Sub(now), time.Second); wait == 0 || until < wait {
			return until
		}
	}
	return wait
}

// eventf records an event that a person would want to know of.
func eventf(recorder events.EventRecorder, object runtime.Object, kind, reason, note string) {
	recorder.Eventf(object, nil, kind, reason, reason, "%s", note)
}
