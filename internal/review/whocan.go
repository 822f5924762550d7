package review

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
)

// Holders says who may do something with an API.
type Holders struct {
	API      string `json:"api"`
	Audience string `json:"audience"`
	// Scope that was asked about; "" if all were.
	Scope string `json:"scope,omitempty"`
	// Rules of the ApiResource that each request has to meet, whoever granted what.
	Rules []string `json:"rules,omitempty"`
	// Clients that have scopes, now or later, sorted; suspended ones have none.
	Clients []Holder `json:"clients"`
	// Notes say what could not be seen, and what else one should know.
	Notes []string `json:"notes,omitempty"`
}

// Holder is a client with the scopes that it has.
type Holder struct {
	Client string  `json:"client"`
	Name   string  `json:"name,omitempty"`
	Scopes []Scope `json:"scopes"`
}

// WhoCan says who has scopes of an API, or one scope.
func (w World) WhoCan(api *v1alpha1.ApiResource, scope string) (Holders, error) {
	key := keyOf(api, api.Name)
	out := Holders{API: key.String(), Audience: api.Spec.Identifier, Scope: scope, Clients: []Holder{}}
	asked := w.asking(key)
	if scope != "" {
		if !w.Index.Declares(key, scope) {
			return out, fmt.Errorf("ApiResource %s does not declare the scope %q: it has %v", key, scope, declared(api))
		}
		asked = w.asking(key, scope)
	}
	if v, ok := w.Index.ApiResourceVerdict(key, w.Now); !ok {
		out.Notes = append(out.Notes, "The API, or its namespace, is being deleted: it counts as gone")
	} else if !v.Fit() {
		out.Notes = append(out.Notes, fmt.Sprintf("There can be no tokens for it: %s: %s; %s: %s",
			v.Accepted.Reason, v.Accepted.Message, v.ResolvedRefs.Reason, v.ResolvedRefs.Message))
	}
	for _, client := range w.Clients() {
		for _, a := range asked.access(keyOf(client, client.Name)) {
			out.Rules = a.Rules
			out.Clients = append(out.Clients, Holder{client.ClientID(), client.Spec.DisplayName, a.Scopes})
		}
	}
	out.Notes = append(out.Notes, w.suspended(key, scope)...)
	out.Notes = append(append(out.Notes, w.hidden(api)...), w.Unseen()...)
	return out, nil
}

// suspended names the clients that would be among the holders, were they not suspended.
func (w World) suspended(api types.NamespacedName, scope string) []string {
	var scopes, names []string
	if scope != "" {
		scopes = append(scopes, scope)
	}
	resumed := w.Index.Forecast(api, scopes, w.Now).Resumed()
	for _, client := range w.Clients() {
		if client.Spec.Suspend && slices.ContainsFunc(resumed.Client(keyOf(client, client.Name)), func(o *access.Outlook) bool { return len(o.Scopes) > 0 }) {
			names = append(names, client.ClientID())
		}
	}
	if len(names) == 0 {
		return nil
	}
	return []string{"Suspended clients, that have it again once they are resumed: " + few(names)}
}

// hidden names what grants of the API match in namespaces whose clients cannot be seen.
func (w World) hidden(api *v1alpha1.ApiResource) []string {
	var out []string
	if w.Everywhere(access.KindM2MClient) {
		return nil
	}
	if api.Spec.Authorization == v1alpha1.AuthorizationAnyClient {
		out = append(out, "The API gives its scopes to every client of its TokenIssuer, also where you may not see clients")
	}
	for _, grant := range w.Grants() {
		if grant.Namespace != api.Namespace || string(grant.Spec.ApiResourceRef.Name) != api.Name {
			continue
		}
		for _, subject := range grant.Spec.Subjects {
			if !w.Sees(access.KindM2MClient, string(subject.Namespace)) {
				out = append(out, fmt.Sprintf("ScopeGrant %s/%s is for %s: which clients there are you may not see", grant.Namespace, grant.Name, Describe(subject)))
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func declared(api *v1alpha1.ApiResource) []string {
	var out []string
	for _, s := range api.Spec.Scopes {
		out = append(out, string(s.Name))
	}
	return out
}
