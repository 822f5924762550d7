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
		rotationRefusals(),
	)
}

func rotationRefusals() []refusal {
	const path = "spec.credential"
	many := make([]any, 65)
	for i := range many {
		many[i] = fmt.Sprintf("%016d", i)
	}
	rhythm := func(interval, overlap string) refusal {
		return refusal{rule: path + ".rotation.overlap cel: must be at most half of interval", example: overlap + " of " + interval,
			change: set(path+".rotation", map[string]any{"interval": interval, "overlap": overlap})}
	}
	return concat(
		missing(path+".rotation.interval"),
		period(path+".rotation.interval"),
		refuse(path+".rotation.interval cel: must be between 1h and 8760h", "0s", "59m59s", "3599s", "8760h1s", "99999h"),
		period(path+".rotation.overlap"),
		[]refusal{rhythm("1h", "31m"), rhythm("1h", "1801s"), rhythm("48h", "48h"), rhythm("720h", "99999h")},
		text(path+".revision", 64),
		[]refusal{
			{rule: path + ".revokedIDs maxItems", example: "65", change: set(path+".revokedIDs", many)},
			{rule: path + ".revokedIDs duplicate", example: "twice", change: set(path+".revokedIDs", []any{many[0], many[0]})},
		},
		refuse(path+".revokedIDs[] minLength", "", "0123456789abcde"),
		tooLong(path+".revokedIDs[]", 16),
		refuse(path+".revokedIDs[] pattern", "0123456789ABCDEF", "0123456789abcdew", "0123456789abcde ", "0123456789abcde\n", strings.Repeat("*", 16)),
	)
}
