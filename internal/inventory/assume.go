package inventory

import (
	"cmp"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

// AssumeIssuers adds the TokenIssuers that objects name and that are not there, with nothing in their specs: manifests
// commonly have none, since the manager makes the default one, and tenants may not read them.
func (i *Inventory) AssumeIssuers(except ...string) {
	missing := map[string]bool{}
	for _, api := range i.APIs() {
		missing[cmp.Or(api.Spec.IssuerRef.Name, DefaultIssuer)] = true
	}
	for _, client := range i.Clients() {
		missing[cmp.Or(client.Spec.IssuerRef.Name, DefaultIssuer)] = true
	}
	for name := range missing {
		if i.Issuer(name) == nil && !slices.Contains(except, name) {
			i.Add(&v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: name}})
			i.Assumed = append(i.Assumed, name)
		}
	}
	slices.Sort(i.Assumed)
}
