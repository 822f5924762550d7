package controllers

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/manifests"
)

// defaultIssuer makes the TokenIssuer "default" once in the life of an installation. An installation's manifests cannot
// hold it: kubectl knows no kind whose definition it is about to apply. Whoever deletes it later means it.
type defaultIssuer struct {
	client.Client
	// Live reads past the cache.
	Live client.Reader
	// Namespace that the operator is installed in. A ConfigMap there remembers that this was done.
	Namespace string
	// Spec that it is made with.
	Spec   v1alpha1.TokenIssuerSpec
	Events events.EventRecorder
}

const defaultIssuerMarker = "m2m-default-issuer"

// NeedLeaderElection makes one manager do it.
func (d *defaultIssuer) NeedLeaderElection() bool { return true }

// Start implements manager.Runnable. It tries again until there is a TokenIssuer, ours or a person's: what is wrong with
// this one is no reason to leave all others without their controllers.
func (d *defaultIssuer) Start(ctx context.Context) error {
	waits := workqueue.NewTypedItemExponentialFailureRateLimiter[string](conflictRetry, maxRetry)
	for {
		err := d.makeOnce(ctx)
		if err == nil {
			return nil
		}
		d.report(ctx, err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(waits.When(defaultIssuerMarker)):
		}
	}
}

// report says what is in the way. An event is for what a person has to mend.
func (d *defaultIssuer) report(ctx context.Context, err error) {
	log.FromContext(ctx).Error(err, "the default TokenIssuer is not made; it is tried again")
	if refused(err) {
		eventf(d.Events, d.issuer(), corev1.EventTypeWarning, v1alpha1.ReasonRefused, fmt.Sprintf(
			"%v. It is tried again: mend --default-issuer-spec, which is the chart's tokenIssuer.spec, or create a TokenIssuer yourself", err))
	}
}

func (d *defaultIssuer) issuer() *v1alpha1.TokenIssuer {
	return &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "default"}, Spec: d.Spec}
}

func (d *defaultIssuer) makeOnce(ctx context.Context) error {
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
		if err := d.Create(ctx, d.issuer()); err != nil && !apierrors.IsAlreadyExists(err) {
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
