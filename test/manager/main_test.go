package manager

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/manifests"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

var (
	ctx   = context.Background()
	world *suite.Suite
	admin client.Client

	started = time.Now()
	// ahead is how much more time the managers' clocks say has passed, both that on the wall and that which does not jump.
	ahead atomic.Int64
	// reachable are the issuers behind the addresses of EndpointSlices, which may not be loopback.
	reachable sync.Map
	// asked counts how often a manager has asked one, and is done with it.
	asked atomic.Int64
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	var err error
	if world, err = suite.Start(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer world.Stop()
	admin = world.Admin
	return world.Verdict(m.Run())
}

func clock() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }

func elapsed() time.Duration { return time.Since(started) + time.Duration(ahead.Load()) }

func dial(ctx context.Context, network, address string) (net.Conn, error) {
	behind, ok := reachable.Load(address)
	if !ok {
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

// startManager runs a manager until the test ends or it is stopped. One that cannot begin, for it learns nothing of the API
// server's kinds, is started again, as a cluster does.
func startManager(t testing.TB, o suite.ManagerOptions) (stop func()) {
	t.Helper()
	o.Now, o.Elapsed, o.Dial = clock, elapsed, dial
	var end func() error
	suite.Eventually(t, func() string {
		var err error
		end, err = world.StartManager(o)
		return problem(err)
	})
	var once sync.Once
	stop = func() {
		once.Do(func() {
			if err := end(); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

func create(t testing.TB, objects ...client.Object) {
	t.Helper()
	for _, object := range objects {
		if err := admin.Create(ctx, object); err != nil {
			t.Fatal(err)
		}
	}
}

func get[T client.Object](t testing.TB, object T, namespace, name string) T {
	t.Helper()
	if err := admin.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, object); err != nil {
		t.Fatal(err)
	}
	return object
}

func remove(t testing.TB, object client.Object) {
	t.Helper()
	if err := admin.Delete(ctx, object); err != nil {
		t.Fatal(err)
	}
}

func namespace(name string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

func tokenIssuer(name string) *v1alpha1.TokenIssuer {
	issuer := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: name}}
	issuer.Spec.URL = "https://127.0.0.1/" + name
	return issuer
}

func m2mClient(namespace, name, issuer string) *v1alpha1.M2MClient {
	c := &v1alpha1.M2MClient{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	c.Spec.IssuerRef.Name = issuer
	return c
}

func apiResource(namespace, name, issuer string, scopes ...v1alpha1.ScopeName) *v1alpha1.ApiResource {
	api := &v1alpha1.ApiResource{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	api.Spec.IssuerRef.Name, api.Spec.Identifier = issuer, "https://"+name+".example.com"
	for _, scope := range scopes {
		api.Spec.Scopes = append(api.Spec.Scopes, v1alpha1.ApiScope{Name: scope})
	}
	return api
}

func scopeGrant(api *v1alpha1.ApiResource, name string, subject v1alpha1.GrantSubject, scopes ...v1alpha1.ScopeName) *v1alpha1.ScopeGrant {
	g := &v1alpha1.ScopeGrant{ObjectMeta: metav1.ObjectMeta{Namespace: api.Namespace, Name: name}}
	g.Spec.ApiResourceRef.Name = v1alpha1.ObjectName(api.Name)
	g.Spec.Subjects, g.Spec.Scopes = []v1alpha1.GrantSubject{subject}, scopes
	return g
}

func named(c *v1alpha1.M2MClient) v1alpha1.GrantSubject {
	return v1alpha1.GrantSubject{Namespace: v1alpha1.NamespaceName(c.Namespace), Name: v1alpha1.ObjectName(c.Name)}
}

func selecting(namespace, key, value string) v1alpha1.GrantSubject {
	return v1alpha1.GrantSubject{Namespace: v1alpha1.NamespaceName(namespace), Selector: &v1alpha1.ClientSelector{MatchLabels: map[string]string{key: value}}}
}

// condition of the object, as it is in the API server now.
func condition(t testing.TB, object conditioned, kind string) metav1.Condition {
	t.Helper()
	get(t, object, object.GetNamespace(), object.GetName())
	for _, c := range *object.StatusConditions() {
		if c.Type == kind {
			return c
		}
	}
	return metav1.Condition{}
}

type conditioned interface {
	client.Object
	v1alpha1.Conditioned
}

func awaitReady(t testing.TB, objects ...conditioned) {
	t.Helper()
	for _, object := range objects {
		suite.Eventually(t, func() string {
			c := condition(t, object, v1alpha1.ConditionReady)
			if c.Status != metav1.ConditionTrue || c.ObservedGeneration != object.GetGeneration() {
				return fmt.Sprintf("%T %s is not ready: %+v", object, object.GetName(), *object.StatusConditions())
			}
			return ""
		})
	}
}

// endpoint runs a token server for the TokenIssuer until the test ends, and makes it the ready endpoint of its Service.
func endpoint(t testing.TB, issuer *v1alpha1.TokenIssuer, address string) {
	t.Helper()
	running, err := world.StartIssuer(issuer.Name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := running.Stop(); err != nil {
			t.Error(err)
		}
	})
	suite.Eventually(t, func() string {
		response, err := http.Get("http://" + running.OpsAddress + "/readyz")
		if err != nil {
			return err.Error()
		}
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return "the issuer is not ready"
		}
		return ""
	})
	reachable.Store(address+":8443", running.Address)
	create(t, endpointSlice(issuer, address))
}

func endpointSlice(issuer *v1alpha1.TokenIssuer, address string) *discoveryv1.EndpointSlice {
	port, https := int32(8443), "https"
	return &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: suite.InstallNamespace, Name: issuer.ServiceName() + "-1",
			Labels: map[string]string{discoveryv1.LabelServiceName: issuer.ServiceName()},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: &https, Port: &port}},
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{address}}},
	}
}

// value of a metric of all managers, summed up over those of its series that have the labels.
func value(t testing.TB, name string, labels map[string]string) (sum float64) {
	t.Helper()
	families, err := metrics.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
	series:
		for _, m := range family.GetMetric() {
			has := map[string]string{}
			for _, pair := range m.GetLabel() {
				has[pair.GetName()] = pair.GetValue()
			}
			for k, v := range labels {
				if has[k] != v {
					continue series
				}
			}
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return sum
}

func reconciles(t testing.TB) int {
	return int(value(t, "controller_runtime_reconcile_total", nil))
}

func secretOf(t testing.TB, c *v1alpha1.M2MClient) *corev1.Secret {
	t.Helper()
	return get(t, &corev1.Secret{}, c.Namespace, c.SecretName())
}

func valueOf(t testing.TB, c *v1alpha1.M2MClient) string {
	t.Helper()
	return string(secretOf(t, c).Data[manifests.KeyClientSecret])
}

func state(issuer *v1alpha1.TokenIssuer, kid string) v1alpha1.SigningKeyState {
	for _, key := range issuer.Status.Keys {
		if key.KID == kid {
			return key.State
		}
	}
	return ""
}

func rfc3339(at time.Time) string { return at.UTC().Format(time.RFC3339Nano) }

func problem(err error) string {
	if err != nil {
		return err.Error()
	}
	return ""
}
