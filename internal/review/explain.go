package review

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
)

// ReasonNotVisible is the reason of a scope that cannot be judged, since who asks may not see what it depends on.
const ReasonNotVisible = "NotVisible"

// Where an Explanation is from.
const (
	// FromObjects: what an issuer would decide that knows these objects.
	FromObjects = "objects"
	// FromStatus: the client's status, since not all objects could be seen.
	FromStatus = "status"
)

// Explanation says what a client may do, and why not more.
type Explanation struct {
	// Client is the client_id.
	Client    string `json:"client"`
	Name      string `json:"name,omitempty"`
	Issuer    string `json:"issuer"`
	Suspended bool   `json:"suspended,omitempty"`
	// Source is objects, or status where not all objects could be seen.
	Source string   `json:"source"`
	Access []Access `json:"access"`
	Wishes []Wish   `json:"requests,omitempty"`
	// Others are the further scopes of the API that was asked about.
	Others []Lack `json:"others,omitempty"`
	// Notes are what else one should know, among it what could not be seen.
	Notes []string `json:"notes,omitempty"`
}

// Explain says what a client may do: with all APIs, or with one, of which it then explains every scope.
func (w World) Explain(client *v1alpha1.M2MClient, api *v1alpha1.ApiResource) Explanation {
	out := Explanation{
		Client: client.ClientID(), Name: client.Spec.DisplayName, Issuer: issuerOf(client.Spec.IssuerRef),
		Suspended: client.Spec.Suspend, Source: FromObjects, Notes: w.notes(client),
	}
	about, asked := types.NamespacedName{}, w.everything
	if api != nil {
		about = keyOf(api, api.Name)
		asked = w.asking(about)
	}
	out.Access = asked.access(keyOf(client, client.Name))
	if !w.Everywhere(access.KindApiResource) || !w.Everywhere(access.KindScopeGrant) {
		out.Source = FromStatus
		out.Access = w.fromStatus(client, about, out.Access)
		if client.Status.ObservedGeneration < client.Generation {
			out.Notes = append(out.Notes, "The client's status speaks of an older spec: the manager has not looked at this one")
		}
	}
	for _, request := range client.Spec.Requests {
		if wish := w.wish(client, request); about.Name == "" || wish.API == about.String() {
			out.Wishes = append(out.Wishes, wish)
		}
	}
	if api != nil {
		out.Others = w.others(client, api, out.Access)
	}
	return out
}

func (w World) notes(client *v1alpha1.M2MClient) []string {
	var out []string
	if client.Spec.Suspend {
		out = append(out, "The client is suspended: it gets no token before spec.suspend is false again")
	}
	if w.Terminating[client.Namespace] || client.DeletionTimestamp != nil {
		out = append(out, "The client, or its namespace, is being deleted: it counts as gone")
	}
	if v, ok := w.Index.ClientVerdict(keyOf(client, client.Name), w.Now); ok {
		for _, finding := range []access.Finding{v.Accepted, v.ResolvedRefs} {
			if !finding.OK {
				out = append(out, finding.Reason+": "+finding.Message)
			}
		}
	}
	return append(out, w.Unseen()...)
}

// others are the scopes that the API declares and the client neither has nor will have.
func (w World) others(client *v1alpha1.M2MClient, api *v1alpha1.ApiResource, has []Access) []Lack {
	var names []string
	for _, scope := range api.Spec.Scopes {
		names = append(names, string(scope.Name))
	}
	names = slices.DeleteFunc(names, func(name string) bool {
		return slices.ContainsFunc(has, func(a Access) bool {
			return slices.ContainsFunc(a.Scopes, func(s Scope) bool { return s.Name == name })
		})
	})
	return w.lacking(client, keyOf(api, api.Name), names)
}

// lacking explains which of the scopes a client does not have now.
func (w World) lacking(client *v1alpha1.M2MClient, key types.NamespacedName, scopes []string) []Lack {
	if len(scopes) == 0 {
		return nil
	}
	all := func(reason, format string, args ...any) []Lack {
		var out []Lack
		for _, name := range scopes {
			out = append(out, Lack{Scope: name, Reason: reason, Message: fmt.Sprintf(format, args...)})
		}
		return out
	}
	api, issuer := w.API(key), issuerOf(client.Spec.IssuerRef)
	switch {
	case !w.Sees(access.KindApiResource, key.Namespace) || !w.Sees(access.KindScopeGrant, key.Namespace):
		return all(ReasonNotVisible, "You may not see the ApiResources and ScopeGrants of namespace %s", key.Namespace)
	case api == nil:
		return all(v1alpha1.ReasonApiResourceNotFound, "There is no ApiResource %s", key)
	case issuerOf(api.Spec.IssuerRef) != issuer:
		return all(access.ReasonClientOfOtherIssuer, "The client belongs to TokenIssuer %q, ApiResource %s to %q",
			issuer, key, issuerOf(api.Spec.IssuerRef))
	}
	if v, ok := w.Index.ApiResourceVerdict(key, w.Now); !ok || !v.Fit() {
		problem := v.Accepted
		if problem.OK {
			problem = v.ResolvedRefs
		}
		return all(v1alpha1.ReasonApiResourceNotAccepted, "ApiResource %s can have no tokens: %s: %s", key, problem.Reason, problem.Message)
	}
	d := w.Index.Decide(access.Request{
		Issuer: issuer, ClientID: client.ClientID(), Audience: api.Spec.Identifier, Scopes: scopes, Standing: true,
	}, w.Now)
	if len(d.Rejected) == 0 && d.Outcome != access.OutcomeGranted {
		return all(d.Reason, "%s", d.Message)
	}
	var out []Lack
	for _, r := range d.Rejected {
		out = append(out, Lack{r.Name, r.Reason, r.Message, r.Obstacles})
	}
	if d.Outcome != access.OutcomeGranted { // a rule refuses what grants would give
		for _, g := range d.Granted {
			out = append(out, Lack{Scope: g.Name, Reason: d.Reason, Message: d.Message})
		}
	}
	return out
}

// fromStatus is what the client's status says that it has, with the ways that can be seen.
func (w World) fromStatus(client *v1alpha1.M2MClient, about types.NamespacedName, visible []Access) []Access {
	out := []Access{}
	for _, entry := range client.Status.Access {
		key := types.NamespacedName{Namespace: string(entry.ApiResource.Namespace), Name: string(entry.ApiResource.Name)}
		if about.Name != "" && key != about {
			continue
		}
		a := Access{API: key.String(), Audience: entry.Audience}
		i := slices.IndexFunc(visible, func(v Access) bool { return v.API == a.API })
		if i >= 0 {
			a.TokenLifetime, a.Rules = visible[i].TokenLifetime, visible[i].Rules
		}
		for _, name := range entry.Scopes {
			scope := Scope{Name: string(name)}
			if i >= 0 {
				for _, s := range visible[i].Scopes {
					if s.Name == scope.Name {
						scope.Ways = s.Ways
					}
				}
			}
			a.Scopes = append(a.Scopes, scope)
		}
		out = append(out, a)
	}
	return out
}
