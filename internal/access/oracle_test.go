package access_test

import (
	"maps"
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
	grants := w.grantsOf(api, client, now)
	asked := slices.Compact(slices.Sorted(slices.Values(r.Scopes)))
	held := heldAt(api, grants)
	if len(r.Scopes) == 0 {
		asked = held
	}
	out := ruling{outcome: access.OutcomeGranted, granted: map[string][]string{}, lifetime: shortest(issuer, api, client)}
	denied := false
	for _, grant := range grants {
		var would []string
		for _, scope := range asked {
			if declares(api, scope) && gives(api, grant, scope) {
				would = append(would, scope)
			}
		}
		if len(would) > 0 && !holds(grant.Spec.Conditions, r, client, would) {
			denied = true
			continue
		}
		for _, scope := range would {
			out.granted[scope] = append(out.granted[scope], grant.Name)
		}
	}
	for _, scope := range asked {
		if api.Spec.Authorization == v1alpha1.AuthorizationAnyClient && covered(api, scopesOf(api), scope) {
			out.granted[scope] = nil
		}
		slices.Sort(out.granted[scope])
		if _, ok := out.granted[scope]; !ok && len(r.Scopes) > 0 {
			out.rejected = append(out.rejected, scope)
		}
	}
	switch {
	case len(out.granted) == 0 && denied:
		return ruling{outcome: access.OutcomeAccessDenied}
	case len(out.granted) == 0 && (len(r.Scopes) == 0 || len(held) == 0):
		return refused
	case len(out.granted) == 0, len(out.rejected) > 0 && api.Spec.PartialGrants == v1alpha1.PartialGrantsRefuse && !r.Standing:
		return ruling{outcome: access.OutcomeInvalidScope, rejected: out.rejected}
	case !holds(api.Spec.Rules, r, client, slices.Sorted(maps.Keys(out.granted))):
		return ruling{outcome: access.OutcomeAccessDenied}
	case !r.Standing && slices.ContainsFunc(api.Spec.Claims, func(c v1alpha1.ApiClaim) bool { return strings.Contains(string(c.Expression), "absent") }):
		return ruling{outcome: access.OutcomeAccessDenied}
	}
	return out
}

// grantsOf are the grants of the API that are in force for the client.
func (w world) grantsOf(api *v1alpha1.ApiResource, client *v1alpha1.M2MClient, now time.Time) []*v1alpha1.ScopeGrant {
	if api.Spec.Authorization == v1alpha1.AuthorizationAnyClient {
		return nil
	}
	var out []*v1alpha1.ScopeGrant
	for _, grant := range all[*v1alpha1.ScopeGrant](w) {
		if grant.Namespace == api.Namespace && string(grant.Spec.ApiResourceRef.Name) == api.Name &&
			inForce(grant, now) && matches(grant, client) {
			out = append(out, grant)
		}
	}
	return out
}

func scopesOf(api *v1alpha1.ApiResource) []string {
	var out []string
	for _, scope := range api.Spec.Scopes {
		out = append(out, string(scope.Name))
	}
	return out
}

// named are the scopes that a grant names, itself or by its roles.
func named(api *v1alpha1.ApiResource, grant *v1alpha1.ScopeGrant) []string {
	var out []string
	for _, scope := range grant.Spec.Scopes {
		out = append(out, string(scope))
	}
	for _, role := range api.Spec.Roles {
		if slices.Contains(grant.Spec.Roles, role.Name) {
			for _, scope := range role.Scopes {
				out = append(out, string(scope))
			}
		}
	}
	return out
}

