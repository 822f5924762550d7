package v1alpha1_test

import (
	"fmt"
	"strings"
)

// immutableIssuer is what both kinds with an issuerRef refuse.
func immutableIssuer() []refusal {
	const rule = "spec.issuerRef cel: field is immutable"
	absent, other := unset("spec.issuerRef"), set("spec.issuerRef.name", "other")
	return []refusal{
		{rule: rule, example: "another", before: same, change: other},
		{rule: rule, example: "set, then left to the default", before: other, change: absent},
		{rule: rule, example: "left to the default, then set", before: absent, change: other},
	}
}

func apiResourceRefusals() []refusal {
	scopes := make([]any, 513)
	for i := range scopes {
		scopes[i] = map[string]any{"name": fmt.Sprint("scope:", i)}
	}
	const immutable = "spec.identifier cel: field is immutable"
	becomes := func(identifier string) refusal {
		return refusal{rule: immutable, example: identifier, before: same, change: set("spec.identifier", identifier)}
	}
	return concat(
		[]refusal{
			{rule: "metadata cel: the name must be at most 63 characters", example: "64",
				change: set("metadata.name", strings.Repeat("a", 64))},
			{rule: "spec required", example: "absent", change: unset("spec")},
		},
		missing("spec.issuerRef.name"),
		label("spec.issuerRef.name", 40),
		immutableIssuer(),
		missing("spec.identifier"),
		audience("spec.identifier"),
		refuse("spec.identifier cel: must be a valid absolute URI",
			"https://[bad", "https://a.example:port/", "https://a%41.example"),
		[]refusal{
			becomes("https://other.example.com"),
			becomes("https://courses.example.com/api/"),
			becomes("https://COURSES.example.com/api"),
		},
		text("spec.displayName", 128),
		[]refusal{
			{rule: "spec.scopes maxItems", example: "513", change: set("spec.scopes", scopes)},
			{rule: "spec.scopes duplicate", example: "one name twice", change: set("spec.scopes.1.name", "courses:read")},
		},
		missing("spec.scopes[].name"),
		scopeName("spec.scopes[].name"),
		text("spec.scopes[].description", 512),
		[]refusal{{rule: "spec.token minProperties", example: "empty", change: set("spec.token", map[string]any{})}},
		lifetime("spec.token.lifetime"),
		refuse("spec.token.signingAlgorithm enum", "none", "HS256", "es256", ""),
		apiPolicyRefusals(),
	)
}

func m2mClientRefusals() []refusal {
	const immutable = "spec.credential.secretName cel: field is immutable, also from absent to set: " +
		"delete the M2MClient and create it anew to change it"
	const secretName = "spec.credential.secretName"
	return concat(
		[]refusal{
			{rule: "metadata cel: the name must be at most 63 characters: the client_id is made of it", example: "64",
				change: set("metadata.name", strings.Repeat("a", 64))},
			{rule: "spec required", example: "absent", change: unset("spec")},
		},
		missing("spec.issuerRef.name"),
		label("spec.issuerRef.name", 40),
		immutableIssuer(),
		text("spec.displayName", 128),
		text("spec.description", 1024),
		lifetime("spec.tokenLifetime"),
		audience("spec.defaultAudience"),
		authenticationRefusals(),
		requestRefusals(),
		subdomain("spec.serviceAccountName", 253),
		moment("spec.revokeTokensIssuedBefore"),
		[]refusal{
			{rule: "spec.credential minProperties", example: "empty", change: set("spec.credential", map[string]any{})},
			{rule: immutable, example: "another", before: same, change: set(secretName, "other")},
			{rule: immutable, example: "set, then absent", before: same, change: unset("spec.credential")},
			{rule: immutable, example: "absent, then set", before: unset("spec.credential"), change: same},
		},
		subdomain(secretName, 253),
	)
}
