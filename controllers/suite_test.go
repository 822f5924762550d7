package controllers_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/controllers"
	"github.com/m2m-operator/m2m-operator/hack/controlplane"
	"github.com/m2m-operator/m2m-operator/internal/feed"
)

const installNamespace = "m2m-system"

var (
	plane *controlplane.ControlPlane
	admin client.Client
	// clockAhead is how far the controllers' clock is ahead of the machine's.
	clockAhead atomic.Int64
)

func TestMain(m *testing.M) { os.Exit(runSuite(m)) }

func runSuite(m *testing.M) int {
	ctrl.SetLogger(logr.Discard())
	ctx := context.Background()
	var err error
	if plane, err = controlplane.Start(ctx, controlplane.Options{}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer plane.Stop()
	root, err := controlplane.RepoRoot()
	if err == nil {
		err = plane.InstallManifests(ctx, filepath.Join(root, "config/crd/bases"), filepath.Join(root, "config/rbac"))
	}
	if err == nil {
		admin, err = client.New(plane.Admin(), client.Options{Scheme: feed.NewScheme()})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	stop, err := startManager(nil)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer stop()
	return m.Run()
}

// startManager runs the controllers under the manager's own ServiceAccount and RBAC. Every writing request is counted.
func startManager(writes *writeCounter) (stop func(), err error) {
	ctx, cancel := context.WithCancel(context.Background())
	restConfig, err := plane.ServiceAccountConfig(ctx, installNamespace, "m2m-manager")
	if err != nil {
		cancel()
		return nil, err
	}
	if writes != nil {
		restConfig.Wrap(func(next http.RoundTripper) http.RoundTripper { writes.next = next; return writes })
	}
	mgr, err := newManager(restConfig)
	if err == nil {
		err = controllers.Add(ctx, mgr, controllers.Options{
			Namespace: installNamespace, Random: rand.Reader,
			Now: func() time.Time { return time.Now().Add(time.Duration(clockAhead.Load())) },
		})
	}
	if err != nil {
		cancel()
		return nil, err
	}
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			fmt.Fprintln(os.Stderr, "manager:", err)
		}
	}, nil
}

func newManager(restConfig *rest.Config) (ctrl.Manager, error) {
	again := true // several managers, one after the other, in one process
	return ctrl.NewManager(restConfig, ctrl.Options{
		Scheme: feed.NewScheme(), Cache: controllers.CacheOptions(installNamespace),
		Controller: config.Controller{MaxConcurrentReconciles: 4, SkipNameValidation: &again},
		Metrics:    metricsserver.Options{BindAddress: "0"},
	})
}

// writeCounter counts what a client writes, events aside.
type writeCounter struct {
	next http.RoundTripper
	mu   sync.Mutex
	seen []string
}

func (w *writeCounter) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodGet && !strings.Contains(r.URL.Path, "/events") {
		w.mu.Lock()
		w.seen = append(w.seen, r.Method+" "+r.URL.Path)
		w.mu.Unlock()
	}
	return w.next.RoundTrip(r)
}

func (w *writeCounter) list() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.seen...)
}

// eventually waits until check returns "", and fails with what it last returned.
func eventually(t testing.TB, check func() string) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		problem := check()
		if problem == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(problem)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

var namespaceCount atomic.Int32

// newNamespace is one of the test's own: namespaces do not go away here.
func newNamespace(t testing.TB) string {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("test-%d", namespaceCount.Add(1))}}
	create(t, ns)
	return ns.Name
}

func create(t testing.TB, object client.Object) {
	t.Helper()
	if err := admin.Create(context.Background(), object); err != nil {
		t.Fatal(err)
	}
}

func get[T client.Object](t testing.TB, object T, namespace, name string) T {
	t.Helper()
	if err := admin.Get(context.Background(), types.NamespacedName{Namespace: namespace, Name: name}, object); err != nil {
		t.Fatal(err)
	}
	return object
}

// newIssuer creates a TokenIssuer and waits until it is ready.
func newIssuer(t testing.TB, name string, change func(*v1alpha1.TokenIssuerSpec)) *v1alpha1.TokenIssuer {
	t.Helper()
	issuer := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if change != nil {
		change(&issuer.Spec)
	}
	create(t, issuer)
	awaitCondition(t, issuer, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	return issuer
}

func newClient(t testing.TB, namespace, name, issuer string, change func(*v1alpha1.M2MClient)) *v1alpha1.M2MClient {
	t.Helper()
	c := &v1alpha1.M2MClient{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	c.Spec.IssuerRef.Name = issuer
	if change != nil {
		change(c)
	}
	create(t, c)
	return c
}

func newAPI(t testing.TB, namespace, name, issuer, identifier string, scopes ...string) *v1alpha1.ApiResource {
	t.Helper()
	api := &v1alpha1.ApiResource{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	api.Spec.IssuerRef.Name = issuer
	api.Spec.Identifier = identifier
	for _, scope := range scopes {
		api.Spec.Scopes = append(api.Spec.Scopes, v1alpha1.ApiScope{Name: v1alpha1.ScopeName(scope)})
	}
	create(t, api)
	return api
}

func newGrant(t testing.TB, namespace, name, api string, subject v1alpha1.GrantSubject, change func(*v1alpha1.ScopeGrantSpec), scopes ...string) *v1alpha1.ScopeGrant {
	t.Helper()
	grant := &v1alpha1.ScopeGrant{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	grant.Spec.ApiResourceRef.Name = v1alpha1.ObjectName(api)
	grant.Spec.Subjects = []v1alpha1.GrantSubject{subject}
	for _, scope := range scopes {
		grant.Spec.Scopes = append(grant.Spec.Scopes, v1alpha1.ScopeName(scope))
	}
	if change != nil {
		change(&grant.Spec)
	}
	create(t, grant)
	return grant
}

func named(namespace, name string) v1alpha1.GrantSubject {
	return v1alpha1.GrantSubject{Namespace: v1alpha1.NamespaceName(namespace), Name: v1alpha1.ObjectName(name)}
}

type conditioned interface {
	client.Object
	v1alpha1.Conditioned
}

// awaitCondition waits until the object, at its present generation, has the condition. The object is read anew.
func awaitCondition(t testing.TB, object conditioned, condition string, status metav1.ConditionStatus, reason string) metav1.Condition {
	t.Helper()
	var found metav1.Condition
	eventually(t, func() string {
		if err := admin.Get(context.Background(), client.ObjectKeyFromObject(object), object); err != nil {
			return err.Error()
		}
		for _, c := range *object.StatusConditions() {
			if c.Type == condition {
				found = c
			}
		}
		if found.Status != status || found.Reason != reason || found.ObservedGeneration != object.GetGeneration() {
			return fmt.Sprintf("%T %s: %s is %s %s (generation %d of %d): %s; want %s %s", object, object.GetName(), condition,
				found.Status, found.Reason, found.ObservedGeneration, object.GetGeneration(), found.Message, status, reason)
		}
		return ""
	})
	return found
}

func awaitReady(t testing.TB, object conditioned) {
	t.Helper()
	awaitCondition(t, object, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	awaitCondition(t, object, v1alpha1.ConditionStalled, metav1.ConditionFalse, v1alpha1.ReasonProgressing)
}
