// Package inventory holds what an answer about access is made from: objects of the four kinds, wherever they come from,
// and what of them could not be seen. Package files fills it from manifests, package live from a cluster.
package inventory

import (
	"cmp"
	"maps"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
)

// Kinds are the four kinds, in the order in which people think of them.
var Kinds = []access.Kind{access.KindTokenIssuer, access.KindApiResource, access.KindM2MClient, access.KindScopeGrant}

// DefaultIssuer is the TokenIssuer that the manager makes, and that objects belong to which name none.
const DefaultIssuer = "default"

// Inventory is a set of objects. It is not safe for concurrent use while it is filled.
type Inventory struct {
	objects map[access.Ref]metav1.Object
	// Terminating are the namespaces that are being deleted, whose objects count as gone.
	Terminating map[string]bool
	// partial names the namespaces that were looked into, for kinds that could not be seen everywhere.
	partial map[access.Kind][]string
	// Assumed are the TokenIssuers that are not there and were taken to be, with nothing in their specs.
	Assumed []string
}

// New is an inventory of nothing, that was looked for everywhere.
func New() *Inventory {
	return &Inventory{
		objects: map[access.Ref]metav1.Object{}, Terminating: map[string]bool{}, partial: map[access.Kind][]string{},
	}
}

// Add takes in an object of the four kinds, in the place of one of the same name. It is shared, not copied.
func (i *Inventory) Add(object metav1.Object) { i.objects[access.RefOf(object)] = object }

// Remove takes out an object, which need not be there.
func (i *Inventory) Remove(ref access.Ref) { delete(i.objects, ref) }

// Has reports whether the object is there, whether or not it counts as gone.
func (i *Inventory) Has(ref access.Ref) bool { return i.objects[ref] != nil }

// Len counts the objects.
func (i *Inventory) Len() int { return len(i.objects) }

