package v1alpha1_test

import (
	"fmt"
	"strings"
)

// many makes n different items of a list.
func many(n int, item func(i int) any) []any {
	out := make([]any, n)
	for i := range out {
		out[i] = item(i)
	}
	return out
}

func numbered(prefix string) func(int) any {
	return func(i int) any { return fmt.Sprint(prefix, i) }
}

// scopeList is what a required list of scopes refuses.
func scopeList(path string, limit int) []refusal {
	return concat(
		missing(path),
		[]refusal{
			{rule: path + " minItems", example: "empty", change: set(at(path), []any{})},
			{rule: path + " maxItems", example: "too many", change: set(at(path), many(limit+1, numbered("scope:")))},
			{rule: path + " duplicate", example: "twice", change: set(at(path), []any{"a", "b", "a"})},
		},
		scopeName(path+"[]"),
	)
}

func roleName(path string) []refusal {
	return concat(
		refuse(path+" minLength", ""),
		tooLong(path, 63),
		refuse(path+" pattern", "-clerk", "clerk-", "two words", "Käufer", "a/b"),
	)
}

// expression is what an expression refuses that has not been compiled yet: ten kilobytes are not read at all.
func expression(path string) []refusal {
	return concat(
		missing(path),
		refuse(path+" minLength", ""),
		tooLong(path, 4096),
		refuse(path+" maxLength", strings.Repeat("true && ", 10<<10/8)+"true"),
	)
}

// policyConditions is what a list of expressions with messages refuses.
func policyConditions(path string, limit int) []refusal {
	item := func(int) any { return map[string]any{"expression": "true"} }
	return concat(
		[]refusal{{rule: path + " maxItems", example: "too many", change: set(at(path), many(limit+1, item))}},
		expression(path+"[].expression"),
		refuse(path+"[].message minLength", ""),
		tooLong(path+"[].message", 256),
		// It is told to clients in an error_description (RFC 6749 section 5.2).
		refuse(path+"[].message pattern", `say "no"`, `back\slash`, "über", "two\nlines", "\x7f"),
	)
}

func apiPolicyRefusals() []refusal {
	const segments = "spec.scopes cel: must be resource, resource:action or resource:id:action, since scopeSyntax is Hierarchical"
	hierarchical := func(name string) refusal {
		return refusal{rule: segments, example: name,
			change: all(set("spec.scopeSyntax", "Hierarchical"), set("spec.scopes.1.name", name))}
	}
	const reserved = "spec.claims[].name cel: must not be a claim that the issuer sets itself: " +
		"iss, sub, aud, exp, iat, nbf, jti, client_id, scope, cnf"
	role := func(i int) any {
		return map[string]any{"name": fmt.Sprint("role-", i), "scopes": []any{"courses:read"}}
	}
	claim := func(i int) any { return map[string]any{"name": fmt.Sprint("claim-", i), "expression": "1"} }
	return concat(
		refuse("spec.scopeSyntax enum", "hierarchical", "Regex", ""),
		[]refusal{hierarchical(":"), hierarchical("a:"), hierarchical(":a"), hierarchical("a::b"), hierarchical("a:b:c:d"), hierarchical("a:b:c:")},
		refuse("spec.authorization enum", "None", "Anyclient", ""),
		refuse("spec.partialGrants enum", "Deny", "refuse", ""),
		[]refusal{
			{rule: "spec.roles maxItems", example: "65", change: set("spec.roles", many(65, role))},
			{rule: "spec.roles duplicate", example: "two of one name", change: set("spec.roles.1.name", "publisher")},
		},
		missing("spec.roles[].name"),
		roleName("spec.roles[].name"),
		text("spec.roles[].description", 512),
		scopeList("spec.roles[].scopes", 512),
		policyConditions("spec.rules", 16),
		[]refusal{
			{rule: "spec.claims maxItems", example: "33", change: set("spec.claims", many(33, claim))},
			{rule: "spec.claims duplicate", example: "two of one name", change: set("spec.claims.1.name", "scp")},
		},
		missing("spec.claims[].name"),
		refuse("spec.claims[].name minLength", ""),
		tooLong("spec.claims[].name", 128),
		refuse("spec.claims[].name pattern", "two words", `quo"te`, `back\slash`, "größe"),
		refuse(reserved, "iss", "sub", "aud", "exp", "iat", "nbf", "jti", "client_id", "scope", "cnf"),
		expression("spec.claims[].expression"),
	)
}

func grantPolicyRefusals() []refusal {
	return concat(
		[]refusal{
			{rule: "spec cel: must name at least one scope or role", example: "neither",
				change: all(unset("spec.scopes"), unset("spec.roles"))},
			{rule: "spec.roles minItems", example: "empty", change: set("spec.roles", []any{})},
			{rule: "spec.roles maxItems", example: "65", change: set("spec.roles", many(65, numbered("role-")))},
			{rule: "spec.roles duplicate", example: "twice", change: set("spec.roles", []any{"a", "b", "a"})},
		},
		roleName("spec.roles[]"),
		policyConditions("spec.conditions", 8),
	)
}

func identifierRefusals() []refusal {
	const reserved = "spec.identifiers.reserved"
	entry := func(i int) any {
		return map[string]any{"prefix": fmt.Sprintf("https://%d.example.com/", i), "namespaces": []any{"a"}}
	}
	return concat(
		[]refusal{
			{rule: "spec.identifiers minProperties", example: "empty", change: set("spec.identifiers", map[string]any{})},
			{rule: reserved + " maxItems", example: "257", change: set(reserved, many(257, entry))},
			{rule: reserved + " duplicate", example: "one prefix twice", change: set(reserved, []any{entry(1), entry(2), entry(1)})},
		},
		refuse("spec.identifiers.others enum", "allow", "Refuse", ""),
		missing(reserved+"[].prefix"),
		refuse(reserved+"[].prefix minLength", ""),
		tooLong(reserved+"[].prefix", 512),
		refuse(reserved+"[].prefix pattern", "https://pay example", `"`, "https://größe", "a|b"),
		missing(reserved+"[].namespaces"),
		[]refusal{
			{rule: reserved + "[].namespaces minItems", example: "empty", change: set(at(reserved+"[].namespaces"), []any{})},
			{rule: reserved + "[].namespaces maxItems", example: "65", change: set(at(reserved+"[].namespaces"), many(65, numbered("ns-")))},
			{rule: reserved + "[].namespaces duplicate", example: "twice", change: set(at(reserved+"[].namespaces"), []any{"a", "b", "a"})},
		},
		label(reserved+"[].namespaces[]", 63),
	)
}

func requestRefusals() []refusal {
	const path = "spec.requests"
	wish := func(i int) any {
		return map[string]any{"scopes": []any{"a"}, "apiResource": map[string]any{"namespace": "a", "name": fmt.Sprint("api-", i)}}
	}
	return concat(
		[]refusal{{rule: path + " maxItems", example: "33", change: set(path, many(33, wish))}},
		missing(path+"[].apiResource"),
		missing(path+"[].apiResource.namespace"),
		label(path+"[].apiResource.namespace", 63),
		missing(path+"[].apiResource.name"),
		subdomain(path+"[].apiResource.name", 63),
		scopeList(path+"[].scopes", 64),
	)
}
