package controllers

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

// StillThere is what is asked before something is made that an object owns.
var StillThere = stillThere

// MakeDefaultIssuer is one attempt at making the default TokenIssuer.
func MakeDefaultIssuer(ctx context.Context, c client.Client, namespace string, spec v1alpha1.TokenIssuerSpec) error {
	return (&defaultIssuer{Client: c, Live: c, Namespace: namespace, Spec: spec}).makeOnce(ctx)
}
