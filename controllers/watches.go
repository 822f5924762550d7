package controllers

import (
	"context"
	"errors"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/feed"
	"github.com/m2m-operator/m2m-operator/internal/manifests"
)

// What wakes whom:
//
//	TokenIssuer  itself, its Secrets and key ring in the install namespace, the Secret that spec.tls names, its workload
//	             and what of it is ready
//	ApiResource  itself, what the index says it depends on, its verifier ConfigMap, its issuer's certificate
//	M2MClient    itself, what the index says it depends on, its credential Secret and ConfigMap, its issuer's pepper and
//	             certificate
//	ScopeGrant   itself, what the index says it depends on
//
// Clients that ApiResources and ScopeGrants merely count wake these every few seconds only. What an object's own change
// wakes goes before what another's does.
//
// "What the index says" is the access engine's own knowledge of who depends on whom, so that what wakes a controller
// and what it then decides cannot differ.

// clientCountDelay bounds how often a number of clients is brought up to date.
const clientCountDelay = 3 * time.Second

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// Wakeups passes the index's changes on to the controllers' queues.
type Wakeups struct {
	mu     sync.Mutex
	queues map[access.Kind]queue
	synced func() bool
}

// WatchIndex keeps the index in step with the cache and tells the controllers what changed in it.
func WatchIndex(ctx context.Context, informers cache.Informers, index *access.Index) (*Wakeups, error) {
	w := &Wakeups{queues: map[access.Kind]queue{}}
	synced, err := feed.Index(ctx, informers, index, w.notify)
	w.synced = synced
	return w, err
}

func (w *Wakeups) notify(cause access.Ref, affected []access.Ref) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, ref := range affected {
		q := w.queues[ref.Kind]
		if q == nil {
			continue // not the leader: everything is looked at once it leads
		}
		switch {
		case ref == cause:
			q.Add(request(ref.Namespace, ref.Name))
		case cause.Kind == access.KindM2MClient && ref.Kind != access.KindM2MClient: // it is but counted there
			addBehind(q, request(ref.Namespace, ref.Name), clientCountDelay)
		default:
			addBehind(q, request(ref.Namespace, ref.Name), 0)
		}
	}
}

// addBehind queues what another object's change has moved behind what was changed itself: a grant that selects thousands
// of clients keeps nobody else waiting.
func addBehind(q queue, r reconcile.Request, after time.Duration) {
	q.(priorityqueue.PriorityQueue[reconcile.Request]).AddWithOpts(
		priorityqueue.AddOpts{Priority: new(handler.LowPriority), After: after}, r)
}

func request(namespace, name string) reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: name}}
}

// of is the source of one kind's wake-ups. A controller that uses it starts only when the index is complete.
func (w *Wakeups) of(kind access.Kind) *indexSource { return &indexSource{wakeups: w, kind: kind} }

type indexSource struct {
	wakeups *Wakeups
	kind    access.Kind
}

// Start implements source.Source.
func (s *indexSource) Start(_ context.Context, q workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	s.wakeups.mu.Lock()
	defer s.wakeups.mu.Unlock()
	s.wakeups.queues[s.kind] = q
	return nil
}

// WaitForSync implements source.SyncingSource.
func (s *indexSource) WaitForSync(ctx context.Context) error {
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for !s.wakeups.synced() {
		select {
		case <-ctx.Done():
			return errors.New("the index was not complete in time: is the API server reachable, and may the manager list the four kinds and namespaces?")
		case <-ticker.C:
		}
	}
	return nil
}

func (s *indexSource) String() string { return "access index: " + string(s.kind) }

// everyIssuer maps an object that all TokenIssuers share to all of them.
func everyIssuer(reader client.Reader) handler.MapFunc {
	return func(ctx context.Context, _ client.Object) []reconcile.Request {
		var issuers v1alpha1.TokenIssuerList
		if err := reader.List(ctx, &issuers); err != nil {
			return nil
		}
		var requests []reconcile.Request
		for _, issuer := range issuers.Items {
			requests = append(requests, request("", issuer.Name))
		}
		return requests
	}
}

// issuersOf maps an object of the install namespace to the TokenIssuers that it belongs to, by its label or its name:
// what was restored, or made by hand, may carry no label.
func issuersOf(reader client.Reader) handler.MapFunc {
	return func(ctx context.Context, object client.Object) []reconcile.Request {
		var issuers v1alpha1.TokenIssuerList
		if err := reader.List(ctx, &issuers); err != nil {
			return nil
		}
		var requests []reconcile.Request
		for i := range issuers.Items {
			issuer := &issuers.Items[i]
			if object.GetLabels()[manifests.LabelIssuer] == issuer.Name || manifests.BelongsTo(issuer, object.GetName()) {
				requests = append(requests, request("", issuer.Name))
			}
		}
		return requests
	}
}

// dependents maps a Secret of the install namespace to all objects of one kind that belong to its issuer: they publish
// its certificate's authority, or are made with its pepper. Signing keys concern none of them.
func dependents(reader client.Reader, index *access.Index, kind access.Kind) handler.MapFunc {
	issuers := issuersOf(reader)
	return func(ctx context.Context, object client.Object) []reconcile.Request {
		if object.GetLabels()[manifests.LabelContent] == manifests.ContentSigningKey {
			return nil
		}
		var requests []reconcile.Request
		for _, issuer := range issuers(ctx, object) {
			for _, ref := range index.Affected(access.Ref{Kind: access.KindTokenIssuer, Name: issuer.Name}) {
				if ref.Kind == kind {
					requests = append(requests, request(ref.Namespace, ref.Name))
				}
			}
		}
		return requests
	}
}

// parent maps a written object to the object of the same namespace that its label names. Labels, not ownerReferences,
// because these do not survive a backup.
func parent(label string) handler.MapFunc {
	return func(_ context.Context, object client.Object) []reconcile.Request {
		if name := object.GetLabels()[label]; name != "" {
			return []reconcile.Request{request(object.GetNamespace(), name)}
		}
		return nil
	}
}

func inNamespace(namespace string) builder.Predicates {
	return builder.WithPredicates(predicate.NewPredicateFuncs(func(o client.Object) bool { return o.GetNamespace() == namespace }))
}

// managedOrInstalled is what the manager keeps of Secrets and ConfigMaps: its own everywhere, and all of the install
// namespace, where spec.tls.secretName may name any, and a person may have put one back by hand.
func managedOrInstalled(installNamespace string) cache.ByObject {
	return cache.ByObject{Namespaces: map[string]cache.Config{
		installNamespace:    {},
		cache.AllNamespaces: {LabelSelector: managed},
	}}
}

// workloads is what the manager keeps of what it deploys, managedFields too: they tell what of it is still ours.
func workloads(installNamespace string) cache.ByObject {
	return cache.ByObject{
		Namespaces: map[string]cache.Config{installNamespace: {LabelSelector: managed}},
		Transform:  func(object any) (any, error) { return object, nil },
	}
}

// CacheOptions are what the manager keeps in memory.
func CacheOptions(installNamespace string) cache.Options {
	return cache.Options{
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Secret{}:                managedOrInstalled(installNamespace),
			&corev1.ConfigMap{}:             managedOrInstalled(installNamespace),
			&appsv1.Deployment{}:            workloads(installNamespace),
			&corev1.Service{}:               workloads(installNamespace),
			&discoveryv1.EndpointSlice{}:    {Namespaces: map[string]cache.Config{installNamespace: {}}},
			&corev1.ServiceAccount{}:        workloads(installNamespace),
			&policyv1.PodDisruptionBudget{}: workloads(installNamespace),
		},
	}
}
