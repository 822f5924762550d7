package feed

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
)

// NewScheme knows the kinds of Kubernetes and of this project.
func NewScheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	return scheme
}

// Notify is told which objects' verdicts a change may have moved, and what changed, after the index knows of it.
type Notify func(cause access.Ref, affected []access.Ref)

// Index keeps the access index in step with the API server from the moment that the cache starts. notify may be nil.
// The result says whether everything that existed at the start has arrived in the index.
func Index(ctx context.Context, informers cache.Informers, index *access.Index, notify Notify) (synced func() bool, err error) {
	f := &indexFeed{index: index, notify: notify}
	objects := []client.Object{&v1alpha1.TokenIssuer{}, &v1alpha1.ApiResource{}, &v1alpha1.M2MClient{}, &v1alpha1.ScopeGrant{}}
	registrations := make([]toolscache.ResourceEventHandlerRegistration, 0, len(objects)+1)
	for _, object := range objects {
		registration, err := handle(ctx, informers, object, toolscache.ResourceEventHandlerFuncs{
			AddFunc:    func(o any) { f.upsert(nil, o.(client.Object)) },
			UpdateFunc: func(old, o any) { f.upsert(old.(client.Object), o.(client.Object)) },
			DeleteFunc: func(o any) { f.delete(access.RefOf(last(o).(client.Object))) },
		})
		if err != nil {
			return nil, err
		}
		registrations = append(registrations, registration)
	}
	registration, err := handle(ctx, informers, &corev1.Namespace{}, toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { f.namespace(o.(*corev1.Namespace).Name, terminating(o)) },
		UpdateFunc: func(_, o any) { f.namespace(o.(*corev1.Namespace).Name, terminating(o)) },
		DeleteFunc: func(o any) { f.namespaceGone(last(o).(*corev1.Namespace).Name) },
	})
	if err != nil {
		return nil, err
	}
	return allSynced(append(registrations, registration)), nil
}

func handle(ctx context.Context, informers cache.Informers, object client.Object, handler toolscache.ResourceEventHandler) (toolscache.ResourceEventHandlerRegistration, error) {
	informer, err := informers.GetInformer(ctx, object, cache.BlockUntilSynced(false))
	if err != nil {
		return nil, fmt.Errorf("watch %T: %w", object, err)
	}
	return informer.AddEventHandler(handler)
}

func allSynced(registrations []toolscache.ResourceEventHandlerRegistration) func() bool {
	return func() bool {
		return !slices.ContainsFunc(registrations, func(r toolscache.ResourceEventHandlerRegistration) bool { return !r.HasSynced() })
	}
}

// last is the last known state of a deleted object, whose deletion itself may have been missed.
func last(o any) any {
	if tombstone, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
		return tombstone.Obj
	}
	return o
}

func terminating(o any) bool {
	namespace := o.(*corev1.Namespace)
	return namespace.DeletionTimestamp != nil || namespace.Status.Phase == corev1.NamespaceTerminating
}

type indexFeed struct {
	index  *access.Index
	notify Notify
}

func (f *indexFeed) upsert(old, object client.Object) {
	ref := access.RefOf(object)
	if f.notify == nil || (old != nil && sameVerdict(old, object)) {
		f.index.Upsert(object)
		return
	}
	before := f.index.Affected(ref)
	f.index.Upsert(object)
	f.notify(ref, union(before, f.index.Affected(ref)))
}

func (f *indexFeed) delete(ref access.Ref) {
	if f.notify == nil {
		f.index.Delete(ref)
		return
	}
	before := f.index.Affected(ref)
	f.index.Delete(ref)
	f.notify(ref, union(before, f.index.Affected(ref)))
}

// namespace tells of both, the end and a new beginning: objects of a namespace that is made anew may have arrived before
// it, and been taken for gone.
func (f *indexFeed) namespace(name string, terminating bool) {
	if f.index.SetNamespaceTerminating(name, terminating) && f.notify != nil {
		f.notify(access.Ref{}, f.index.AffectedByNamespace(name))
	}
}

// namespaceGone tells of the end. Objects of a namespace that is gone may be told of later: they must not come alive in
// between.
func (f *indexFeed) namespaceGone(name string) { f.namespace(name, f.index.Holds(name)) }

// sameVerdict reports whether an update changed nothing that a verdict depends on: status changes of our own come back
// as updates too.
func sameVerdict(old, object metav1.Object) bool {
	return old.GetGeneration() == object.GetGeneration() &&
		old.GetUID() == object.GetUID() &&
		old.GetDeletionTimestamp().Equal(object.GetDeletionTimestamp()) &&
		apiequality.Semantic.DeepEqual(old.GetLabels(), object.GetLabels())
}

func union(a, b []access.Ref) []access.Ref {
	seen := make(map[access.Ref]bool, len(a)+len(b))
	var all []access.Ref
	for _, ref := range append(slices.Clip(a), b...) {
		if !seen[ref] {
			seen[ref] = true
			all = append(all, ref)
		}
	}
	return all
}