// Refs names the objects of a kind, sorted.
func (i *Inventory) Refs(kind access.Kind) []access.Ref {
	var out []access.Ref
	for ref := range i.objects {
		if ref.Kind == kind {
			out = append(out, ref)
		}
	}
	slices.SortFunc(out, func(a, b access.Ref) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return out
}

// Issuer finds a TokenIssuer, nil if there is none.
func (i *Inventory) Issuer(name string) *v1alpha1.TokenIssuer {
	out, _ := i.objects[access.Ref{Kind: access.KindTokenIssuer, Name: name}].(*v1alpha1.TokenIssuer)
	return out
}

// API finds an ApiResource, nil if there is none.
func (i *Inventory) API(key types.NamespacedName) *v1alpha1.ApiResource {
	out, _ := i.objects[refTo(access.KindApiResource, key)].(*v1alpha1.ApiResource)
	return out
}

// Client finds an M2MClient, nil if there is none.
func (i *Inventory) Client(key types.NamespacedName) *v1alpha1.M2MClient {
	out, _ := i.objects[refTo(access.KindM2MClient, key)].(*v1alpha1.M2MClient)
	return out
}

// Grant finds a ScopeGrant, nil if there is none.
func (i *Inventory) Grant(key types.NamespacedName) *v1alpha1.ScopeGrant {
	out, _ := i.objects[refTo(access.KindScopeGrant, key)].(*v1alpha1.ScopeGrant)
	return out
}

// APIs are all ApiResources, sorted.
func (i *Inventory) APIs() []*v1alpha1.ApiResource {
	return typed[*v1alpha1.ApiResource](i, access.KindApiResource)
}

// Clients are all M2MClients, sorted.
func (i *Inventory) Clients() []*v1alpha1.M2MClient {
	return typed[*v1alpha1.M2MClient](i, access.KindM2MClient)
}

// Grants are all ScopeGrants, sorted.
func (i *Inventory) Grants() []*v1alpha1.ScopeGrant {
	return typed[*v1alpha1.ScopeGrant](i, access.KindScopeGrant)
}

// Issuers are all TokenIssuers, sorted.
func (i *Inventory) Issuers() []*v1alpha1.TokenIssuer {
	return typed[*v1alpha1.TokenIssuer](i, access.KindTokenIssuer)
}

func typed[T metav1.Object](i *Inventory, kind access.Kind) []T {
	refs := i.Refs(kind)
	out := make([]T, 0, len(refs))
	for _, ref := range refs {
		out = append(out, i.objects[ref].(T))
	}
	return out
}

func refTo(kind access.Kind, key types.NamespacedName) access.Ref {
	return access.Ref{Kind: kind, Namespace: key.Namespace, Name: key.Name}
}

// Index is what an issuer that knows exactly these objects decides from.
func (i *Inventory) Index(installNamespace string) *access.Index {
	index := access.NewIndex(installNamespace)
	for _, kind := range Kinds {
		for _, ref := range i.Refs(kind) {
			index.Upsert(i.objects[ref])
		}
	}
	for namespace := range i.Terminating {
		index.SetNamespaceTerminating(namespace, true)
	}
	return index
}

// Overlay is what there would be after the other objects were applied: they replace those of the same name.
func (i *Inventory) Overlay(applied *Inventory) *Inventory {
	out := &Inventory{
		objects: maps.Clone(i.objects), Terminating: i.Terminating, partial: i.partial, Assumed: i.Assumed,
	}
	maps.Copy(out.objects, applied.AppliedTo(i).objects)
	return out
}

// AppliedTo is what becomes of the objects when they are applied. When they were created, by which conflicts are decided,
// that they are being deleted, and what their statuses say, nobody applies: they have it from those of the same name that
// are there, or have none of it.
func (i *Inventory) AppliedTo(before *Inventory) *Inventory {
	out := &Inventory{objects: map[access.Ref]metav1.Object{}, Terminating: i.Terminating, partial: i.partial, Assumed: i.Assumed}
	for ref, object := range i.objects {
		out.objects[ref] = inherit(object, before.objects[ref])
	}
	return out
}

// inherit is the applied object with what applying it leaves as it is. There need not be another.
func inherit(applied, before metav1.Object) metav1.Object {
	switch o := applied.(type) {
	case *v1alpha1.TokenIssuer:
		o, old := o.DeepCopy(), orNew[v1alpha1.TokenIssuer](before)
		o.CreationTimestamp, o.DeletionTimestamp, o.Status = old.CreationTimestamp, old.DeletionTimestamp, old.Status
		return o
	case *v1alpha1.ApiResource:
		o, old := o.DeepCopy(), orNew[v1alpha1.ApiResource](before)
		o.CreationTimestamp, o.DeletionTimestamp, o.Status = old.CreationTimestamp, old.DeletionTimestamp, old.Status
		return o
	case *v1alpha1.M2MClient:
		o, old := o.DeepCopy(), orNew[v1alpha1.M2MClient](before)
		o.CreationTimestamp, o.DeletionTimestamp, o.Status = old.CreationTimestamp, old.DeletionTimestamp, old.Status
		return o
	case *v1alpha1.ScopeGrant:
		o, old := o.DeepCopy(), orNew[v1alpha1.ScopeGrant](before)
		o.CreationTimestamp, o.DeletionTimestamp, o.Status = old.CreationTimestamp, old.DeletionTimestamp, old.Status
		return o
	}
	return applied
}

func orNew[T any](object metav1.Object) *T {
	if typed, ok := any(object).(*T); ok {
		return typed
	}
	return new(T)
}

// Prune takes out the namespaced objects that are not among the applied ones, of the namespaces that those are in.
func (i *Inventory) Prune(applied *Inventory) {
	touched := map[string]bool{}
	for ref := range applied.objects {
		touched[ref.Namespace] = true
	}
	for ref := range i.objects {
		if ref.Namespace != "" && touched[ref.Namespace] && !applied.Has(ref) {
			i.Remove(ref)
		}
	}
}

// Sees reports whether objects of the kind were looked for in the namespace.
func (i *Inventory) Sees(kind access.Kind, namespace string) bool {
	namespaces, partial := i.partial[kind]
	return !partial || slices.Contains(namespaces, namespace)
}

// Everywhere reports whether objects of the kind were looked for in all namespaces.
func (i *Inventory) Everywhere(kind access.Kind) bool {
	_, partial := i.partial[kind]
	return !partial
}

// Limit says that objects of a kind were looked for in these namespaces only; in none, where there are none.
func (i *Inventory) Limit(kind access.Kind, namespaces []string) {
	i.partial[kind] = slices.Sorted(slices.Values(namespaces))
}

// Unseen describes what could not be seen, a sentence each.
func (i *Inventory) Unseen() []string {
	var out []string
	for _, kind := range Kinds {
		namespaces, partial := i.partial[kind]
		switch {
		case partial && kind == access.KindTokenIssuer:
			out = append(out, "TokenIssuers: you may not read them, so each is taken to have nothing in its spec")
		case partial && len(namespaces) == 0:
			out = append(out, string(kind)+"s: you may not list them in any namespace that was tried")
		case partial:
			out = append(out, string(kind)+"s: you may not list them in all namespaces; these were looked into: "+list(namespaces))
		}
	}
	return out
}

func list(items []string) string {
	var out string
	for n, item := range items {
		if n > 0 {
			out += ", "
		}
		out += item
	}
	return out
}
