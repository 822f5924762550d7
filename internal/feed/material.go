package feed

import (
	"crypto/tls"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"github.com/go-jose/go-jose/v4"
	corev1 "k8s.io/api/core/v1"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/credential"
	"github.com/m2m-operator/m2m-operator/internal/issuer"
	"github.com/m2m-operator/m2m-operator/internal/keyring"
	"github.com/m2m-operator/m2m-operator/internal/manifests"
)

// material assembles what a token server signs, checks and serves with. What is lost or broken in the API server stays
// in use as it last was: an accident there must not become an outage here. The key ring, and the TokenIssuer's
// revocations, alone take keys away.
type material struct {
	namespace string
	issuer    string
	state     *issuer.State
	log       *slog.Logger

	mu      sync.Mutex
	pepper  credential.Pepper
	found   *corev1.ConfigMap // a key ring that has not been taken in yet
	ring    keyring.Ring
	private map[string]jose.JSONWebKey // by kid
	slots   map[keyring.Slot]string    // kids of the private keys that are in the API server
	revoked []string
	serving string                    // name of the Secret with the certificate, "" before the TokenIssuer is known
	secrets map[string]*corev1.Secret // kubernetes.io/tls, by name: one of them is, or may become, the serving one
}

func newMaterial(options Options, state *issuer.State) *material {
	return &material{
		namespace: options.Namespace, issuer: options.TokenIssuer, state: state, log: options.Logger,
		private: map[string]jose.JSONWebKey{}, slots: map[keyring.Slot]string{}, secrets: map[string]*corev1.Secret{},
	}
}

// update takes in a TokenIssuer, Secret or ConfigMap, of which most do not matter.
func (m *material) update(o any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch object := o.(type) {
	case *v1alpha1.TokenIssuer:
		if object.Name == m.issuer {
			m.serving, m.revoked = manifests.ServingName(object), object.RevokedKeys()
			m.useCertificate()
			m.useKeys()
		}
	case *corev1.ConfigMap:
		if object.Namespace == m.namespace && object.Name == manifests.RingName(m.issuer) {
			m.found = object
			m.useRing()
		}
	case *corev1.Secret:
		if object.Namespace == m.namespace {
			m.useSecret(object)
		}
	}
}

// forget drops certificates that might be named later and private keys that the ring does not name; everything that is
// in use stays.
func (m *material) forget(secret string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.secrets, secret)
	if slot, ok := manifests.SlotOf(m.issuer, secret); ok {
		delete(m.slots, slot)
		m.clear()
	}
}

// clear drops the private keys that neither the ring nor a Secret has any more.
func (m *material) clear() {
	kept := slices.Collect(maps.Values(m.slots))
	maps.DeleteFunc(m.private, func(kid string, _ jose.JSONWebKey) bool {
		return !m.ring.Has(kid) && !slices.Contains(kept, kid)
	})
}

func (m *material) useSecret(secret *corev1.Secret) {
	slot, holdsKey := manifests.SlotOf(m.issuer, secret.Name) // by the name: labels may be lost
	switch {
	case secret.Name == manifests.PepperName(m.issuer):
		pepper, err := credential.ParsePepper(secret.Data[manifests.KeyPepper])
		if err != nil {
			m.log.Error("pepper ignored", "secret", secret.Name, "error", err)
			return
		}
		m.pepper = pepper
		m.state.SetPepper(pepper)
		m.useRing()
	case holdsKey:
		key, err := keyring.ParsePrivate(secret.Data[manifests.KeyPrivateJWK])
		if err != nil || key.Algorithm != string(slot.Algorithm) {
			delete(m.slots, slot)
			m.log.Error("signing key ignored", "secret", secret.Name, "error", err)
			return
		}
		m.private[key.KeyID], m.slots[slot] = key, key.KeyID
		m.useRing()
		m.useKeys()
	case secret.Type == corev1.SecretTypeTLS:
		m.secrets[secret.Name] = secret
		m.useCertificate()
	}
}

// useRing takes in the key ring that was found, if it can be believed by now.
func (m *material) useRing() {
	if m.found == nil {
		return
	}
	ring, err := manifests.ReadRing(m.found, m.issuer, m.pepper, func(slot keyring.Slot) string { return m.slots[slot] })
	if err != nil || len(ring.Keys) == 0 {
		m.log.Warn("key ring not taken in, the last good one stays", "configMap", m.found.Name, "error", err)
		return
	}
	m.found, m.ring = nil, ring
	m.clear()
	m.useKeys()
}

// useKeys waits for the TokenIssuer, which says what of the ring is revoked.
func (m *material) useKeys() {
	if len(m.ring.Keys) == 0 || m.serving == "" {
		return
	}
	set, err := keyring.NewKeySet(m.ring, slices.Collect(maps.Values(m.private)), m.revoked...)
	if err != nil {
		m.log.Error("key ring ignored, the last good one stays", "error", err)
		return
	}
	m.state.SetKeys(set)
}

func (m *material) useCertificate() {
	secret := m.secrets[m.serving]
	if secret == nil {
		return
	}
	certificate, err := tls.X509KeyPair(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey])
	if err != nil {
		m.log.Error("serving certificate ignored, the last good one stays", "secret", secret.Name, "error", err)
		return
	}
	m.state.SetCertificate(&certificate)
}
