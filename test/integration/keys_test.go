package integration

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/keyring"
	"github.com/m2m-operator/m2m-operator/internal/manifests"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

var (
	started = time.Now()
	// passed is how much more time the manager's monotonic clock says has passed.
	passed atomic.Int64
	// reachable are the issuers behind the addresses of EndpointSlices, which may not be loopback.
	reachable sync.Map
	// asked counts how often the manager has asked one, and had its answer or none.
	asked atomic.Int64
)

func elapsed() time.Duration { return time.Since(started) + time.Duration(passed.Load()) }

func dialEndpoint(ctx context.Context, network, address string) (net.Conn, error) {
	behind, ok := reachable.Load(address)
	if !ok {
		asked.Add(1)
		return nil, errors.New("no such endpoint")
	}
	var d net.Dialer
	connection, err := d.DialContext(ctx, network, behind.(string))
	return &asking{Conn: connection}, err
}

// asking is a connection that counts when it is done with.
type asking struct {
	net.Conn
	once sync.Once
}

func (a *asking) Close() error {
	a.once.Do(func() { asked.Add(1) })
	return a.Conn.Close()
}

// rotating is a TokenIssuer of its own with two issuers, which are ready endpoints of its Service, a client and an API.
type rotating struct {
	t          *testing.T
	name       string
	issuers    []*suite.Issuer
	slice      *discoveryv1.EndpointSlice
	id, secret string
	inspector  inspector
}

func newRotating(t *testing.T, name string, subnet int) *rotating {
	t.Helper()
	issuer := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: name}}
	issuer.Spec.URL = "https://127.0.0.1/" + name
	create(t, issuer)
	r := &rotating{t: t, name: name, slice: &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: suite.InstallNamespace, Name: issuer.ServiceName() + "-1",
			Labels: map[string]string{discoveryv1.LabelServiceName: issuer.ServiceName()},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
	}}
	port, https := int32(8443), "https"
	r.slice.Ports = []discoveryv1.EndpointPort{{Name: &https, Port: &port}}
	for i := range 2 {
		running, err := world.StartIssuer(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := running.Stop(); err != nil {
				t.Error(err)
			}
		})
		suite.Eventually(t, func() string { return notReady(running) })
		address := fmt.Sprintf("10.%d.0.%d", subnet, i+1)
		reachable.Store(address+":8443", running.Address)
		r.issuers = append(r.issuers, running)
		r.slice.Endpoints = append(r.slice.Endpoints, discoveryv1.Endpoint{Addresses: []string{address}})
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(get(t, &corev1.Secret{}, suite.InstallNamespace, "m2m-"+name+"-tls").Data[manifests.KeyAuthority])
	for _, i := range r.issuers {
		connections[i.Address] = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		}}
	}
	create(t, r.slice)
	api := &v1alpha1.ApiResource{ObjectMeta: metav1.ObjectMeta{Namespace: "courses", Name: name}}
	api.Spec.IssuerRef.Name, api.Spec.Identifier = name, "https://"+name+".example.com"
	api.Spec.Scopes, api.Spec.Authorization = []v1alpha1.ApiScope{{Name: "read"}}, v1alpha1.AuthorizationAnyClient
	create(t, api)
	of := func(c *v1alpha1.M2MClient) { c.Spec.IssuerRef.Name = name }
	r.id, r.secret = newCaller(t, "jobs", name, of)
	r.inspector.id, r.inspector.secret = newCaller(t, "courses", name+"-inspector", of)
	return r
}

// spec changes what the TokenIssuer says of its keys.
func (r *rotating) spec(change func(*v1alpha1.TokenIssuerSigning)) {
	r.t.Helper()
	issuer := r.object()
	change(&issuer.Spec.Signing)
	update(r.t, issuer)
}

func (r *rotating) object() *v1alpha1.TokenIssuer {
	r.t.Helper()
	return get(r.t, &v1alpha1.TokenIssuer{}, "", r.name)
}

func (r *rotating) path(p string) string { return "/" + r.name + p }

// published are the kids in an issuer's JWKS.
func (r *rotating) published(issuer *suite.Issuer) []string {
	r.t.Helper()
	request, err := http.NewRequest(http.MethodGet, "https://"+issuer.Address+r.path(v1alpha1.PathJWKS), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(do(r.t, issuer, request).body), &set); err != nil {
		r.t.Fatal(err)
	}
	var kids []string
	for _, key := range set.Keys {
		kids = append(kids, key.KeyID)
	}
	return kids
}

// token is a new one of an issuer, with its algorithm and kid.
func (r *rotating) token(issuer *suite.Issuer) (token, algorithm, kid string) {
	r.t.Helper()
	a := post(r.t, issuer, r.path(v1alpha1.PathToken), r.id, r.secret, url.Values{
		"grant_type": {"client_credentials"}, "audience": {"https://" + r.name + ".example.com"},
	})
	token = a.token(r.t).AccessToken
	parsed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256, jose.RS256})
	if err != nil {
		r.t.Fatalf("status %d, %s: %v", a.status, a.body, err)
	}
	header := parsed.Signatures[0].Header
	return token, header.Algorithm, header.KeyID
}

