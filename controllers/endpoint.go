package controllers

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/manifests"
)

// readEndpoint is what clients and APIs are told of a TokenIssuer. It is false while the issuer has no certificate yet.
func readEndpoint(ctx context.Context, reader client.Reader, namespace, name string) (manifests.Endpoint, bool, error) {
	issuer := &v1alpha1.TokenIssuer{}
	if err := reader.Get(ctx, types.NamespacedName{Name: name}, issuer); err != nil {
		return manifests.Endpoint{}, false, client.IgnoreNotFound(err)
	}
	secret := &corev1.Secret{}
	err := reader.Get(ctx, types.NamespacedName{Namespace: namespace, Name: manifests.ServingName(issuer)}, secret)
	if apierrors.IsNotFound(err) {
		return manifests.Endpoint{}, false, nil
	}
	if err != nil {
		return manifests.Endpoint{}, false, fmt.Errorf("read serving certificate: %w", err)
	}
	return manifests.Endpoint{URL: issuer.IssuerURL(namespace), Authority: secret.Data[manifests.KeyAuthority]}, true, nil
}

func issuerNotReady(name string) verdict {
	return notYetProgrammed(v1alpha1.ReasonIssuerNotReady,
		fmt.Sprintf("TokenIssuer %s has no pepper or no certificate; see its conditions", name))
}
