package review

import (
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
)

// Wish is one of a client's spec.requests, and what has become of it.
type Wish struct {
	Client string `json:"client"`
	API    string `json:"api"`
	// Scopes that are wished for, sorted.
	Scopes []string `json:"scopes"`
	// State is Granted, Partial or Pending.
	State string `json:"state"`
	// Missing are the scopes that the client does not have, with the reasons.
	Missing []Lack `json:"missing,omitempty"`
}

func (w World) wish(client *v1alpha1.M2MClient, r v1alpha1.AccessRequest) Wish {
	key := types.NamespacedName{Namespace: string(r.ApiResource.Namespace), Name: string(r.ApiResource.Name)}
	out := Wish{Client: client.ClientID(), API: key.String()}
	for _, s := range r.Scopes {
		out.Scopes = append(out.Scopes, string(s))
	}
	slices.Sort(out.Scopes)
	if state, missing, told := told(client, key, r); told && !w.Sees(access.KindScopeGrant, key.Namespace) {
		out.State = string(state)
		for _, name := range missing {
			out.Missing = append(out.Missing, Lack{Scope: string(name), Reason: ReasonNotVisible,
				Message: "The client's status says so. Why, you may not see: its API is in namespace " + key.Namespace})
		}
		return out
	}
	out.Missing = w.lacking(client, key, out.Scopes)
	switch len(out.Missing) {
	case 0:
		out.State = string(v1alpha1.AccessRequestGranted)
	case len(out.Scopes):
		out.State = string(v1alpha1.AccessRequestPending)
	default:
		out.State = string(v1alpha1.AccessRequestPartial)
	}
	return out
}

// told is what the client's status says of a wish: the one at the same place of the list, if it is for the same API.
func told(client *v1alpha1.M2MClient, key types.NamespacedName, r v1alpha1.AccessRequest) (v1alpha1.AccessRequestState, []v1alpha1.ScopeName, bool) {
	for i, request := range client.Spec.Requests {
		if request.ApiResource != r.ApiResource || !slices.Equal(request.Scopes, r.Scopes) || i >= len(client.Status.Requests) {
			continue
		}
		if s := client.Status.Requests[i]; string(s.ApiResource.Namespace) == key.Namespace && string(s.ApiResource.Name) == key.Name {
			return s.State, s.Missing, true
		}
	}
	return "", nil, false
}

// Wishes are the wishes that are not granted, of all clients, for one API or for all.
func (w World) Wishes(api *v1alpha1.ApiResource) []Wish {
	out := []Wish{}
	for _, client := range w.Clients() {
		for _, request := range client.Spec.Requests {
			wish := w.wish(client, request)
			if wish.State == string(v1alpha1.AccessRequestGranted) || (api != nil && wish.API != keyOf(api, api.Name).String()) {
				continue
			}
			out = append(out, wish)
		}
	}
	return out
}

// Unlisted says, of an API, in which namespaces that cannot be seen clients wish for its scopes.
func (w World) Unlisted(api *v1alpha1.ApiResource) []string {
	var out []string
	for _, pending := range api.Status.PendingRequests {
		if namespace := string(pending.Namespace); !w.Sees(access.KindM2MClient, namespace) {
			out = append(out, fmt.Sprintf("ApiResource %s/%s: clients of namespace %s wish for scopes (%d), which you may not see",
				api.Namespace, api.Name, namespace, pending.Count))
		}
	}
	return out
}

// Answer is the ScopeGrant that gives a client what its wish lacks, and the scopes that no grant can give, as the API
// does not declare them. The grant is nil where nothing is left to give.
func (w World) Answer(wish Wish) (*v1alpha1.ScopeGrant, []string) {
	client, api := w.clientByID(wish.Client), w.apiByName(wish.API)
	if client == nil || api == nil {
		return nil, nil
	}
	grant := &v1alpha1.ScopeGrant{
		TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "ScopeGrant"},
	}
	var unknown []string
	for _, lack := range wish.Missing {
		if !w.Index.Declares(keyOf(api, api.Name), lack.Scope) {
			unknown = append(unknown, lack.Scope)
			continue
		}
		grant.Spec.Scopes = append(grant.Spec.Scopes, v1alpha1.ScopeName(lack.Scope))
	}
	if len(grant.Spec.Scopes) == 0 {
		return nil, unknown
	}
	grant.Namespace, grant.Name = api.Namespace, w.freeName(api.Namespace, client.Namespace+"-"+client.Name)
	grant.Spec.ApiResourceRef.Name = v1alpha1.ObjectName(api.Name)
	grant.Spec.Subjects = []v1alpha1.GrantSubject{{
		Namespace: v1alpha1.NamespaceName(client.Namespace), Name: v1alpha1.ObjectName(client.Name),
	}}
	return grant, unknown
}

// longestName of a ScopeGrant.
const longestName = 63

// freeName is a name that no ScopeGrant of the namespace has.
func (w World) freeName(namespace, wanted string) string {
	for n := 1; ; n++ {
		suffix := ""
		if n > 1 {
			suffix = fmt.Sprintf("-%d", n)
		}
		name := wanted[:min(len(wanted), longestName-len(suffix))] + suffix
		if w.Grant(types.NamespacedName{Namespace: namespace, Name: name}) == nil {
			return name
		}
	}
}

func (w World) clientByID(id string) *v1alpha1.M2MClient {
	for _, client := range w.Clients() {
		if client.ClientID() == id {
			return client
		}
	}
	return nil
}

func (w World) apiByName(name string) *v1alpha1.ApiResource {
	for _, api := range w.APIs() {
		if keyOf(api, api.Name).String() == name {
			return api
		}
	}
	return nil
}
