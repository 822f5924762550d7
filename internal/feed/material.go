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
// in use as it last was: an accident there must not become an outage here. The key ring alone takes keys away.
type material struct {
	namespace string
	issuer    string
	state     *issuer.State
	log       *slog.Logger

	mu      sync.Mutex
	ring    keyring.Ring
	private map[string]jose.JSONWebKey // by kid
	serving string                     // name of the Secret with the certificate
	secrets map[string]*corev1.Secret  // kubernetes.io/tls, by name: one of them is, or may become, the serving one
}

func newMaterial(options Options, state *issuer.State) *material {
	return &material{
		namespace: options.Namespace, issuer: options.TokenIssuer, state: state, log: options.Logger,
		private: map[string]jose.JSONWebKey{}, secrets: map[string]*corev1.Secret{},
	}
}

// update takes in a TokenIssuer, Secret or ConfigMap, of which most do not matter.
func (m *material) update(o any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch object := o.(type) {
	case *v1alpha1.TokenIssuer:
		if object.Name == m.issuer {
			m.serving = manifests.ServingName(object)
			m.useCertificate()
		}
	case *corev1.ConfigMap:
		if object.Namespace == m.namespace && object.Name == manifests.RingName(m.issuer) {
			m.useRing(object)
		}
	case *corev1.Secret:
		if object.Namespace == m.namespace {
			m.useSecret(object)
		}
	}
}

// forget drops certificates that might be named later and private keys that the ring does not name; everything that is
// in use stays.
func (m *material) forget(o any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	secret, ok := o.(*corev1.Secret)
	if !ok || secret.Namespace != m.namespace {
		return
	}
	delete(m.secrets, secret.Name)
	if key, err := keyring.ParsePrivate(secret.Data[manifests.KeyPrivateJWK]); err == nil && !m.ring.Has(key.KeyID) {
		delete(m.private, key.KeyID)
	}
}

func (m *material) useSecret(secret *corev1.Secret) {
	switch {
	case secret.Name == manifests.PepperName(m.issuer):
		pepper, err := credential.ParsePepper(secret.Data[manifests.KeyPepper])
		if err != nil {
			m.log.Error("pepper ignored", "secret", secret.Name, "error", err)
			return
		}
		m.state.SetPepper(pepper)
	case m.holdsKey(secret):
		key, err := keyring.ParsePrivate(secret.Data[manifests.KeyPrivateJWK])
		if err != nil {
			m.log.Error("signing key ignored", "secret", secret.Name, "error", err)
			return
		}
		m.private[key.KeyID] = key
		m.useKeys()
	case secret.Type == corev1.SecretTypeTLS:
		m.secrets[secret.Name] = secret
		m.useCertificate()
	}
}

// holdsKey goes by the name: labels may be lost.
func (m *material) holdsKey(secret *corev1.Secret) bool {
	_, ok := manifests.SlotOf(m.issuer, secret.Name)
	return ok
}

func (m *material) useRing(object *corev1.ConfigMap) {
	ring, err := keyring.ParseRing([]byte(object.Data[manifests.KeyRing]))
	if err != nil || len(ring.Keys) == 0 {
		m.log.Error("key ring ignored, the last good one stays", "configMap", object.Name, "error", err)
		return
	}
	m.ring = ring
	m.useKeys()
}

func (m *material) useKeys() {
	if len(m.ring.Keys) == 0 {
		return
	}
	set, err := keyring.NewKeySet(m.ring, slices.Collect(maps.Values(m.private)))
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
