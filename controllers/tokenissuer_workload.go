package controllers

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	appsv1ac "k8s.io/client-go/applyconfigurations/apps/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	policyv1ac "k8s.io/client-go/applyconfigurations/policy/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/manifests/workload"
)

// fieldOwner is the one name under which the manager applies.
const fieldOwner = "m2m-manager"

// applyWorkload deploys the token servers. What somebody edited or deleted comes back.
func (r *issuerRun) applyWorkload(ctx context.Context) error {
	if r.Image == "" {
		return nil
	}
	w := workload.Issuer{TokenIssuer: r.issuer, Namespace: r.Namespace, Image: r.Image}
	deployment, err := w.Deployment()
	if err != nil {
		return stopped(v1alpha1.ConditionProgrammed, v1alpha1.ReasonWorkloadRefused, "%v", err)
	}
	name := r.issuer.ServiceName()
	found := &appsv1.Deployment{}
	here := func() error { return stillThere(ctx, r.Live, r.issuer) }
	for _, apply := range []func() error{
		func() error {
			return applyTo(ctx, r.Client, here, workload.ServiceAccountName, r.Namespace, &corev1.ServiceAccount{}, w.ServiceAccount(), corev1ac.ExtractServiceAccount)
		},
		func() error {
			return applyTo(ctx, r.Client, here, name, r.Namespace, &corev1.Service{}, w.Service(), corev1ac.ExtractService)
		},
		func() error {
			return applyTo(ctx, r.Client, here, name, r.Namespace, &policyv1.PodDisruptionBudget{}, w.PodDisruptionBudget(), policyv1ac.ExtractPodDisruptionBudget)
		},
		func() error {
			return applyTo(ctx, r.Client, here, name, r.Namespace, found, deployment, appsv1ac.ExtractDeployment)
		},
	} {
		if err := apply(); apierrors.IsInvalid(err) {
			return stopped(v1alpha1.ConditionProgrammed, v1alpha1.ReasonWorkloadRefused, "spec.deployment asks for what the API server refuses: %v", err)
		} else if err != nil {
			return err
		}
	}
	r.availability = []verdict{available(found)}
	return nil
}

// applyTo applies what is wanted, unless the object as it was last seen holds all of it under our name already. Before it
// makes one that is missing it asks whether its owner is still there.
func applyTo[O client.Object, A runtime.ApplyConfiguration](ctx context.Context, c client.Client, ownerHere func() error, name, namespace string, found O, wanted A, extract func(O, string) (A, error)) error {
	err := c.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, found)
	if err == nil {
		ours, err := extract(found, fieldOwner)
		if err == nil && apiequality.Semantic.DeepEqual(ours, wanted) {
			return nil
		}
	} else if !apierrors.IsNotFound(err) {
		return fmt.Errorf("read %s: %w", name, err)
	} else if err := ownerHere(); err != nil {
		return err
	}
	if err := c.Apply(ctx, wanted, client.FieldOwner(fieldOwner), client.ForceOwnership); err != nil {
		return fmt.Errorf("apply %s: %w", name, err)
	}
	return nil
}

func available(d *appsv1.Deployment) verdict {
	v := verdict{condition: v1alpha1.ConditionAvailable, summary: true, transient: true}
	v.Finding = access.Finding{Reason: v1alpha1.ReasonNoReadyIssuer, Message: "No issuer pod is ready yet; see the Deployment's pods"}
	if d.Status.AvailableReplicas > 0 {
		v.Finding = access.Finding{OK: true, Reason: v1alpha1.ReasonAvailable, Message: "Issuer pods answer token requests"}
	}
	return v
}

// warnOfNewURL tells that the issuer identifier, which every verifier compares, is another one.
func (r *issuerRun) warnOfNewURL(before string) {
	if after := r.issuer.IssuerURL(r.Namespace); before != "" && before != after {
		eventf(r.Events, r.issuer, corev1.EventTypeWarning, v1alpha1.ReasonIssuerURLChanged, fmt.Sprintf(
			"The issuer identifier changed from %s to %s: verifiers refuse tokens of the other one. Credential Secrets and verifier ConfigMaps are brought up to date; restart what does not read them again.", before, after))
	}
}
