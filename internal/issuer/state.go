package issuer

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/clientauth"
	"github.com/m2m-operator/m2m-operator/internal/credential"
	"github.com/m2m-operator/m2m-operator/internal/keyring"
)

// State is all that a server needs to know. It may be written while the server is running; the next request sees it.
type State struct {
	issuerName  string
	index       *access.Index
	keys        atomic.Pointer[keyring.KeySet]
	pepper      atomic.Pointer[credential.Pepper]
	cluster     atomic.Pointer[clientauth.Cluster]
	certificate atomic.Pointer[tls.Certificate]
	synced      atomic.Pointer[func() bool]
	heard       atomic.Pointer[func() map[string]time.Time]
	knowledge   atomic.Pointer[func() Knowledge]
}

// NewState makes the state of a server for a TokenIssuer, by its name. The server is not ready until everything else
// has been set.
func NewState(issuerName string, index *access.Index) *State {
	return &State{issuerName: issuerName, index: index}
}

// Index that answers who may have what.
func (s *State) Index() *access.Index { return s.index }

// SetKeys sets what is signed with and published.
func (s *State) SetKeys(keys *keyring.KeySet) { s.keys.Store(keys) }

// SetPepper sets what client secrets are checked with.
func (s *State) SetPepper(pepper credential.Pepper) { s.pepper.Store(&pepper) }

// SetCluster sets what tokens of ServiceAccounts are checked with. Until then none is taken.
func (s *State) SetCluster(cluster *clientauth.Cluster) { s.cluster.Store(cluster) }

// SetCertificate sets the serving certificate. Connections made from now on see it.
func (s *State) SetCertificate(certificate *tls.Certificate) { s.certificate.Store(certificate) }

// SetSynced sets how to tell whether the index and everything else here has been filled once.
func (s *State) SetSynced(synced func() bool) { s.synced.Store(&synced) }

// SetWatchHeard sets how to tell when the API server was last heard of each kind that is watched; zero: never.
func (s *State) SetWatchHeard(heard func() map[string]time.Time) { s.heard.Store(&heard) }

func (s *State) watchHeard() map[string]time.Time {
	if heard := s.heard.Load(); heard != nil {
		return (*heard)()
	}
	return nil
}

func (s *State) hasSynced() bool {
	synced := s.synced.Load()
	return synced != nil && (*synced)()
}

func (s *State) issuer() (*access.Issuer, bool) { return s.index.Issuer(s.issuerName) }

// publicKeys are what to publish, and whether there is anything: an empty set would make verifiers refuse every token.
func (s *State) publicKeys() (*keyring.KeySet, bool) {
	keys := s.keys.Load()
	return keys, keys != nil && !keys.Empty()
}

// signingKey is the key to sign with, of the first of the algorithms that has one at hand, and whether any has.
func (s *State) signingKey(algorithms ...v1alpha1.SigningAlgorithm) (jose.JSONWebKey, bool) {
	keys := s.keys.Load()
	if keys == nil {
		return jose.JSONWebKey{}, false
	}
	return keys.SigningKey(algorithms...)
}

// publicKey is the key that the JWKS publishes under a kid, and whether there is one.
func (s *State) publicKey(kid string) (jose.JSONWebKey, bool) {
	keys := s.keys.Load()
	if keys == nil {
		return jose.JSONWebKey{}, false
	}
	return keys.PublicKey(kid)
}

// getCertificate is for tls.Config.
func (s *State) getCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if certificate := s.certificate.Load(); certificate != nil {
		return certificate, nil
	}
	return nil, errors.New("there is no serving certificate yet")
}

// certificateExpiry is zero while there is no certificate.
func (s *State) certificateExpiry() time.Time {
	certificate := s.certificate.Load()
	if certificate == nil {
		return time.Time{}
	}
	leaf := certificate.Leaf
	if leaf == nil && len(certificate.Certificate) > 0 {
		leaf, _ = x509.ParseCertificate(certificate.Certificate[0])
	}
	if leaf == nil {
		return time.Time{}
	}
	return leaf.NotAfter
}

// need is something that a server cannot do without.
type need struct {
	name    string
	missing func(*State) string // what is missing, "" if nothing is
}

// needs of issuing, and then those of serving.
var (
	issuingNeeds = []need{
		{"synced", func(s *State) string {
			if !s.hasSynced() {
				return "the objects of the Kubernetes API have not all arrived"
			}
			return ""
		}},
		{"token-issuer", func(s *State) string {
			if _, ok := s.issuer(); !ok {
				return fmt.Sprintf("there is no TokenIssuer %q", s.issuerName)
			}
			return ""
		}},
		// One key is enough, of whichever algorithm: while another was added a moment ago and has none yet, it goes on.
		{"signing-key", func(s *State) string {
			if _, ok := s.signingKey(v1alpha1.SigningAlgorithms...); !ok {
				return "there is no signing key"
			}
			return ""
		}},
		{"pepper", func(s *State) string {
			if pepper := s.pepper.Load(); pepper == nil || !pepper.Present() {
				return "there is no pepper"
			}
			return ""
		}},
	}
	servingNeeds = append(slices.Clone(issuingNeeds), need{"certificate", func(s *State) string {
		if s.certificate.Load() == nil {
			return "there is no serving certificate"
		}
		return ""
	}})
)

// whyNotIssuing says what tokens cannot be issued for want of, "" if they can.
func (s *State) whyNotIssuing() string { return s.firstMissing(issuingNeeds) }

// whyNotReady says what the server cannot serve for want of, "" if it can.
func (s *State) whyNotReady() string { return s.firstMissing(servingNeeds) }

func (s *State) firstMissing(needs []need) string {
	for _, n := range needs {
		if why := n.missing(s); why != "" {
			return why
		}
	}
	return ""
}
