package lint

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/inventory"
)

// fields are where the cause of a reason is written.
var fields = map[string]string{
	v1alpha1.ReasonConflicted:           "spec.identifier",
	v1alpha1.ReasonIdentifierInvalid:    "spec.identifier",
	v1alpha1.ReasonIdentifierReserved:   "spec.identifier",
	v1alpha1.ReasonUnsupportedAlgorithm: "spec.token.signingAlgorithm",
	v1alpha1.ReasonIssuerNotFound:       "spec.issuerRef",
	v1alpha1.ReasonJWKSInvalid:          "spec.jwks",
	v1alpha1.ReasonInvalidSelector:      "spec.subjects",
	v1alpha1.ReasonUnknownRole:          "spec.roles",
}

// apis looks at each ApiResource.
func (c *checker) apis() {
	for _, api := range c.objects.APIs() {
		ref := access.RefOf(api)
		v, _ := c.index.ApiResourceVerdict(types.NamespacedName{Namespace: api.Namespace, Name: api.Name}, c.now)
		if v.Accepted.Reason == v1alpha1.ReasonConflicted {
			c.conflict(api)
		} else if !v.Accepted.OK {
			c.about(ref, Error, v.Accepted.Reason, expressionField(v.Accepted, fields[v.Accepted.Reason]), v.Accepted.Message)
		}
		if v.ResolvedRefs.Reason == v1alpha1.ReasonUnknownScope {
			c.about(ref, Error, v.ResolvedRefs.Reason, roleField(api, v.ResolvedRefs.Message), v.ResolvedRefs.Message)
		}
		c.issuer(ref, api.Spec.IssuerRef.Name)
	}
}

// conflict reports two ApiResources with one identifier on both: which one is the older, manifests do not say.
func (c *checker) conflict(api *v1alpha1.ApiResource) {
	for _, other := range c.objects.APIs() {
		if other.Spec.Identifier != api.Spec.Identifier || issuerOf(other.Spec.IssuerRef) != issuerOf(api.Spec.IssuerRef) || other == api {
			continue
		}
		for _, pair := range [][2]*v1alpha1.ApiResource{{api, other}, {other, api}} {
			c.about(access.RefOf(pair[0]), Error, v1alpha1.ReasonConflicted, "spec.identifier", fmt.Sprintf(
				"ApiResource %s/%s claims the identifier %q too, and only the older of them can have it",
				pair[1].Namespace, pair[1].Name, api.Spec.Identifier))
		}
	}
}

// issuerOf names the TokenIssuer that an object belongs to, also where it was left to the default.
func issuerOf(ref v1alpha1.TokenIssuerReference) string {
	return cmp.Or(ref.Name, inventory.DefaultIssuer)
}

// secrets reports M2MClients of a namespace that want their credentials in one Secret on each of them: which of them gets
// it, manifests do not say.
func (c *checker) secrets() {
	owners := map[types.NamespacedName][]*v1alpha1.M2MClient{}
	for _, client := range c.objects.Clients() {
		if client.Authenticates(v1alpha1.AuthenticateBySecret) {
			key := types.NamespacedName{Namespace: client.Namespace, Name: client.SecretName()}
			owners[key] = append(owners[key], client)
		}
	}
	for key, clients := range owners {
		if len(clients) == 1 {
			continue
		}
		for i, client := range clients {
			other := clients[0]
			if i == 0 {
				other = clients[1]
			}
			c.about(access.RefOf(client), Error, v1alpha1.ReasonSecretNotOwned, "spec.credential.secretName", fmt.Sprintf(
				"M2MClient %s/%s wants the Secret %q for its credential too, and only one of them can have it: name another in spec.credential.secretName",
				other.Namespace, other.Name, key.Name))
		}
	}
}

// issuer warns of a TokenIssuer that is not there, but for the one that the manager makes.
func (c *checker) issuer(ref access.Ref, name string) {
	if c.assumed[name] && name != inventory.DefaultIssuer {
		c.about(ref, Warning, v1alpha1.ReasonIssuerNotFound, "spec.issuerRef.name",
			fmt.Sprintf("TokenIssuer %q is not among the manifests: it is taken to be in the cluster, with nothing in its spec", name))
	}
}

// clients looks at each M2MClient.
func (c *checker) clients() {
	for _, client := range c.objects.Clients() {
		ref := access.RefOf(client)
		v, _ := c.index.ClientVerdict(types.NamespacedName{Namespace: client.Namespace, Name: client.Name}, c.now)
		if !v.Accepted.OK {
			field := fields[v.Accepted.Reason]
			if v.Accepted.Reason == v1alpha1.ReasonConflicted {
				field = "spec.serviceAccountName"
			}
			c.about(ref, Error, v.Accepted.Reason, field, v.Accepted.Message)
		}
		c.issuer(ref, client.Spec.IssuerRef.Name)
		if len(v.Access) == 0 && !client.Spec.Suspend && v.NextChange.IsZero() && !c.granted(client) {
			c.about(ref, Warning, RuleNoGrant, "metadata.name", "No ScopeGrant among the manifests gives this client anything")
		}
		if a := client.Spec.DefaultAudience; a != "" && !slices.ContainsFunc(c.objects.APIs(), func(api *v1alpha1.ApiResource) bool {
			return api.Spec.Identifier == a && issuerOf(api.Spec.IssuerRef) == issuerOf(client.Spec.IssuerRef)
		}) {
			c.about(ref, Warning, RuleUnknownAudience, "spec.defaultAudience", fmt.Sprintf(
				"No ApiResource of TokenIssuer %q among the manifests has the identifier %q", issuerOf(client.Spec.IssuerRef), a))
		}
		for i, request := range client.Spec.Requests {
			c.request(client, request, fmt.Sprintf("spec.requests[%d]", i))
		}
	}
}

