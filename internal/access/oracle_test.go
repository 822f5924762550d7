package access_test

import (
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
)

// ruling is what the rules come to, without explanations.
type ruling struct {
	outcome  access.Outcome
	granted  map[string][]string // scope: names of the grants that give it
	rejected []string
	lifetime time.Duration
}

// rule applies the rules a second time, as plainly as they can be said: no index, every object looked at for every
// question. It is what the index must agree with.
func (w world) rule(r access.Request, now time.Time) ruling {
	refused := ruling{outcome: access.OutcomeInvalidTarget}
	issuer := w.issuer(r.Issuer)
	client := w.client(r)
	if issuer == nil || client == nil || client.Spec.Suspend {
		return refused
	}
	identifier := r.Audience
	if identifier == "" {
		identifier = client.Spec.DefaultAudience
	}
	api := w.holder(r.Issuer, identifier)
	if api == nil || !served(api, issuer) {
		return refused
	}
	held := map[string][]string{}
	for _, scope := range api.Spec.Scopes {
		for _, grant := range all[*v1alpha1.ScopeGrant](w) {
			if grant.Namespace == api.Namespace && string(grant.Spec.ApiResourceRef.Name) == api.Name &&
				inForce(grant, now) && matches(grant, client) && slices.Contains(grant.Spec.Scopes, scope.Name) {
				held[string(scope.Name)] = append(held[string(scope.Name)], grant.Name)
				slices.Sort(held[string(scope.Name)])
			}
		}
	}
	if len(held) == 0 {
		return refused
	}
	out := ruling{outcome: access.OutcomeGranted, granted: held, lifetime: shortest(issuer, api, client)}
	if len(r.Scopes) == 0 {
		return out
	}
	out.granted = map[string][]string{}
	for _, scope := range r.Scopes {
		if grants := held[scope]; grants != nil {
			out.granted[scope] = grants
		} else {
			out.rejected = append(out.rejected, scope)
		}
	}
	slices.Sort(out.rejected)
	out.rejected = slices.Compact(out.rejected)
	if len(out.granted) == 0 {
		out.outcome, out.lifetime = access.OutcomeInvalidScope, 0
	}
	return out
}

// all objects of a kind that are not gone.
func all[T metav1.Object](w world) []T {
	var out []T
	for _, object := range w.objects {
		if o, ok := object.(T); ok && !w.terminating[object.GetNamespace()] {
			out = append(out, o)
		}
	}
	return out
}

func (w world) issuer(name string) *v1alpha1.TokenIssuer {
	for _, issuer := range all[*v1alpha1.TokenIssuer](w) {
		if issuer.Name == name {
			return issuer
		}
	}
	return nil
}

func (w world) client(r access.Request) *v1alpha1.M2MClient {
	for _, client := range all[*v1alpha1.M2MClient](w) {
		if client.ClientID() == r.ClientID && client.Spec.IssuerRef.Name == r.Issuer {
			return client
		}
	}
	return nil
}

// holder is the oldest ApiResource of the issuer with the identifier.
func (w world) holder(issuer, identifier string) *v1alpha1.ApiResource {
	var oldest *v1alpha1.ApiResource
	for _, api := range all[*v1alpha1.ApiResource](w) {
		if api.Spec.IssuerRef.Name == issuer && api.Spec.Identifier == identifier &&
			(oldest == nil || birth(api) < birth(oldest)) {
			oldest = api
		}
	}
	return oldest
}

func birth(api *v1alpha1.ApiResource) string {
	when := "never"
	if !api.CreationTimestamp.IsZero() {
		when = api.CreationTimestamp.UTC().Format(time.RFC3339) // digits sort before "never"
	}
	return strings.Join([]string{when, api.Namespace, api.Name}, " ")
}

func served(api *v1alpha1.ApiResource, issuer *v1alpha1.TokenIssuer) bool {
	algorithm := api.Spec.Token.SigningAlgorithm
	return api.Spec.Identifier != issuer.IssuerURL("m2m-system") &&
		(algorithm == "" || slices.Contains(issuer.Algorithms(), algorithm))
}

func inForce(grant *v1alpha1.ScopeGrant, now time.Time) bool {
	begun := grant.Spec.NotBefore == nil || !grant.Spec.NotBefore.After(now)
	ended := grant.Spec.ExpiresAt != nil && !grant.Spec.ExpiresAt.After(now)
	return begun && !ended && !grant.Spec.Suspend
}

func matches(grant *v1alpha1.ScopeGrant, client *v1alpha1.M2MClient) bool {
	return slices.ContainsFunc(grant.Spec.Subjects, func(s v1alpha1.GrantSubject) bool {
		switch {
		case string(s.Namespace) != client.Namespace:
			return false
		case s.Selector == nil:
			return string(s.Name) == client.Name
		case len(s.Selector.MatchLabels)+len(s.Selector.MatchExpressions) == 0:
			return false
		}
		selector, err := metav1.LabelSelectorAsSelector(s.Selector.LabelSelector())
		return err == nil && selector.Matches(labels.Set(client.Labels))
	})
}

func shortest(issuer *v1alpha1.TokenIssuer, api *v1alpha1.ApiResource, client *v1alpha1.M2MClient) time.Duration {
	wishes := []time.Duration{issuer.MaxLifetime()}
	if api.Spec.Token.Lifetime != nil {
		wishes = append(wishes, api.Spec.Token.Lifetime.Duration)
	} else {
		wishes = append(wishes, issuer.DefaultLifetime())
	}
	if client.Spec.TokenLifetime != nil {
		wishes = append(wishes, client.Spec.TokenLifetime.Duration)
	}
	return slices.Min(wishes)
}