func (r *rotating) active(issuer *suite.Issuer, token string) bool {
	r.t.Helper()
	a := post(r.t, issuer, r.path(v1alpha1.PathIntrospection), r.inspector.id, r.inspector.secret, url.Values{"token": {token}})
	var said introspection
	if err := json.Unmarshal([]byte(a.body), &said); err != nil {
		r.t.Fatal(err)
	}
	return said.Active
}

// keys are the states of an algorithm's keys, by the ring, and their kids.
func (r *rotating) keys(algorithm v1alpha1.SigningAlgorithm) (states string, kids []string) {
	r.t.Helper()
	configMap := get(r.t, &corev1.ConfigMap{}, suite.InstallNamespace, manifests.RingName(r.name))
	ring, err := keyring.ParseRing([]byte(configMap.Data[manifests.KeyRing]))
	if err != nil {
		r.t.Fatal(err)
	}
	for _, key := range ring.Keys {
		if key.Algorithm == algorithm {
			states += " " + string(key.State)
			kids = append(kids, key.KID)
		}
	}
	return strings.TrimSpace(states), kids
}

func (r *rotating) await(algorithm v1alpha1.SigningAlgorithm, want string) (kids []string) {
	r.t.Helper()
	suite.Eventually(r.t, func() string {
		var states string
		if states, kids = r.keys(algorithm); states != want {
			return fmt.Sprintf("%s is %q, want %q", algorithm, states, want)
		}
		return ""
	})
	return kids
}

// pass lets the manager's monotonic clock go on, in steps in which it looks at the endpoints. It is woken for each.
func (r *rotating) pass(d time.Duration) {
	r.t.Helper()
	const step = 10 * time.Second // two of them, and what really passes, are less than Skew/2
	for ; d > 0; d -= step {
		issuer := r.object()
		before := asked.Load()
		passed.Add(int64(min(d, step)))
		issuer.Annotations = map[string]string{"test": fmt.Sprint(passed.Load())}
		update(r.t, issuer)
		suite.Eventually(r.t, func() string {
			if asked.Load() < before+int64(len(r.slice.Endpoints)) {
				return "the endpoints are not asked"
			}
			return ""
		})
	}
}

const dwell = keyring.MaxAge + keyring.Skew

// signsEverywhere waits until every issuer signs with the key.
func (r *rotating) signsEverywhere(kid string) {
	r.t.Helper()
	for _, issuer := range r.issuers {
		suite.Eventually(r.t, func() string {
			if _, _, got := r.token(issuer); got != kid {
				return fmt.Sprintf("%s signs, want %s", got, kid)
			}
			return ""
		})
	}
}

func TestSigningKeysRotateOnceEveryEndpointServesTheNext(t *testing.T) {
	r := newRotating(t, "rotating", 1)
	kids := r.await(v1alpha1.ES256, "Active Announced")
	r.slice.Endpoints = append(r.slice.Endpoints, discoveryv1.Endpoint{Addresses: []string{"10.1.0.99"}}) // nobody is there
	update(t, r.slice)
	r.spec(func(s *v1alpha1.TokenIssuerSigning) { s.Revision = "2" })
	suite.Eventually(t, func() string {
		c := meta.FindStatusCondition(r.object().Status.Conditions, v1alpha1.ConditionKeysCurrent)
		if c == nil || c.Reason != v1alpha1.ReasonRotating || c.Status != metav1.ConditionFalse {
			return fmt.Sprintf("condition %+v", c)
		}
		return ""
	})
	r.pass(2 * dwell)
	suite.Eventually(t, func() string {
		c := meta.FindStatusCondition(r.object().Status.Conditions, v1alpha1.ConditionKeysCurrent)
		if c.Reason != v1alpha1.ReasonKeyNotServed || !strings.Contains(c.Message, "10.1.0.99") || !strings.Contains(c.Message, kids[1]) {
			return fmt.Sprintf("condition %+v", c)
		}
		return ""
	})
	if issuer := r.object(); !meta.IsStatusConditionTrue(issuer.Status.Conditions, v1alpha1.ConditionReady) || issuer.Status.SigningRevision != "" {
		t.Errorf("while the old key goes on: %+v", issuer.Status)
	}
	r.await(v1alpha1.ES256, "Active Announced")
	before, _, _ := r.token(r.issuers[0])

	r.slice.Endpoints = r.slice.Endpoints[:2]
	update(t, r.slice)
	r.pass(dwell + time.Minute)
	after := r.await(v1alpha1.ES256, "Retired Active Announced")
	if !slices.Equal(after[:2], kids) {
		t.Errorf("keys %v, then %v", kids, after)
	}
	r.signsEverywhere(kids[1])
	if !r.active(r.issuers[1], before) {
		t.Error("a token of before is worth nothing")
	}
	suite.Eventually(t, func() string {
		issuer := r.object()
		if !meta.IsStatusConditionTrue(issuer.Status.Conditions, v1alpha1.ConditionKeysCurrent) || issuer.Status.SigningRevision != "2" || issuer.Status.Keys[0].UntilTime == nil {
			return fmt.Sprintf("status %+v", issuer.Status)
		}
		return ""
	})
}

