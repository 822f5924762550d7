package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/keyring"
	"github.com/m2m-operator/m2m-operator/internal/manifests"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

const (
	// moment is how much the managers' clocks go on between two looks at endpoints, which may be half of Skew apart.
	moment = 29 * time.Second
	// lifetime of every token in tests of signing keys, and how long its key is published from its birth on.
	lifetime  = 10 * time.Second
	published = lifetime + keyring.MaxAge + keyring.Skew
)

var (
	// passed is the managers' clock that does not jump. It goes on where a test says so, and never by itself.
	passed atomic.Int64
	// endpoints are the addresses of issuers that EndpointSlices name by others, which may not be loopback.
	endpoints sync.Map
	// endpointsOfCertificates are the endpoints of issuers by the name of the Secret with their certificate.
	endpointsOfCertificates sync.Map
	subnets                 atomic.Int32
)

func elapsed() time.Duration { return time.Duration(passed.Load()) }

// asks counts how often a manager has asked each endpoint.
type asks struct {
	of    sync.Map
	taken sync.Map // how often, as of when the manager had done with the keys last
}

// looks is how often the manager has asked an endpoint and taken in what it said: after that it turns to the certificate.
func (a *asks) looks(endpoint string) int64 {
	count, _ := a.taken.Load(endpoint)
	looks, _ := count.(int64)
	return looks
}

// wrap is for suite.ManagerOptions.
func (a *asks) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		if endpoint, ok := endpointsOfCertificates.Load(path.Base(r.URL.Path)); ok && r.Method == http.MethodGet {
			if counter, ok := a.of.Load(endpoint); ok {
				a.taken.Store(endpoint, counter.(*atomic.Int64).Load())
			}
		}
		return next.RoundTrip(r)
	})
}

func (a *asks) dial(ctx context.Context, network, endpoint string) (net.Conn, error) {
	address, ok := endpoints.Load(endpoint)
	if !ok {
		return nil, errors.New("no such endpoint")
	}
	counter, _ := a.of.LoadOrStore(endpoint, &atomic.Int64{})
	counter.(*atomic.Int64).Add(1)
	return new(net.Dialer).DialContext(ctx, network, address.(string))
}

// signer is a TokenIssuer with an issuer that is the ready endpoint of its Service, and a client that asks it for tokens.
type signer struct {
	t        *testing.T
	name     string
	endpoint string
	server   *tokenServer
	id       string
	secret   string
	history  *history
	tokens   map[string]string // by kid, the last one
}

// newSigner needs a running manager.
func newSigner(t *testing.T, name string, configure func(*v1alpha1.TokenIssuerSpec)) *signer {
	t.Helper()
	issuer := tokenIssuer(name)
	issuer.Spec.Tokens = v1alpha1.TokenIssuerTokens{
		DefaultLifetime: &metav1.Duration{Duration: lifetime}, MaxLifetime: &metav1.Duration{Duration: lifetime},
	}
	if configure != nil {
		configure(&issuer.Spec)
	}
	c := rotatingClient(name, name, name, 8760*time.Hour)
	create(t, issuer, namespace(name), openAPI(name, name), c)
	awaitReady(t, issuer)
	awaitReady(t, c)
	s := &signer{
		t: t, name: name, server: startIssuer(t, name), endpoint: fmt.Sprintf("10.6.%d.1:8443", subnets.Add(1)),
		id: c.ClientID(), secret: valueOf(t, c), tokens: map[string]string{},
	}
	endpoints.Store(s.endpoint, s.server.address)
	endpointsOfCertificates.Store(manifests.ServingName(issuer), s.endpoint)
	host, _, _ := strings.Cut(s.endpoint, ":")
	port := int32(8443)
	create(t, &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: suite.InstallNamespace, Name: issuer.ServiceName() + "-1",
			Labels: map[string]string{discoveryv1.LabelServiceName: issuer.ServiceName()},
		},
		AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Port: &port}},
		Endpoints: []discoveryv1.Endpoint{{Addresses: []string{host}}},
	})
	s.history = watchRing(t, name)
	suite.Eventually(t, s.refused)
	return s
}

func (s *signer) issuer() *v1alpha1.TokenIssuer {
	s.t.Helper()
	return get(s.t, &v1alpha1.TokenIssuer{}, "", s.name)
}

// spec changes what the TokenIssuer says of its keys.
func (s *signer) spec(change func(*v1alpha1.TokenIssuerSigning)) {
	s.t.Helper()
	issuer := s.issuer()
	change(&issuer.Spec.Signing)
	suite.Save(s.t, admin, issuer)
}

// ring is as it is kept.
func (s *signer) ring() keyring.Ring {
	s.t.Helper()
	ring, err := keyring.ParseRing([]byte(get(s.t, &corev1.ConfigMap{}, suite.InstallNamespace, manifests.RingName(s.name)).Data[manifests.KeyRing]))
	if err != nil {
		s.t.Fatal(err)
	}
	return ring
}

// kid of the only key of an algorithm in a state.
func (s *signer) kid(algorithm v1alpha1.SigningAlgorithm, state v1alpha1.SigningKeyState) string {
	s.t.Helper()
	for _, key := range s.ring().Keys {
		if key.Algorithm == algorithm && key.State == state {
			return key.KID
		}
	}
	s.t.Fatalf("%s has no %s %s key", s.name, state, algorithm)
	return ""
}

func keyName(issuer string, key keyring.Key) string {
	return manifests.KeyName(issuer, keyring.Slot{Algorithm: key.Algorithm, Generation: key.Generation})
}

