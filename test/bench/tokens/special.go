package tokens

import (
	"fmt"
	"strings"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

// fewClients have grants at the ApiResources that are special.
const fewClients = 100

// algorithms that the issuers sign with.
var algorithms = []v1alpha1.SigningAlgorithm{v1alpha1.ES256, v1alpha1.EdDSA, v1alpha1.RS256}

// specialAPIs differ from the ordinary in one thing each.
func specialAPIs() []*v1alpha1.ApiResource {
	var apis []*v1alpha1.ApiResource
	for _, algorithm := range algorithms {
		api := newAPI("signed-"+strings.ToLower(string(algorithm)), specialAudience(string(algorithm)), "read", "write")
		api.Spec.Token.SigningAlgorithm = algorithm
		apis = append(apis, api)
	}
	for _, n := range []int{16, 256} {
		name := fmt.Sprintf("scopes-%d", n)
		apis = append(apis, newAPI(name, specialAudience(name), manyScopes(n)...))
	}
	hierarchical := newAPI("hierarchical", specialAudience("hierarchical"), "courses", "lessons", "rooms")
	hierarchical.Spec.ScopeSyntax = v1alpha1.ScopeSyntaxHierarchical
	expressions := newAPI("expressions", specialAudience("expressions"), "read", "write")
	for _, rule := range []string{
		`client.namespace.startsWith("jobs-")`, `client.labels["app.kubernetes.io/name"] == "job"`, `request.time.getFullYear() > 2000`,
	} {
		expressions.Spec.Rules = append(expressions.Spec.Rules, v1alpha1.PolicyCondition{Expression: v1alpha1.Expression(rule)})
	}
	for name, claim := range map[string]string{"team": `client.labels["team"]`, "workspace": `client.namespace`, "kind": `"machine"`} {
		expressions.Spec.Claims = append(expressions.Spec.Claims, v1alpha1.ApiClaim{Name: name, Expression: v1alpha1.Expression(claim)})
	}
	return append(apis, hierarchical, expressions)
}

func specialAudience(name string) string { return "https://" + name + ".example.com" }

func manyScopes(n int) []v1alpha1.ScopeName {
	var scopes []v1alpha1.ScopeName
	for i := range n {
		scopes = append(scopes, v1alpha1.ScopeName(fmt.Sprintf("course-%d:read", i)))
	}
	return scopes
}
