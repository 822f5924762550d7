// Package live fills an inventory from a cluster, with the rights of whoever asks.
package live

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/inventory"
)

// Load reads all objects of the four kinds. Where they may not be listed in all namespaces it looks into these. The error
// says that the API server cannot be asked, or does not know the kinds.
func Load(ctx context.Context, c client.Reader, namespaces ...string) (*inventory.Inventory, error) {
	out := inventory.New()
	slices.Sort(namespaces)
	namespaces = slices.Compact(namespaces)
	for _, kind := range inventory.Kinds {
		if err := load(ctx, c, out, kind, namespaces); err != nil {
			return nil, err
		}
	}
	if !out.Everywhere(access.KindTokenIssuer) {
		out.AssumeIssuers()
	}
	return out, terminating(ctx, c, out)
}

func load(ctx context.Context, c client.Reader, into *inventory.Inventory, kind access.Kind, namespaces []string) error {
	err := list(ctx, c, into, kind, "")
	if !apierrors.IsForbidden(err) {
		return explain(kind, err)
	}
	var seen []string
	for _, namespace := range namespaces {
		if kind == access.KindTokenIssuer || namespace == "" {
			continue
		}
		switch err := list(ctx, c, into, kind, namespace); {
		case err == nil:
			seen = append(seen, namespace)
		case !apierrors.IsForbidden(err):
			return explain(kind, err)
		}
	}
	into.Limit(kind, seen)
	return nil
}

func explain(kind access.Kind, err error) error {
	switch {
	case err == nil:
		return nil
	case meta.IsNoMatchError(err), apierrors.IsNotFound(err):
		return fmt.Errorf("the cluster does not know the kind %s: is m2m-operator installed there? %w", kind, err)
	}
	return fmt.Errorf("list %ss: %w", kind, err)
}

func newList(kind access.Kind) client.ObjectList {
	switch kind {
	case access.KindTokenIssuer:
		return &v1alpha1.TokenIssuerList{}
	case access.KindApiResource:
		return &v1alpha1.ApiResourceList{}
	case access.KindM2MClient:
		return &v1alpha1.M2MClientList{}
	default:
		return &v1alpha1.ScopeGrantList{}
	}
}

// pageSize bounds what one answer of the API server may hold.
const pageSize = 500

func list(ctx context.Context, c client.Reader, into *inventory.Inventory, kind access.Kind, namespace string) error {
	objects := newList(kind)
	for next := ""; ; {
		if err := c.List(ctx, objects, client.InNamespace(namespace), client.Limit(pageSize), client.Continue(next)); err != nil {
			return err
		}
		items, err := meta.ExtractList(objects)
		if err != nil {
			return err
		}
		for _, item := range items {
			object := item.(metav1.Object)
			into.Add(object)
		}
		if next = objects.GetContinue(); next == "" {
			return nil
		}
		objects = newList(kind)
	}
}

// terminating looks which namespaces are being deleted, as far as that may be seen.
func terminating(ctx context.Context, c client.Reader, into *inventory.Inventory) error {
	namespaces := &corev1.NamespaceList{}
	err := c.List(ctx, namespaces)
	if apierrors.IsForbidden(err) {
		return nil
	} else if err != nil {
		return fmt.Errorf("list namespaces: %w", err)
	}
	for _, namespace := range namespaces.Items {
		if namespace.DeletionTimestamp != nil || namespace.Status.Phase == corev1.NamespaceTerminating {
			into.Terminating[namespace.Name] = true
		}
	}
	return nil
}
