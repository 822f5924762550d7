package controllers

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/manifests"
)

// DefaultIssuer makes the TokenIssuer "default" once in the life of an installation. An installation's manifests cannot
// hold it: kubectl knows no kind whose definition it is about to apply. Whoever deletes it later means it.
type DefaultIssuer struct {
	client.Client
	// Live reads past the cache.
	Live client.Reader
	// Namespace that the operator is installed in. A ConfigMap there remembers that this was done.
	Namespace string
	// Spec that it is made with.
	Spec v1alpha1.TokenIssuerSpec
}

const defaultIssuerMarker = "m2m-default-issuer"

// NeedLeaderElection makes one manager do it.
func (d *DefaultIssuer) NeedLeaderElection() bool { return true }

// Start implements manager.Runnable.
func (d *DefaultIssuer) Start(ctx context.Context) error {
	marker := &corev1.ConfigMap{}
	err := d.Live.Get(ctx, types.NamespacedName{Namespace: d.Namespace, Name: defaultIssuerMarker}, marker)
	if err == nil {
		return nil
	}
	if !apierrors.IsNotFound(err) {
		return fmt.Errorf("look whether there was a default TokenIssuer: %w", err)
	}
	var issuers v1alpha1.TokenIssuerList
	if err := d.Live.List(ctx, &issuers); err != nil {
		return fmt.Errorf("look for TokenIssuers: %w", err)
	}
	if len(issuers.Items) == 0 {
		issuer := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "default"}, Spec: d.Spec}
		if err := d.Create(ctx, issuer); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("create the default TokenIssuer: %w", err)
		}
	}
	marker = &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: d.Namespace, Name: defaultIssuerMarker, Labels: map[string]string{manifests.LabelManagedBy: manifests.ManagedBy}},
		Data:       map[string]string{"note": `The TokenIssuer "default" was made once. As long as this is here it is not made again.`},
	}
	if err := d.Create(ctx, marker); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("remember that there was a default TokenIssuer: %w", err)
	}
	return nil
}
