package plane

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

const (
	clientNamespaces = 100
	apiNamespaces    = 50
	// writers that create objects beside each other.
	writers = 32
	// everySelecting is which share of the grants select their clients by labels, and do not name one.
	everySelecting = 100
)

// world is what has been created so far.
type world struct {
	clients int
	// credentials as the manager has written them: those of clients that it has not seen are of the same size.
	credentials []v1alpha1.CredentialStatus
	conditions  []metav1.Condition
	secret      corev1.Secret
	seconds     []float64 // that the manager took
	empty       float64   // bytes of memory that an issuer without clients has
}

func (b *bench) namespaces(ctx context.Context) error {
	var names []string
	for i := range clientNamespaces {
		names = append(names, fmt.Sprintf("jobs-%d", i))
	}
	for i := range apiNamespaces {
		names = append(names, fmt.Sprintf("team-%d", i))
	}
	return parallel(ctx, len(names), writers, func(ctx context.Context, i int) error {
		return b.admin.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: names[i]}})
	})
}

func clientKey(i int) types.NamespacedName {
	return types.NamespacedName{Namespace: fmt.Sprintf("jobs-%d", i%clientNamespaces), Name: fmt.Sprintf("nightly-publisher-%d", i)}
}

func newClient(i int) *v1alpha1.M2MClient {
	key := clientKey(i)
	return &v1alpha1.M2MClient{
		ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name, Labels: map[string]string{
			"app.kubernetes.io/name": key.Name, "app.kubernetes.io/part-of": "courses", "kind": fmt.Sprintf("sensor-%d", i%50),
		}},
		Spec: v1alpha1.M2MClientSpec{DisplayName: "Nightly publisher", Description: "Publishes what was approved during the day."},
	}
}

func apiName(i int) types.NamespacedName {
	return types.NamespacedName{Namespace: fmt.Sprintf("team-%d", i%apiNamespaces), Name: fmt.Sprintf("api-%d", i)}
}

func audience(i int) string { return fmt.Sprintf("https://api-%d.example.com", i) }

func newAPI(i int) *v1alpha1.ApiResource {
	key := apiName(i)
	api := &v1alpha1.ApiResource{
		ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name},
		Spec:       v1alpha1.ApiResourceSpec{Identifier: audience(i)},
	}
	for _, name := range []string{"courses:read", "courses:write", "courses:publish", "grades:read"} {
		api.Spec.Scopes = append(api.Spec.Scopes, v1alpha1.ApiScope{Name: v1alpha1.ScopeName(name), Description: "What its name says"})
	}
	return api
}

// newGrant gives one client something; one in a hundred gives it to the clients of a namespace that have a label.
func newGrant(i, apis, clients int) *v1alpha1.ScopeGrant {
	api, subject := apiName(i%apis), clientKey(i%clients)
	grant := &v1alpha1.ScopeGrant{
		ObjectMeta: metav1.ObjectMeta{Namespace: api.Namespace, Name: fmt.Sprintf("grant-%d", i)},
		Spec: v1alpha1.ScopeGrantSpec{
			ApiResourceRef: v1alpha1.LocalApiResourceReference{Name: v1alpha1.ObjectName(api.Name)},
			Scopes:         []v1alpha1.ScopeName{"courses:read", "courses:publish"},
			Subjects:       []v1alpha1.GrantSubject{{Namespace: v1alpha1.NamespaceName(subject.Namespace), Name: v1alpha1.ObjectName(subject.Name)}},
		},
	}
	if i%everySelecting == 1 {
		grant.Spec.Subjects[0].Name = ""
		grant.Spec.Subjects[0].Selector = &v1alpha1.ClientSelector{MatchLabels: map[string]string{"kind": fmt.Sprintf("sensor-%d", i%50)}}
	}
	return grant
}

// fill makes all that the issuer is to know and that is not there yet. One of each kind is the API server's.
func (b *bench) fill(ctx context.Context) error {
	first := b.world.clients
	b.world.clients = max(b.world.clients, b.Clients)
	if err := b.admin.Create(ctx, newAPI(0)); err != nil {
		return err
	}
	if err := b.admin.Create(ctx, newGrant(0, b.APIs, b.world.clients)); err != nil {
		return err
	}
	for _, step := range []struct {
		kind, resource string
		like           types.NamespacedName
		first, end     int
		made           func(i int) client.Object
	}{
		{"M2MClient", "m2mclients", clientKey(0), first, b.world.clients, func(i int) client.Object { return newClient(i) }},
		{"ApiResource", "apiresources", apiName(0), 1, b.APIs, func(i int) client.Object { return newAPI(i) }},
		{"ScopeGrant", "scopegrants", types.NamespacedName{Namespace: apiName(0).Namespace, Name: "grant-0"}, 1, b.Grants,
			func(i int) client.Object { return newGrant(i, b.APIs, b.world.clients) }},
	} {
		all, err := b.multiply(ctx, step.kind, step.resource, step.like)
		if err != nil {
			return err
		}
		if err := b.put(ctx, all, step.first, step.end, step.made); err != nil {
			return err
		}
	}
	if err := b.awaitServed(ctx); err != nil {
		return err
	}
	b.tell("%d M2MClients, %d ApiResources and %d ScopeGrants are there", b.world.clients, b.APIs, b.Grants)
	return nil
}

// awaitServed waits until the API server has taken in what was put into etcd.
func (b *bench) awaitServed(ctx context.Context) error {
	for _, list := range []client.ObjectList{&v1alpha1.M2MClientList{}, &v1alpha1.ApiResourceList{}, &v1alpha1.ScopeGrantList{}} {
		if err := b.page(ctx, list, client.Limit(1)); err != nil {
			return err
		}
	}
	return nil
}

// page lists once more where the API server's cache is too far behind etcd, as every client does.
func (b *bench) page(ctx context.Context, list client.ObjectList, options ...client.ListOption) error {
	return await(ctx, func(ctx context.Context) (bool, error) {
		err := b.admin.List(ctx, list, options...)
		if apierrors.IsTimeout(err) {
			return false, nil
		}
		return err == nil, err
	})
}

// announce writes the client's credentials into its status, in one write.
func (b *bench) announce(ctx context.Context, of *v1alpha1.M2MClient) error {
	before := of.DeepCopy()
	of.Status.Credentials = b.world.credentials
	return b.admin.Status().Patch(ctx, of, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
}

// parallel does something n times, by so many at once, until it fails.
func parallel(ctx context.Context, n, workers int, do func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var running sync.WaitGroup
	for range workers {
		running.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := do(ctx, i); err != nil {
					cancel(err)
				}
			}
		})
	}
	running.Wait()
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return ctx.Err()
}
