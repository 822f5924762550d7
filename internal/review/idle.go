package review

import (
	"fmt"

	"k8s.io/apimachinery/pkg/types"

	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/inventory"
)

// mostIdle are told of; the others are counted.
const mostIdle = 10

// Idle says which of the objects, that are among those of the world, come to nothing, since what they name is not there or
// cannot have tokens. A comparison finds no change in them.
func (w World) Idle(objects *inventory.Inventory) []string {
	var out []string
	note := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	unfit := map[types.NamespacedName]string{}
	problem := func(key types.NamespacedName) string {
		text, known := unfit[key]
		if !known {
			text = w.unfit(key)
			unfit[key] = text
		}
		return text
	}
	for _, api := range objects.APIs() {
		if text := problem(keyOf(api, api.Name)); text != "" {
			note("ApiResource %s/%s can have no tokens: %s", api.Namespace, api.Name, text)
		}
	}
	for _, client := range objects.Clients() {
		if issuer := issuerOf(client.Spec.IssuerRef); w.Everywhere(access.KindTokenIssuer) && w.Issuer(issuer) == nil {
			note("M2MClient %s/%s gets no tokens: there is no TokenIssuer %q", client.Namespace, client.Name, issuer)
		}
	}
	for _, grant := range objects.Grants() {
		key := types.NamespacedName{Namespace: grant.Namespace, Name: string(grant.Spec.ApiResourceRef.Name)}
		switch {
		case w.API(key) == nil && w.Sees(access.KindApiResource, key.Namespace):
			note("ScopeGrant %s/%s gives nothing: there is no ApiResource %s", grant.Namespace, grant.Name, key)
		case objects.API(key) == nil && problem(key) != "":
			note("ScopeGrant %s/%s gives nothing: ApiResource %s can have no tokens: %s", grant.Namespace, grant.Name, key, problem(key))
		}
	}
	if more := len(out) - mostIdle; more > 0 {
		out = append(out[:mostIdle], fmt.Sprintf("%d more objects come to nothing: see kubectl m2m lint", more))
	}
	return out
}

// unfit says why an ApiResource can have no tokens; "" if it can, or is not there.
func (w World) unfit(key types.NamespacedName) string {
	if w.API(key) == nil {
		return ""
	}
	v, alive := w.Index.ApiResourceVerdict(key, w.Now)
	switch {
	case !alive:
		return "it, or its namespace, is being deleted"
	case v.Fit():
		return ""
	case !v.Accepted.OK:
		return v.Accepted.Reason + ": " + v.Accepted.Message
	}
	return v.ResolvedRefs.Reason + ": " + v.ResolvedRefs.Message
}