func TestAnAlgorithmIsExchangedWithoutAGap(t *testing.T) {
	r := newRotating(t, "exchanged", 2)
	r.spec(func(s *v1alpha1.TokenIssuerSigning) { s.Algorithms = []v1alpha1.SigningAlgorithm{v1alpha1.RS256} })
	r.await(v1alpha1.RS256, "Announced")
	for _, issuer := range r.issuers {
		if _, algorithm, _ := r.token(issuer); algorithm != "ES256" {
			t.Errorf("%s signs before anybody can know its key", algorithm)
		}
	}
	r.pass(dwell + time.Minute)
	kids := r.await(v1alpha1.RS256, "Active Announced")
	r.await(v1alpha1.ES256, "Retired")
	r.signsEverywhere(kids[0])
}

// TestARevokedKeyIsWorthNothingWithinASecond: with the manager down too, which later puts the rest in order.
func TestARevokedKeyIsWorthNothingWithinASecond(t *testing.T) {
	r := newRotating(t, "compromised", 3)
	kids := r.await(v1alpha1.ES256, "Active Announced")
	token, _, kid := r.token(r.issuers[0])
	if kid != kids[0] || !r.active(r.issuers[1], token) {
		t.Fatalf("%s signs", kid)
	}
	if err := stopManager(); err != nil {
		t.Fatal(err)
	}
	running := false
	defer func() {
		if !running {
			_ = startManager()
		}
	}()
	r.spec(func(s *v1alpha1.TokenIssuerSigning) { s.RevokedKeys = []v1alpha1.KeyID{v1alpha1.KeyID(kid)} })
	accepted := time.Now()
	r.signsEverywhere(kids[1])
	for _, issuer := range r.issuers {
		if slices.Contains(r.published(issuer), kid) || r.active(issuer, token) {
			t.Error("the next key signs, and the revoked one is published, or a token of it worth something")
		}
	}
	if took := time.Since(accepted); took > bound {
		t.Errorf("it took %s to reach every issuer, which may be %s", took, bound)
	}
	running = true
	if err := startManager(); err != nil {
		t.Fatal(err)
	}
	var after []string
	suite.Eventually(t, func() string {
		var states string
		if states, after = r.keys(v1alpha1.ES256); states != "Active Announced" || after[0] != kids[1] {
			return fmt.Sprintf("keys %v, then %v, %s", kids, after, states)
		}
		return ""
	})
	for _, issuer := range r.issuers {
		suite.Eventually(t, func() string {
			if published := r.published(issuer); !slices.Equal(published, after) {
				return fmt.Sprintf("%v are published, want %v", published, after)
			}
			return ""
		})
	}
	r.spec(func(s *v1alpha1.TokenIssuerSigning) { s.RevokedKeys = nil })
	r.signsEverywhere(kids[1]) // for ever
}

// TestAForgedKeyRingPublishesNothing: whoever may write ConfigMaps, and read no Secret.
func TestAForgedKeyRingPublishesNothing(t *testing.T) {
	r := newRotating(t, "forged", 4)
	kids := r.await(v1alpha1.ES256, "Active Announced")
	evil, err := keyring.Generate(v1alpha1.ES256)
	if err != nil {
		t.Fatal(err)
	}
	configMap := get(t, &corev1.ConfigMap{}, suite.InstallNamespace, manifests.RingName(r.name))
	good := configMap.DeepCopy()
	ring, err := keyring.ParseRing([]byte(configMap.Data[manifests.KeyRing]))
	if err != nil {
		t.Fatal(err)
	}
	forged, err := ring.Fill(keyring.Slot{Algorithm: v1alpha1.ES256, Generation: 3}, evil, time.Now()).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for name, seal := range map[string]string{"the old seal": good.Data[manifests.KeyRingSeal], "none": "", "another pepper's": "0123456789abcdef.AAAA"} {
		configMap.Data = map[string]string{manifests.KeyRing: string(forged), manifests.KeyRingSeal: seal}
		update(t, configMap)
		suite.Eventually(t, func() string {
			if c := meta.FindStatusCondition(r.object().Status.Conditions, v1alpha1.ConditionProgrammed); c.Reason != v1alpha1.ReasonKeyInvalid {
				return fmt.Sprintf("%s: %+v", name, c)
			}
			return ""
		})
		for _, issuer := range r.issuers {
			if published := r.published(issuer); !slices.Equal(published, kids) {
				t.Errorf("%s: %v are published, want %v", name, published, kids)
			}
		}
		configMap.Data = good.Data
		update(t, configMap)
		suite.Eventually(t, func() string {
			if c := meta.FindStatusCondition(r.object().Status.Conditions, v1alpha1.ConditionProgrammed); c.Status != metav1.ConditionTrue {
				return fmt.Sprintf("%s was taken back: %+v", name, c)
			}
			return ""
		})
	}
}