// deleteKey deletes the Secret of a key.
func (s *signer) deleteKey(kid string) {
	s.t.Helper()
	for _, key := range s.ring().Keys {
		if key.KID == kid {
			if err := admin.Delete(ctx, get(s.t, &corev1.Secret{}, suite.InstallNamespace, keyName(s.name, key))); err != nil {
				s.t.Fatal(err)
			}
		}
	}
}

// unsettled says what the ring, the key Secrets or the status lack, or have too much of: of every algorithm there shall be
// an active and an announced key and no other, none of them gone.
func (s *signer) unsettled(algorithms []v1alpha1.SigningAlgorithm, gone []string) string {
	s.t.Helper()
	if problem := s.history.unsettled(algorithms, gone); problem != "" {
		return problem // without asking the API server, as long as it is clear
	}
	ring, want := s.ring(), map[string]string{} // kids by Secret
	for _, key := range ring.Keys {
		want[keyName(s.name, key)] = key.KID
	}
	var secrets corev1.SecretList
	if err := admin.List(ctx, &secrets, client.InNamespace(suite.InstallNamespace), client.MatchingLabels{
		manifests.LabelIssuer: s.name, manifests.LabelContent: manifests.ContentSigningKey,
	}); err != nil {
		return err.Error()
	}
	for _, secret := range secrets.Items {
		key, err := keyring.ParsePrivate(secret.Data[manifests.KeyPrivateJWK])
		if err != nil || want[secret.Name] != key.KeyID {
			return fmt.Sprintf("the key in %s is an orphan: %v", secret.Name, err)
		}
		delete(want, secret.Name)
	}
	if len(want) > 0 {
		return fmt.Sprintf("there are no private keys in %v", want)
	}
	status := s.issuer().Status
	if len(status.Keys) != len(ring.Keys) || status.SigningRevision != s.issuer().Spec.Signing.Revision {
		return fmt.Sprintf("status says %v, and revision %q", status.Keys, status.SigningRevision)
	}
	for i, key := range status.Keys {
		if key.KID != ring.Keys[i].KID || key.State != ring.Keys[i].State {
			return fmt.Sprintf("status says %v", status.Keys)
		}
	}
	return ""
}

// poke makes managers look at the TokenIssuer, which does not change for it.
func (s *signer) poke() {
	s.t.Helper()
	slice := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: suite.InstallNamespace, Name: "m2m-issuer-" + s.name + "-1"}}
	patch := fmt.Sprintf(`{"metadata":{"annotations":{"poked":"%d"}}}`, time.Now().UnixNano())
	if err := admin.Patch(ctx, slice, client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
		s.t.Fatal(err)
	}
}

// refused is what the issuer has against signing, or the verifier against what it signs.
func (s *signer) refused() string {
	token, refusal := s.server.ask(s.id, s.secret)
	if refusal != "" {
		return refusal
	}
	parsed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256, jose.EdDSA})
	if err != nil {
		return err.Error()
	}
	kid := parsed.Signatures[0].Header.KeyID
	s.tokens[kid] = token
	s.history.signed(kid)
	return s.unverified()
}

// unverified says which of the tokens that are alive does not verify by what the issuer publishes.
func (s *signer) unverified() string {
	keys, err := s.server.keys()
	if err != nil {
		return err.Error()
	}
	for kid, token := range s.tokens {
		if !s.history.alive(kid) {
			delete(s.tokens, kid)
			continue
		}
		parsed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256, jose.EdDSA})
		if err == nil {
			_, err = parsed.Verify(keys)
		}
		if err != nil && !s.revoked(kid) {
			return fmt.Sprintf("a token of %s that is alive does not verify: %v", kid, err)
		}
	}
	return ""
}

// revoked reports whether a key is to be refused: for ever, also if the spec names it no more.
func (s *signer) revoked(kid string) bool {
	return slices.Contains(s.issuer().RevokedKeys(), kid) || slices.Contains(s.ring().Revoked, kid)
}

// keys are what the server publishes.
func (s *tokenServer) keys() (keys jose.JSONWebKeySet, err error) {
	response, err := s.http.Get("https://" + s.address + "/machines/oauth2/jwks")
	if err != nil {
		return keys, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return keys, errors.New(response.Status)
	}
	return keys, json.NewDecoder(response.Body).Decode(&keys)
}

// pass lets a moment pass for some of the signers, in which every manager looks at each of them if there is anything that
// waits; what is over, which over returns "" for, need not be.
func pass(t *testing.T, managers []*manager, signers []*signer, over func(*signer) string) {
	t.Helper()
	before := map[*manager]map[*signer]int64{}
	for _, m := range managers {
		before[m] = map[*signer]int64{}
		for _, s := range signers {
			before[m][s] = m.asks.looks(s.endpoint)
		}
	}
	passed.Add(int64(moment))
	clockAhead.Add(int64(moment))
	for _, s := range signers {
		s.poke()
	}
	for _, s := range signers {
		suite.Eventually(t, func() string {
			for _, m := range managers {
				if problem := over(s); m.asks.looks(s.endpoint) == before[m][s] && problem != "" {
					return fmt.Sprintf("%s is not looked at: %s", s.name, problem)
				}
			}
			return ""
		})
		suite.Eventually(t, s.refused)
	}
}

// settle lets time pass until nothing is open.
func settle(t *testing.T, managers []*manager, signers []*signer, open func(*signer) string) {
	t.Helper()
	const patience = 60 // more than twice what a rotation and the removal of the old key take
	for range patience {
		signers = slices.DeleteFunc(slices.Clone(signers), func(s *signer) bool { return open(s) == "" })
		if len(signers) == 0 {
			return
		}
		pass(t, managers, signers, open)
	}
	t.Fatalf("%s: %s", signers[0].name, open(signers[0]))
}
