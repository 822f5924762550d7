package controllers_test

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

const (
	installNamespace = suite.InstallNamespace
	image            = "m2m-operator:test"
)

var (
	world *suite.Suite
	admin client.Client
	// clockAhead is how far the controllers' clock is ahead of the machine's.
	clockAhead atomic.Int64
	// unavailable holds names of Deployments without ready pods.
	unavailable sync.Map
)

func TestMain(m *testing.M) { os.Exit(runSuite(m)) }

func runSuite(m *testing.M) int {
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var err error
	if world, err = suite.Start(context.Background()); err != nil {
		return fail(err)
	}
	defer world.Stop()
	admin = world.Admin
	stop, err := world.StartManager(suite.ManagerOptions{Now: clock, Image: image})
	if err != nil {
		return fail(err)
	}
	defer stop()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go playDeploymentController(ctx)
	return world.Verdict(m.Run())
}

// playDeploymentController says of every Deployment that its pods are there, but for those that unavailable names: the
// control plane has neither controllers nor nodes.
func playDeploymentController(ctx context.Context) {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for ctx.Err() == nil {
		var list appsv1.DeploymentList
		_ = admin.List(ctx, &list) // the next round sees what this one missed
		for _, d := range list.Items {
			ready := *d.Spec.Replicas
			if _, down := unavailable.Load(d.Name); down {
				ready = 0
			}
			if d.Status.AvailableReplicas != ready || d.Status.ObservedGeneration != d.Generation {
				d.Status = appsv1.DeploymentStatus{ObservedGeneration: d.Generation, Replicas: ready, ReadyReplicas: ready, AvailableReplicas: ready}
				_ = admin.Status().Update(ctx, &d)
			}
		}
		<-ticker.C
	}
}

func clock() time.Time { return time.Now().Add(time.Duration(clockAhead.Load())) }

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
	suite.Eventually(t, func() string {
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
