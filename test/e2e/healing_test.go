//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// testHealing: what somebody edits or deletes comes back.
func testHealing(t *testing.T) {
	install(t, image)
	ensureCaller(t)
	named := metav1.ObjectMeta{Namespace: system, Name: issuerName}
	for _, damage := range []struct {
		name   string
		do     func() error
		healed func(ctx context.Context) string
	}{
		{"Deployment edited", func() error {
			return kube.Patch(t.Context(), &appsv1.Deployment{ObjectMeta: named}, client.RawPatch("application/merge-patch+json",
				[]byte(`{"spec":{"replicas":1,"template":{"spec":{"terminationGracePeriodSeconds":1}}}}`)))
		}, func(ctx context.Context) string {
			d := &appsv1.Deployment{}
			if err := kube.Get(ctx, client.ObjectKey{Namespace: system, Name: issuerName}, d); err != nil {
				return err.Error()
			}
			if *d.Spec.Replicas != 2 || *d.Spec.Template.Spec.TerminationGracePeriodSeconds != 30 {
				return "not as it was"
			}
			return ""
		}},
		{"Deployment deleted", deletion(t, &appsv1.Deployment{ObjectMeta: named}), presence(&appsv1.Deployment{ObjectMeta: named})},
		{"Service deleted", deletion(t, &corev1.Service{ObjectMeta: named}), presence(&corev1.Service{ObjectMeta: named})},
		{"PodDisruptionBudget deleted", deletion(t, &policyv1.PodDisruptionBudget{ObjectMeta: named}), presence(&policyv1.PodDisruptionBudget{ObjectMeta: named})},
	} {
		if err := damage.do(); err != nil {
			t.Fatal(err)
		}
		say("%s: healed after %s", damage.name, await(t, 10*time.Second, damage.name, damage.healed).Round(time.Millisecond))
	}
	awaitRollout(t, issuerName, 2)
	awaitService(t)
}

func deletion(t *testing.T, object client.Object) func() error {
	return func() error {
		if err := kube.Get(t.Context(), client.ObjectKeyFromObject(object), object); err != nil {
			return err
		}
		uid := object.GetUID()
		return kube.Delete(t.Context(), object, client.Preconditions{UID: &uid}, client.PropagationPolicy(metav1.DeletePropagationBackground))
	}
}

func presence(object client.Object) func(context.Context) string {
	return func(ctx context.Context) string {
		if err := kube.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
			return err.Error()
		}
		if object.GetDeletionTimestamp() != nil {
			return fmt.Sprint("being deleted since ", object.GetDeletionTimestamp())
		}
		return ""
	}
}
