package controllers

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/credential"
	"github.com/m2m-operator/m2m-operator/internal/manifests"
)

// program writes what the workload mounts: the Secret if the client may prove itself by one, and for the other methods a
// ConfigMap that says where to ask. Neither waits for the other.
func (r *clientRun) program(ctx context.Context, issuerExists bool) (verdict, error) {
	if !issuerExists {
		return notYetProgrammed(v1alpha1.ReasonWaiting, "Nothing is written without a TokenIssuer"), nil
	}
	endpoint, ready, err := readEndpoint(ctx, r, r.Namespace, r.client.Spec.IssuerRef.Name)
	if err != nil {
		return verdict{}, err
	}
	if !ready {
		return issuerNotReady(r.client.Spec.IssuerRef.Name), nil
	}
	secret, err1 := r.programSecret(ctx, endpoint)
	configMap, err2 := r.programConfigMap(ctx, endpoint)
	if err := errors.Join(err1, err2); err != nil {
		return verdict{}, err
	}
	if !secret.OK {
		return secret, nil
	}
	if !configMap.OK {
		return configMap, nil
	}
	return programmed(madeFor(r.client) + secret.Message), nil
}

// madeFor says what is there for the client's workload to mount.
func madeFor(c *v1alpha1.M2MClient) string {
	secret := "The Secret " + c.SecretName() + " holds the credential"
	configMap := "the ConfigMap " + c.EndpointConfigMapName() + " says where to ask for tokens"
	switch {
	case !c.Authenticates(v1alpha1.AuthenticateBySecret):
		return "There is no Secret, for spec.authentication does not list ClientSecret; " + configMap
	case needsNoSecret(c):
		return secret + ", and " + configMap
	}
	return secret
}

// needsNoSecret reports whether the client may prove itself without one.
func needsNoSecret(c *v1alpha1.M2MClient) bool {
	return c.Authenticates(v1alpha1.AuthenticateByKey) || c.Authenticates(v1alpha1.AuthenticateByServiceAccount)
}

func (r *clientRun) programSecret(ctx context.Context, endpoint manifests.Endpoint) (verdict, error) {
	if r.client.Authenticates(v1alpha1.AuthenticateBySecret) {
		return r.ensureCredential(ctx, endpoint)
	}
	return r.withdrawCredential(ctx)
}

// withdrawCredential deletes the Secret that was made while the client could prove itself by one, and only if it carries
// our proof and is owned by the client. Issuers, which go by the spec, refuse what it holds already.
func (r *clientRun) withdrawCredential(ctx context.Context) (verdict, error) {
	done := verdict{Finding: access.Finding{OK: true}}
	key := types.NamespacedName{Namespace: r.client.Namespace, Name: r.client.SecretName()}
	err := r.Get(ctx, key, &corev1.Secret{})
	if apierrors.IsNotFound(err) && len(r.client.Status.Credentials) == 0 && r.client.Status.SecretName == "" {
		return done, nil
	}
	pepper, found, err := r.readPepper(ctx)
	if err != nil {
		return verdict{}, err
	}
	if !found {
		return issuerNotReady(r.client.Spec.IssuerRef.Name), nil
	}
	if err := r.refresh(ctx); err != nil {
		return verdict{}, err
	}
	secret, err := r.readSecret(ctx, key, pepper)
	if err != nil {
		return verdict{}, err
	}
	if secret != nil && ownedBy(secret, r.client) && proves(pepper, r.owner(), secret) {
		unchanged := client.Preconditions{UID: &secret.UID, ResourceVersion: &secret.ResourceVersion}
		if err := r.Delete(ctx, secret, unchanged); client.IgnoreNotFound(err) != nil {
			return verdict{}, fmt.Errorf("delete credential Secret: %w", err)
		}
		eventf(r.Events, r.client, corev1.EventTypeNormal, v1alpha1.ReasonCredentialRemoved, fmt.Sprintf(
			"Deleted the Secret %s, for spec.authentication no longer lists ClientSecret", secret.Name))
	}
	r.client.Status.Credentials, r.client.Status.CredentialRevision, r.client.Status.NextRotationTime = nil, "", nil
	return done, nil
}

// proves reports whether the Secret carries our proof that it was written for the client.
func proves(pepper credential.Pepper, owner credential.Owner, secret *corev1.Secret) bool {
	_, err := pepper.ReadAnnotations(owner, secret.Annotations)
	return err == nil
}

// programConfigMap writes what a workload without a Secret needs to know. One that was made while the client had other
// methods stays as it is: it holds no secret, a pod may have mounted it, and it goes with the client.
func (r *clientRun) programConfigMap(ctx context.Context, endpoint manifests.Endpoint) (verdict, error) {
	r.client.Status.ConfigMapName = ""
	done := verdict{Finding: access.Finding{OK: true}}
	if !needsNoSecret(r.client) {
		return done, nil
	}
	wanted := manifests.ClientEndpoint(r.client, endpoint)
	ours, err := ensureConfigMap(ctx, r.Client, r.Live, r.client, clientKind, wanted)
	if err != nil {
		return verdict{}, err
	}
	if !ours {
		return configMapNotOwned(wanted, clientKind), nil
	}
	r.client.Status.ConfigMapName = wanted.Name
	return done, nil
}
