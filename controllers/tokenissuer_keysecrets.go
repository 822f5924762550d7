package controllers

import (
	"context"
	"fmt"
	"maps"

	"github.com/go-jose/go-jose/v4"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/keyring"
	"github.com/m2m-operator/m2m-operator/internal/manifests"
)

// keySecrets are the private keys of an issuer.
type keySecrets struct {
	private map[keyring.Slot]jose.JSONWebKey
	sealed  map[keyring.Slot]bool
	taken   []keyring.Slot // also by what is no key
	invalid []string       // what is wrong with those
	found   map[keyring.Slot]*corev1.Secret
}

func (s keySecrets) held(slot keyring.Slot) string { return s.private[slot].KeyID }

// ours are the keys to make a lost ring from: those that we have sealed. Where there is no such key the pepper is another
// one, or the keys are of a time before there were seals.
func (s keySecrets) ours() map[keyring.Slot]jose.JSONWebKey {
	if len(s.sealed) == 0 {
		return s.private
	}
	ours := maps.Clone(s.private)
	maps.DeleteFunc(ours, func(slot keyring.Slot, _ jose.JSONWebKey) bool { return !s.sealed[slot] })
	return ours
}

func (s *keySecrets) ignore(slot keyring.Slot, why string) {
	delete(s.private, slot)
	secret := s.found[slot]
	s.invalid = append(s.invalid, fmt.Sprintf("The Secret %s/%s %s, and is ignored", secret.Namespace, secret.Name, why))
}

// readKeys reads the Secrets of all keys past the cache. They go by their names: labels may be lost.
func (r *issuerRun) readKeys(ctx context.Context) (keySecrets, error) {
	s := keySecrets{private: map[keyring.Slot]jose.JSONWebKey{}, sealed: map[keyring.Slot]bool{}, found: map[keyring.Slot]*corev1.Secret{}}
	var list corev1.SecretList
	if err := r.Live.List(ctx, &list, client.InNamespace(r.Namespace)); err != nil {
		return s, fmt.Errorf("look for signing keys: %w", err)
	}
	for i := range list.Items {
		secret := &list.Items[i]
		slot, ok := manifests.SlotOf(r.issuer.Name, secret.Name)
		if !ok {
			continue
		}
		s.taken = append(s.taken, slot)
		s.found[slot] = secret
		key, err := keyring.ParsePrivate(secret.Data[manifests.KeyPrivateJWK])
		if err != nil || key.Algorithm != string(slot.Algorithm) || secret.DeletionTimestamp != nil {
			s.ignore(slot, fmt.Sprintf("does not hold an %s signing key", slot.Algorithm))
			continue
		}
		s.private[slot] = key
		if r.pepper.CheckKey(r.issuer.Name, secret.Name, key.KeyID, secret.Annotations[manifests.AnnotationKeySeal]) {
			s.sealed[slot] = true
		}
	}
	return s, nil
}

// sortKeys leaves the keys that the ring names where they are, and those that we have made for it. Nobody else makes keys
// that sign, or takes the place of one that does. Labels and seals that were lost are put back.
func (r *issuerRun) sortKeys(ctx context.Context, s *keySecrets, ring keyring.Ring) error {
	named := map[keyring.Slot]string{}
	for _, key := range ring.Keys {
		named[keyring.Slot{Algorithm: key.Algorithm, Generation: key.Generation}] = key.KID
	}
	for slot, key := range maps.Clone(s.private) {
		switch kid := named[slot]; {
		case kid != "" && kid != key.KeyID:
			s.ignore(slot, fmt.Sprintf("holds another key than %s, which the key ring has in its place", kid))
			continue
		case kid == "" && !s.sealed[slot]:
			s.ignore(slot, "holds a signing key that this operator did not make")
			continue
		}
		secret, labels := s.found[slot], manifests.IssuerLabels(r.issuer.Name, manifests.ContentSigningKey)
		if hasLabels(secret, labels) && s.sealed[slot] {
			continue
		}
		addLabels(secret, labels)
		if secret.Annotations == nil {
			secret.Annotations = map[string]string{}
		}
		secret.Annotations[manifests.AnnotationKeySeal] = r.pepper.SealKey(r.issuer.Name, secret.Name, key.KeyID)
		if err := r.Update(ctx, secret); err != nil {
			return fmt.Errorf("label Secret %s: %w", secret.Name, err)
		}
	}
	return nil
}

// makeKey makes the private key of a slot. One that another manager makes at the same time is taken as it is.
func (r *issuerRun) makeKey(ctx context.Context, slot keyring.Slot) error {
	key, err := keyring.Generate(slot.Algorithm)
	if err != nil {
		return err
	}
	private, err := keyring.MarshalPrivate(key)
	if err != nil {
		return err
	}
	seal := r.pepper.SealKey(r.issuer.Name, manifests.KeyName(r.issuer.Name, slot), key.KeyID)
	err = r.Create(ctx, manifests.SigningKey(r.issuer.Name, r.Namespace, slot, private, seal))
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("create signing key: %w", discreet(err, private))
	}
	eventf(r.Events, r.issuer, corev1.EventTypeNormal, v1alpha1.ReasonSigningKeyCreated,
		fmt.Sprintf("Created the %s signing key %s", slot.Algorithm, key.KeyID))
	return nil
}
