package controllers

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/manifests"
	"github.com/m2m-operator/m2m-operator/internal/pki"
)

// read gets a Secret of the install namespace past the cache, nil if there is none: what the cache has not seen yet
// must not be taken for lost. One that is ours, having content, gets its labels back if it lost them.
func (r *issuerRun) read(ctx context.Context, name, content string) (*corev1.Secret, error) {
	secret := &corev1.Secret{}
	err := r.Live.Get(ctx, types.NamespacedName{Namespace: r.Namespace, Name: name}, secret)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read Secret %s: %w", name, err)
	}
	if labels := manifests.IssuerLabels(r.issuer.Name, content); content != "" && !hasLabels(secret, labels) {
		addLabels(secret, labels)
		if err := r.Update(ctx, secret); err != nil {
			return nil, fmt.Errorf("label Secret %s: %w", name, err)
		}
	}
	return secret, nil
}

// ensureCertificate keeps the operator's own authority and serving certificate, or checks the one that the spec names.
func (r *issuerRun) ensureCertificate(ctx context.Context) error {
	name := manifests.ServingName(r.issuer)
	if r.issuer.Spec.TLS != nil {
		return r.checkCertificate(ctx, name)
	}
	secret, err := r.read(ctx, name, manifests.ContentServing)
	if err != nil {
		return err
	}
	serving := pki.Serving{Names: manifests.ServingNames(r.issuer, r.Namespace), Now: r.now}
	var published []byte
	if secret != nil {
		serving.Current, published = pairOf(secret), secret.Data[manifests.KeyAuthority]
	}
	authorities, err := r.ensureAuthorities(ctx, serving.Current, published)
	if err != nil {
		return err
	}
	serving.Authority = authorities.Current
	due, reason := pki.Renewal(serving)
	if reason != "" && len(authorities.Current.Certificate) == 0 {
		// The certificate in use no longer serves, and only an authority that may not sign yet could make another.
		return fmt.Errorf("serving certificate: %s, and no authority signs yet", reason)
	}
	if reason != "" {
		if serving.Current, err = pki.NewServing(authorities.Current, serving.Names, r.now); err != nil {
			return err
		}
		due, _ = pki.Renewal(serving)
		eventf(r.Events, r.issuer, corev1.EventTypeNormal, v1alpha1.ReasonCertificateIssued, "Issued a serving certificate: "+reason)
	}
	wanted := manifests.CertificateSecret(r.issuer.Name, r.Namespace, name, manifests.ContentServing, serving.Current, authorities.Bundle())
	if err := r.write(ctx, secret, wanted); err != nil {
		return fmt.Errorf("write serving certificate: %w", err)
	}
	r.look(due)
	return r.noteExpiry(serving.Current)
}

// ensureAuthorities keeps the authority that signs serving certificates, and publishes its successor before that signs.
func (r *issuerRun) ensureAuthorities(ctx context.Context, serving pki.Pair, published []byte) (pki.Authorities, error) {
	name := manifests.AuthorityName(r.issuer.Name)
	secret, err := r.read(ctx, name, manifests.ContentAuthority)
	if err != nil {
		return pki.Authorities{}, err
	}
	authorities := pki.Authorities{Previous: published, PreviousSince: r.now}
	if secret != nil {
		authorities = manifests.ReadAuthorities(secret)
	}
	authorities, reason, due, err := authorities.Advance("m2m-operator "+r.issuer.Name, serving, r.now)
	if err != nil {
		return pki.Authorities{}, err
	}
	r.look(due)
	if reason == "" {
		return authorities, nil
	}
	if err := r.write(ctx, secret, manifests.AuthoritySecret(r.issuer.Name, r.Namespace, authorities)); err != nil {
		return pki.Authorities{}, fmt.Errorf("write authority: %w", err)
	}
	eventf(r.Events, r.issuer, corev1.EventTypeNormal, v1alpha1.ReasonCertificateIssued, "Changed the authority of serving certificates: "+reason)
	return authorities, nil
}

// checkCertificate looks at the certificate that somebody else, cert-manager perhaps, keeps in the named Secret.
func (r *issuerRun) checkCertificate(ctx context.Context, name string) error {
	secret, err := r.read(ctx, name, "")
	if err != nil {
		return err
	}
	if secret == nil {
		return stopped(v1alpha1.ConditionResolvedRefs, v1alpha1.ReasonTLSSecretNotFound,
			"There is no Secret %s/%s, which spec.tls.secretName names", r.Namespace, name)
	}
	pair := pairOf(secret)
	expiry, err := pki.Expiry(pair)
	if err != nil || secret.Type != corev1.SecretTypeTLS {
		return stopped(v1alpha1.ConditionResolvedRefs, v1alpha1.ReasonTLSSecretInvalid,
			"The Secret %s/%s, which spec.tls.secretName names, must be of type %s and hold a certificate with its private key", r.Namespace, name, corev1.SecretTypeTLS)
	}
	if !r.now.Before(expiry) {
		return stopped(v1alpha1.ConditionResolvedRefs, v1alpha1.ReasonTLSSecretInvalid,
			"The certificate in the Secret %s/%s, which spec.tls.secretName names, expired at %s", r.Namespace, name, expiry.UTC().Format(time.RFC3339))
	}
	r.look(expiry)
	return r.noteExpiry(pair)
}

func (r *issuerRun) noteExpiry(pair pki.Pair) error {
	expiry, err := pki.Expiry(pair)
	if err != nil {
		return err
	}
	t := metav1.NewTime(expiry)
	r.issuer.Status.CertificateExpiryTime = &t
	return nil
}

// write creates the Secret, or replaces the content of the one that was read if nobody has changed it since.
func (r *issuerRun) write(ctx context.Context, found, wanted *corev1.Secret) error {
	values := slices.Collect(maps.Values(wanted.Data))
	if found == nil {
		return discreet(r.Create(ctx, wanted), values...)
	}
	if hasLabels(found, wanted.Labels) && apiequality.Semantic.DeepEqual(found.Data, wanted.Data) {
		return nil
	}
	addLabels(found, wanted.Labels)
	found.Data = wanted.Data
	return discreet(r.Update(ctx, found), values...)
}

func pairOf(secret *corev1.Secret) pki.Pair {
	return pki.Pair{Certificate: secret.Data[corev1.TLSCertKey], Key: secret.Data[corev1.TLSPrivateKeyKey]}
}

// look asks for another reconcile at a time, if that is the soonest so far.
func (r *issuerRun) look(at time.Time) {
	if !at.IsZero() && (r.next.IsZero() || at.Before(r.next)) {
		r.next = at
	}
}