// granted reports whether some grant is for the client, though it gives it nothing now: that is said of the grant.
func (c *checker) granted(client *v1alpha1.M2MClient) bool {
	return slices.ContainsFunc(c.index.Affected(access.RefOf(client)), func(r access.Ref) bool { return r.Kind == access.KindScopeGrant })
}

// request looks at one wish of a client.
func (c *checker) request(client *v1alpha1.M2MClient, r v1alpha1.AccessRequest, field string) {
	ref := access.RefOf(client)
	key := types.NamespacedName{Namespace: string(r.ApiResource.Namespace), Name: string(r.ApiResource.Name)}
	api := c.objects.API(key)
	if api == nil {
		c.about(ref, Warning, v1alpha1.ReasonApiResourceNotFound, field+".apiResource", fmt.Sprintf("ApiResource %s is not among the manifests", key))
		return
	}
	if issuerOf(api.Spec.IssuerRef) != issuerOf(client.Spec.IssuerRef) {
		c.about(ref, Error, access.ReasonClientOfOtherIssuer, field+".apiResource", ofOtherIssuer(client, api))
		return
	}
	for i, scope := range r.Scopes {
		if !c.index.Declares(key, string(scope)) {
			c.about(ref, Error, v1alpha1.ReasonUnknownScope, fmt.Sprintf("%s.scopes[%d]", field, i), fmt.Sprintf("ApiResource %s does not declare %q", key, scope))
		}
	}
}

// grants looks at each ScopeGrant.
func (c *checker) grants() {
	for _, grant := range c.objects.Grants() {
		ref := access.RefOf(grant)
		v, _ := c.index.GrantVerdict(types.NamespacedName{Namespace: grant.Namespace, Name: grant.Name}, c.now)
		if !v.Accepted.OK {
			c.about(ref, Error, v.Accepted.Reason, expressionField(v.Accepted, fields[v.Accepted.Reason]), v.Accepted.Message)
		}
		switch v.ResolvedRefs.Reason {
		case v1alpha1.ReasonApiResourceNotFound:
			c.missingAPI(grant)
		case v1alpha1.ReasonUnknownScope:
			c.about(ref, Error, v.ResolvedRefs.Reason, scopeField("spec.scopes", grant.Spec.Scopes, v.ResolvedRefs.Message), v.ResolvedRefs.Message)
		case v1alpha1.ReasonUnknownRole:
			c.about(ref, Error, v.ResolvedRefs.Reason, scopeField("spec.roles", grant.Spec.Roles, v.ResolvedRefs.Message), v.ResolvedRefs.Message)
		case v1alpha1.ReasonApiResourceNotAccepted:
			c.about(ref, Error, v.ResolvedRefs.Reason, "spec.apiResourceRef", v.ResolvedRefs.Message)
		}
		if v.Active.Reason == v1alpha1.ReasonExpired {
			c.about(ref, Warning, v.Active.Reason, "spec.expiresAt", v.Active.Message)
		}
		if named, stranger := c.strangers(grant); v.MatchedClients == 0 && v.ResolvedRefs.OK && !named {
			message := "No M2MClient among the manifests matches its subjects: compare their namespaces, names and labels"
			if stranger != "" {
				message = "Only clients of another TokenIssuer match its subjects: " + stranger
			}
			c.about(ref, Warning, RuleNoClient, "spec.subjects", message)
		}
		c.wildcards(grant)
	}
}

// strangers reports clients of another issuer that a grant names, which can have nothing of its API, and whether it names
// any. It describes one that matches: a selector may match others too.
func (c *checker) strangers(grant *v1alpha1.ScopeGrant) (named bool, stranger string) {
	api := c.objects.API(types.NamespacedName{Namespace: grant.Namespace, Name: string(grant.Spec.ApiResourceRef.Name)})
	if api == nil {
		return false, ""
	}
	names := map[types.NamespacedName]int{}
	for i, subject := range grant.Spec.Subjects {
		names[types.NamespacedName{Namespace: string(subject.Namespace), Name: string(subject.Name)}] = i
	}
	for _, ref := range c.index.Affected(access.RefOf(grant)) {
		key := types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}
		client := c.objects.Client(key)
		if ref.Kind != access.KindM2MClient || client == nil || issuerOf(client.Spec.IssuerRef) == issuerOf(api.Spec.IssuerRef) {
			continue
		}
		stranger = ofOtherIssuer(client, api)
		if i, ok := names[key]; ok {
			named = true
			c.about(access.RefOf(grant), Error, access.ReasonClientOfOtherIssuer, fmt.Sprintf("spec.subjects[%d]", i), stranger)
		}
	}
	return named, stranger
}

