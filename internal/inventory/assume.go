package inventory

import (
	"cmp"
	"maps"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

// AssumeIssuers adds the TokenIssuers that objects name and that are not there, with nothing in their specs: manifests
// commonly have none, since the manager makes the default one, and tenants may not read them.
func (i *Inventory) AssumeIssuers(except ...string) {
	names := map[string]bool{}
	for _, api := range i.APIs() {
		names[cmp.Or(api.Spec.IssuerRef.Name, DefaultIssuer)] = true
	}
	for _, client := range i.Clients() {
		names[cmp.Or(client.Spec.IssuerRef.Name, DefaultIssuer)] = true
	}
	for _, name := range except {
		delete(names, name)
	}
	i.Assume(slices.Sorted(maps.Keys(names))...)
}

// Assume adds those of the TokenIssuers that are not there, with nothing in their specs.
func (i *Inventory) Assume(names ...string) {
	assumed := slices.Clone(i.Assumed) // it may be shared with what this was overlaid on
	for _, name := range names {
		if i.Issuer(name) == nil {
			i.Add(&v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: name}})
			assumed = append(assumed, name)
		}
	}
	slices.Sort(assumed)
	i.Assumed = assumed
}
