package controllers

import (
	"context"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
)

// ensureConfigMap writes a ConfigMap that its owner's pods mount, unless it is there as it should be. A stranger's of
// the same name is left alone: then it is false. live reads past the cache, which knows only what carries our label.
func ensureConfigMap(ctx context.Context, c client.Client, live client.Reader, owner client.Object, kind schema.GroupVersionKind, wanted *corev1.ConfigMap) (ours bool, err error) {
	key := client.ObjectKeyFromObject(wanted)
	found := &corev1.ConfigMap{}
	err = c.Get(ctx, key, found)
	if apierrors.IsNotFound(err) {
		err = live.Get(ctx, key, found)
	}
	switch {
	case apierrors.IsNotFound(err):
		if err = stillThere(ctx, live, owner); err == nil {
			own(wanted, owner, kind)
			err = c.Create(ctx, wanted)
		}
	case err != nil:
	case !hasLabels(found, wanted.Labels) && !ownedBy(found, owner):
		return false, nil
	default:
		owned := own(found, owner, kind)
		if !maps.Equal(found.Data, wanted.Data) || owned || !hasLabels(found, wanted.Labels) {
			addLabels(found, wanted.Labels)
			found.Data = wanted.Data
			err = c.Update(ctx, found)
		}
	}
	if err != nil {
		return true, fmt.Errorf("write ConfigMap %s: %w", wanted.Name, err)
	}
	return true, nil
}

// configMapNotOwned says how to go on when the ConfigMap's name is taken.
func configMapNotOwned(wanted *corev1.ConfigMap, kind schema.GroupVersionKind) verdict {
	return counts(v1alpha1.ConditionProgrammed, access.Finding{Reason: v1alpha1.ReasonConfigMapNotOwned, Message: fmt.Sprintf(
		"A ConfigMap %s exists that this operator did not write for this %s. It is left alone. Rename or delete it.",
		client.ObjectKeyFromObject(wanted), kind.Kind)})
}