func ofOtherIssuer(client *v1alpha1.M2MClient, api *v1alpha1.ApiResource) string {
	return fmt.Sprintf("M2MClient %s/%s is of TokenIssuer %q, ApiResource %s/%s of %q: only a client of its own issuer can have a token for an API",
		client.Namespace, client.Name, issuerOf(client.Spec.IssuerRef), api.Namespace, api.Name, issuerOf(api.Spec.IssuerRef))
}

// missingAPI tells a grant that is in a namespace of its own from one whose API may be in the cluster. Names such as "api"
// are common: it is the wrong namespace only if the API there has all that the grant gives.
func (c *checker) missingAPI(grant *v1alpha1.ScopeGrant) {
	name := string(grant.Spec.ApiResourceRef.Name)
	for _, api := range c.objects.APIs() {
		if api.Name == name && c.has(api, grant) {
			c.about(access.RefOf(grant), Error, RuleWrongNamespace, "metadata.namespace", fmt.Sprintf(
				"ApiResource %q is in namespace %q, and a ScopeGrant gives scopes of its own namespace's ApiResources only: move it there",
				name, api.Namespace))
			return
		}
	}
	c.about(access.RefOf(grant), Warning, v1alpha1.ReasonApiResourceNotFound, "spec.apiResourceRef.name", fmt.Sprintf(
		"ApiResource %s/%s is not among the manifests", grant.Namespace, name))
}

// has reports whether an API declares every scope and role of a grant.
func (c *checker) has(api *v1alpha1.ApiResource, grant *v1alpha1.ScopeGrant) bool {
	key := types.NamespacedName{Namespace: api.Namespace, Name: api.Name}
	for _, scope := range grant.Spec.Scopes {
		if !c.index.Declares(key, string(scope)) {
			return false
		}
	}
	for _, name := range grant.Spec.Roles {
		if !slices.ContainsFunc(api.Spec.Roles, func(role v1alpha1.ApiRole) bool { return string(role.Name) == string(name) }) {
			return false
		}
	}
	return true
}

// wildcards warns of grants that give, or match, more than they name.
func (c *checker) wildcards(grant *v1alpha1.ScopeGrant) {
	ref := access.RefOf(grant)
	api := c.objects.API(types.NamespacedName{Namespace: grant.Namespace, Name: string(grant.Spec.ApiResourceRef.Name)})
	if api != nil && api.Spec.ScopeSyntax == v1alpha1.ScopeSyntaxHierarchical {
		for i, scope := range grant.Spec.Scopes {
			if slices.Contains(strings.Split(string(scope), ":"), "*") {
				c.about(ref, Warning, RuleWildcard, fmt.Sprintf("spec.scopes[%d]", i), fmt.Sprintf(
					"%q gives everything that it covers, also what the API will declare later: name what is needed", scope))
			}
		}
	}
	for i, subject := range grant.Spec.Subjects {
		if subject.Selector != nil && !positive(subject.Selector) {
			c.about(ref, Warning, RuleWildcard, fmt.Sprintf("spec.subjects[%d].selector", i), fmt.Sprintf(
				"It matches every client of namespace %q that lacks a label, also those that are made later: require a label", subject.Namespace))
		}
	}
}

// positive reports whether a selector requires a label at all.
func positive(s *v1alpha1.ClientSelector) bool {
	return len(s.MatchLabels) > 0 || slices.ContainsFunc(s.MatchExpressions, func(e v1alpha1.ClientSelectorRequirement) bool {
		return e.Operator == metav1.LabelSelectorOpIn || e.Operator == metav1.LabelSelectorOpExists
	})
}

// scopeField is the first item of a list that a message quotes, or the list.
func scopeField[S ~string](field string, items []S, message string) string {
	for i, item := range items {
		if strings.Contains(message, strconv.Quote(string(item))) {
			return fmt.Sprintf("%s[%d]", field, i)
		}
	}
	return field
}

// roleField is the first scope of a role that a message quotes, or all roles.
func roleField(api *v1alpha1.ApiResource, message string) string {
	for i, role := range api.Spec.Roles {
		for j, scope := range role.Scopes {
			if strings.Contains(message, fmt.Sprintf("%q in role %s", scope, role.Name)) {
				return fmt.Sprintf("spec.roles[%d].scopes[%d]", i, j)
			}
		}
	}
	return "spec.roles"
}

// expressionField is the field that a message about expressions begins with: "spec.rules[0]: ...".
func expressionField(f access.Finding, otherwise string) string {
	if f.Reason != v1alpha1.ReasonInvalidExpression && f.Reason != v1alpha1.ReasonInvalidSelector {
		return otherwise
	}
	field, _, _ := strings.Cut(f.Message, ":")
	return field
}
