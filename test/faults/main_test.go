package faults

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/credential"
	"github.com/m2m-operator/m2m-operator/internal/manifests"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

const (
	issuerURL = "https://127.0.0.1/machines"
	audience  = "https://faults.example.com"
)

var (
	ctx   = context.Background()
	world *suite.Suite
	admin client.Client
	// clockAhead is how far the managers' clocks are ahead of the issuers' and the machine's.
	clockAhead atomic.Int64
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

// resetClock is for the end of tests: what is made ahead of time would be no good to the next.
func resetClock() { clockAhead.Store(0) }

func clock() time.Time { return time.Now().Add(time.Duration(clockAhead.Load())) }

// manager is a running one.
type manager struct {
	*trap
	asks asks
	stop func() error
}

// startManager runs a manager until the test ends or it is stopped.
func startManager(t testing.TB) *manager {
	t.Helper()
	m := &manager{trap: &trap{}}
	stop, err := world.StartManager(suite.ManagerOptions{Now: clock, Elapsed: elapsed, Dial: m.asks.dial, Wrap: func(next http.RoundTripper) http.RoundTripper { return m.wrap(m.asks.wrap(next)) }})
	if err != nil {
		t.Fatal(err)
	}
	stopped := false
	m.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		return stop()
	}
	t.Cleanup(func() { _ = m.stop() }) // it says that its way to the API server was cut
	return m
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

func namespace(name string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

func tokenIssuer(name string) *v1alpha1.TokenIssuer {
	issuer := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: name}}
	issuer.Spec.URL = issuerURL
	return issuer
}

// openAPI is an ApiResource that every client of the issuer may have tokens for.
func openAPI(namespace, issuer string) *v1alpha1.ApiResource {
	api := &v1alpha1.ApiResource{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "open"}}
	api.Spec.IssuerRef.Name, api.Spec.Identifier = issuer, audience
	api.Spec.Scopes = []v1alpha1.ApiScope{{Name: "read"}}
	api.Spec.Authorization = v1alpha1.AuthorizationAnyClient
	return api
}

// rotatingClient is an M2MClient whose secret is rotated in an interval, with an overlap of half an hour.
func rotatingClient(namespace, name, issuer string, interval time.Duration) *v1alpha1.M2MClient {
	c := &v1alpha1.M2MClient{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	c.Spec.IssuerRef.Name = issuer
	c.Spec.Credential.Rotation = &v1alpha1.CredentialRotation{
		Interval: metav1.Duration{Duration: interval}, Overlap: &metav1.Duration{Duration: 30 * time.Minute},
	}
	return c
}

// change edits the M2MClient's spec or labels.
func change(t testing.TB, c *v1alpha1.M2MClient, edit func(*v1alpha1.M2MClient)) {
	t.Helper()
	get(t, c, c.Namespace, c.Name)
	edit(c)
	suite.Save(t, admin, c)
}

// touch makes the managers look at the client.
func touch(c *v1alpha1.M2MClient) {
	c.Labels = map[string]string{"touched": fmt.Sprint(time.Now().UnixNano())}
}

func awaitReady(t testing.TB, object interface {
	client.Object
	v1alpha1.Conditioned
}) {
	t.Helper()
	suite.Eventually(t, func() string {
		if err := admin.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
			return err.Error()
		}
		for _, c := range *object.StatusConditions() {
			if c.Type == v1alpha1.ConditionReady && c.Status == metav1.ConditionTrue && c.ObservedGeneration == object.GetGeneration() {
				return ""
			}
		}
		return fmt.Sprintf("%T %s is not ready: %+v", object, object.GetName(), *object.StatusConditions())
	})
}

// unsettled says why the client's Secret and status do not agree on one credential other than before, "" if they do.
func unsettled(c *v1alpha1.M2MClient, before string) string {
	secret := &corev1.Secret{}
	if err := admin.Get(ctx, client.ObjectKey{Namespace: c.Namespace, Name: c.SecretName()}, secret); err != nil {
		return err.Error()
	}
	if err := admin.Get(ctx, client.ObjectKeyFromObject(c), c); err != nil {
		return err.Error()
	}
	id := secret.Annotations[credential.AnnotationID]
	if id == before {
		return "the Secret holds the same credential as before"
	}
	entries := c.Status.Credentials
	if len(entries) == 0 || entries[0].ID != id || entries[0].State != v1alpha1.CredentialCurrent {
		return fmt.Sprintf("status does not say that %s is current: %+v", id, entries)
	}
	if len(entries) > 2 || (len(entries) == 2 && entries[1].State != v1alpha1.CredentialPrevious) {
		return fmt.Sprintf("there is an orphan: %+v", entries)
	}
	if c.Status.CredentialRevision != c.Spec.Credential.Revision {
		return fmt.Sprintf("revision %q has not been acted on, %q was", c.Spec.Credential.Revision, c.Status.CredentialRevision)
	}
	return ""
}

// accepted asks as an issuer does: with the pepper, the verifiers of the client's status, and a clock.
func accepted(t testing.TB, c *v1alpha1.M2MClient, secret string, at time.Time) bool {
	t.Helper()
	data := get(t, &corev1.Secret{}, suite.InstallNamespace, manifests.PepperName(c.Spec.IssuerRef.Name)).Data[manifests.KeyPepper]
	pepper, err := credential.ParsePepper(data)
	if err != nil {
		t.Fatal(err)
	}
	owner := credential.Owner{Issuer: c.Spec.IssuerRef.Name, ClientID: c.ClientID()}
	_, ok := pepper.Verify(owner, get(t, c, c.Namespace, c.Name).Status.Credentials, secret, at)
	return ok
}

func valueOf(t testing.TB, c *v1alpha1.M2MClient) string {
	t.Helper()
	return string(get(t, &corev1.Secret{}, c.Namespace, c.SecretName()).Data[manifests.KeyClientSecret])
}

func awaitEvent(t testing.TB, c *v1alpha1.M2MClient, reason string) {
	t.Helper()
	suite.Eventually(t, func() string {
		var list eventsv1.EventList
		if err := admin.List(ctx, &list, client.InNamespace(c.Namespace)); err != nil {
			return err.Error()
		}
		for _, event := range list.Items {
			if event.Regarding.Name == c.Name && event.Reason == reason {
				return ""
			}
		}
		return fmt.Sprintf("no event %s on %s", reason, c.Name)
	})
}