func heldAt(api *v1alpha1.ApiResource, grants []*v1alpha1.ScopeGrant) []string {
	var out []string
	if api.Spec.Authorization == v1alpha1.AuthorizationAnyClient {
		out = scopesOf(api)
	}
	for _, grant := range grants {
		for _, scope := range named(api, grant) {
			if declares(api, scope) {
				out = append(out, scope)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func gives(api *v1alpha1.ApiResource, grant *v1alpha1.ScopeGrant, scope string) bool {
	return covered(api, named(api, grant), scope)
}

// segments are resource, id and action of a hierarchical scope; nil if it is none.
func segments(scope string) []string {
	parts := strings.Split(scope, ":")
	if slices.Contains(parts, "") || len(parts) > 3 {
		return nil
	}
	switch len(parts) {
	case 1:
		return []string{parts[0], "*", "*"}
	case 2:
		return []string{parts[0], "*", parts[1]}
	}
	return parts
}

func covered(api *v1alpha1.ApiResource, by []string, scope string) bool {
	if api.Spec.ScopeSyntax != v1alpha1.ScopeSyntaxHierarchical {
		return slices.Contains(by, scope)
	}
	asked := segments(scope)
	return asked != nil && slices.ContainsFunc(by, func(held string) bool {
		has := segments(held)
		for i := range has {
			if has[i] != "*" && has[i] != asked[i] {
				return false
			}
		}
		return has != nil
	})
}

func declares(api *v1alpha1.ApiResource, scope string) bool {
	if api.Spec.ScopeSyntax != v1alpha1.ScopeSyntaxHierarchical {
		return slices.Contains(scopesOf(api), scope)
	}
	asked := segments(scope)
	return asked != nil && slices.ContainsFunc(scopesOf(api), func(declared string) bool {
		has := segments(declared)
		for _, i := range []int{0, 2} {
			if has[i] != asked[i] && has[i] != "*" && asked[i] != "*" {
				return false
			}
		}
		return true
	})
}

// expressions with what they come to, worked out by hand. A failure is false.
var expressions = []struct {
	text     string
	standing bool
	holds    func(r access.Request, c *v1alpha1.M2MClient, scopes []string) bool
}{
	{"client.namespace != 'a'", true, func(_ access.Request, c *v1alpha1.M2MClient, _ []string) bool { return c.Namespace != "a" }},
	{"client.labels['kind'] == 'x'", true, func(_ access.Request, c *v1alpha1.M2MClient, _ []string) bool { return c.Labels["kind"] == "x" }},
	{"client.labels['absent'] == ''", true, func(access.Request, *v1alpha1.M2MClient, []string) bool { return false }},
	{"request.source == '192.0.2.1'", false, func(r access.Request, _ *v1alpha1.M2MClient, _ []string) bool { return r.Source.IsValid() }},
	{"size(scopes) < 2", false, func(_ access.Request, _ *v1alpha1.M2MClient, scopes []string) bool { return len(scopes) < 2 }},
	{"(", true, nil},
}

func holds(conditions []v1alpha1.PolicyCondition, r access.Request, client *v1alpha1.M2MClient, scopes []string) bool {
	for _, c := range conditions {
		for _, e := range expressions {
			if string(c.Expression) == e.text && (e.standing || !r.Standing) && !e.holds(r, client, scopes) {
				return false
			}
		}
	}
	return true
}

func valid(conditions []v1alpha1.PolicyCondition) bool {
	return !slices.ContainsFunc(conditions, func(c v1alpha1.PolicyCondition) bool { return c.Expression == "(" })
}

// mayClaim asks the reservations of the issuer, of which the longest that fits decides.
func mayClaim(issuer *v1alpha1.TokenIssuer, api *v1alpha1.ApiResource) bool {
	if issuer == nil {
		return true
	}
	longest, allowed := 0, issuer.Spec.Identifiers.Others != v1alpha1.OtherIdentifiersDeny
	for _, reserved := range issuer.Spec.Identifiers.Reserved {
		if strings.HasPrefix(api.Spec.Identifier, reserved.Prefix) && len(reserved.Prefix) > longest {
			longest, allowed = len(reserved.Prefix), slices.Contains(reserved.Namespaces, v1alpha1.NamespaceName(api.Namespace))
		}
	}
	return allowed
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

// holder is the oldest ApiResource of the issuer with the identifier that may have it.
func (w world) holder(issuer, identifier string) *v1alpha1.ApiResource {
	var oldest *v1alpha1.ApiResource
	for _, api := range all[*v1alpha1.ApiResource](w) {
		if api.Spec.IssuerRef.Name == issuer && api.Spec.Identifier == identifier &&
			mayClaim(w.issuer(issuer), api) && (oldest == nil || birth(api) < birth(oldest)) {
			oldest = api
		}
	}
	return oldest
}

// namers are the clients of the issuer and namespace that name the ServiceAccount, the oldest first.
func (w world) namers(issuer, namespace, account string) []*v1alpha1.M2MClient {
	var out []*v1alpha1.M2MClient
	for _, client := range all[*v1alpha1.M2MClient](w) {
		if client.Spec.IssuerRef.Name == issuer && client.Namespace == namespace && client.Spec.ServiceAccountName == account &&
			slices.Contains(client.Spec.Authentication, v1alpha1.AuthenticateByServiceAccount) {
			out = append(out, client)
		}
	}
	slices.SortFunc(out, func(a, b *v1alpha1.M2MClient) int { return strings.Compare(birth(a), birth(b)) })
	return out
}

func birth(o metav1.Object) string {
	when := "never"
	if created := o.GetCreationTimestamp(); !created.IsZero() {
		when = created.UTC().Format(time.RFC3339) // digits sort before "never"
	}
	return strings.Join([]string{when, o.GetNamespace(), o.GetName()}, " ")
}

func served(api *v1alpha1.ApiResource, issuer *v1alpha1.TokenIssuer) bool {
	algorithm := api.Spec.Token.SigningAlgorithm
	return api.Spec.Identifier != issuer.IssuerURL("m2m-system") &&
		(algorithm == "" || slices.Contains(issuer.Algorithms(), algorithm)) && valid(api.Spec.Rules) &&
		!slices.ContainsFunc(api.Spec.Claims, func(c v1alpha1.ApiClaim) bool { return c.Expression == "(" })
}

func inForce(grant *v1alpha1.ScopeGrant, now time.Time) bool {
	begun := grant.Spec.NotBefore == nil || !grant.Spec.NotBefore.After(now)
	ended := grant.Spec.ExpiresAt != nil && !grant.Spec.ExpiresAt.After(now)
	return begun && !ended && !grant.Spec.Suspend && valid(grant.Spec.Conditions)
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
