package v1alpha1_test

import (
	"fmt"
	"slices"
	"strings"
)

func tokenIssuerRefusals() []refusal {
	const name = "metadata cel: the name must be a DNS label of at most 40 characters: Services and Secrets are named after it"
	return concat(
		[]refusal{
			{rule: name, example: "41 characters", change: set("metadata.name", strings.Repeat("a", 41))},
			{rule: name, example: "a dot", change: set("metadata.name", "tokens.example.com")},
			{rule: "spec required", example: "absent", change: unset("spec")},
		},
		issuerURLRefusals(),
		signingRefusals(),
		[]refusal{
			{rule: "spec.tokens minProperties", example: "empty", change: set("spec.tokens", map[string]any{})},
			{rule: "spec.tokens cel: defaultLifetime must not be longer than maxLifetime", example: "61m of 1h",
				change: set("spec.tokens", map[string]any{"defaultLifetime": "61m", "maxLifetime": "1h"})},
		},
		lifetime("spec.tokens.defaultLifetime"),
		lifetime("spec.tokens.maxLifetime"),
		missing("spec.tls.secretName"),
		subdomain("spec.tls.secretName", 253),
		trustedProxyRefusals(),
		identifierRefusals(),
		moment("spec.revokeTokensIssuedBefore"),
		period("spec.maxStaleness"),
		refuse("spec.maxStaleness cel: must be at least 2m", "0s", "119s", "1m59s"),
		deploymentRefusals(),
	)
}

func trustedProxyRefusals() []refusal {
	const path = "spec.trustedProxies"
	many := make([]any, 33)
	for i := range many {
		many[i] = fmt.Sprintf("10.0.%d.0/24", i)
	}
	var table []refusal
	for _, network := range []string{"10.0.0.1", "10.0.0.0/33", "10.0.0/8", "::1", "proxy.example.com", "*", "::ffff:10.0.0.0/104"} {
		table = append(table, refusal{rule: path + " cel: must be networks as CIDR, such as 10.0.0.0/8", example: network,
			change: set(path, []any{"10.0.0.0/8", network})})
	}
	return append(table,
		refusal{rule: path + " maxItems", example: "33", change: set(path, many)},
		refusal{rule: path + " duplicate", example: "twice", change: set(path, []any{"10.0.0.0/8", "10.0.0.0/8"})},
		refusal{rule: path + "[] minLength", example: "empty", change: set(path, []any{""})},
		refusal{rule: path + "[] maxLength", example: "65 characters", change: set(path, []any{strings.Repeat("1", 65)})},
	)
}

func deploymentRefusals() []refusal {
	const (
		path       = "spec.deployment"
		labelRule  = " cel: keys must be at most 317 and values at most 63 characters"
		annotation = " cel: keys must be at most 317 and values at most 4096 characters"
	)
	toleration := map[string]any{"key": "dedicated", "operator": "Exists"}
	spread := map[string]any{"maxSkew": int64(1), "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
	table := concat(
		[]refusal{
			{rule: path + " minProperties", example: "empty", change: set(path, map[string]any{})},
			{rule: path + ".replicas minimum", example: "none", change: set(path+".replicas", int64(0))},
			{rule: path + ".replicas maximum", example: "101", change: set(path+".replicas", int64(101))},
			{rule: path + ".tolerations maxItems", example: "33", change: set(path+".tolerations", slices.Repeat([]any{toleration}, 33))},
			{rule: path + ".topologySpreadConstraints maxItems", example: "9", change: set(path+".topologySpreadConstraints", slices.Repeat([]any{spread}, 9))},
		},
		subdomain(path+".priorityClassName", 253),
	)
	for name, rule := range map[string]string{"nodeSelector": labelRule, "podLabels": labelRule, "podAnnotations": annotation} {
		many := map[string]any{}
		for i := range 33 {
			many[fmt.Sprintf("key-%d", i)] = "value"
		}
		table = append(table,
			refusal{rule: path + "." + name + " maxProperties", example: "33", change: set(path+"."+name, many)},
			refusal{rule: path + "." + name + rule, example: "a long value", change: set(path+"."+name, map[string]any{"a": strings.Repeat("a", 4097)})},
			refusal{rule: path + "." + name + rule, example: "a long key", change: set(path+"."+name, map[string]any{strings.Repeat("a", 318): "a"})})
	}
	return table
}

func issuerURLRefusals() []refusal {
	const url = "spec.url "
	return concat(
		refuse(url+"minLength", "", "https://"),
		refuse(url+"maxLength", "https://"+strings.Repeat("a", 249)),
		refuse(url+"pattern", "http://tokens.example.com", "tokens.example.com", "HTTPS://tokens.example.com",
			"https://tokens.example.com?", "https://tokens.example.com/?tenant=a", "https://tokens.example.com/#a",
			"https://user@tokens.example.com", "https://user:password@tokens.example.com", "https://tokens.example.com/%41",
			"https://tokens.example.com/a b", "https://tokens.example.com\n", `https://tokens.example.com\a`,
			"https://tökens.example.com"),
		refuse(url+"cel: must have a valid host, and after it only a port and a path", "https:///tokens", "https://..",
			"https://tokens..example.com", "https://-tokens.example.com", "https://tokens.example.com:",
			"https://tokens.example.com:0", "https://tokens.example.com:123456", "https://tokens.example.com:443x",
			"https://[::1", "https://[:::::]", "https://[1.2.3.4]", "https://tokens.example.com/[a]"),
		refuse(url+"cel: must have a port of at most 65535", "https://tokens.example.com:65536", "https://[::1]:99999/a"),
		refuse(url+"cel: must not have an empty, . or .. path segment", "https://tokens.example.com//",
			"https://tokens.example.com//a", "https://tokens.example.com/a//b", "https://tokens.example.com/.",
			"https://tokens.example.com/..", "https://tokens.example.com/a/../b", "https://tokens.example.com/a:/./b"),
	)
}

func signingRefusals() []refusal {
	const path = "spec.signing.algorithms"
	algorithms := func(names ...any) edit { return set(path, append([]any{}, names...)) }
	return append(signingKeyRefusals(), []refusal{
		{rule: "spec.signing minProperties", example: "empty", change: set("spec.signing", map[string]any{})},
		{rule: path + " minItems", example: "none at all", change: algorithms()},
		{rule: path + " maxItems", example: "four", change: algorithms("ES256", "RS256", "PS256", "EdDSA")},
		{rule: path + " cel: must not name an algorithm twice", example: "twice", change: algorithms("ES256", "RS256", "ES256")},
		{rule: path + "[] enum", example: "none", change: algorithms("none")},
		{rule: path + "[] enum", example: "HS256", change: algorithms("HS256")},
		{rule: path + "[] enum", example: "lower case", change: algorithms("es256")},
		{rule: path + "[] enum", example: "nothing", change: algorithms("")},
	}...)
}

func signingKeyRefusals() []refusal {
	const (
		interval = "spec.signing.rotationInterval"
		path     = "spec.signing.revokedKeys"
		kid      = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs" // of RFC 7638 section 3.1
	)
	many := make([]any, 65)
	for i := range many {
		many[i] = fmt.Sprintf("%043d", i)
	}
	keys := func(kids ...any) edit { return set(path, kids) }
	return concat(
		period(interval),
		refuse(interval+" cel: must be between 1h and 8760h", "0s", "59m59s", "8760h1s", "99999h"),
		text("spec.signing.revision", 64),
		[]refusal{
			{rule: path + " maxItems", example: "65", change: set(path, many)},
			{rule: path + " duplicate", example: "twice", change: keys(kid, kid)},
			{rule: path + "[] minLength", example: "42 characters", change: keys(kid[1:])},
			{rule: path + "[] maxLength", example: "44 characters", change: keys(kid + "A")},
			{rule: path + "[] pattern", example: "base64", change: keys(strings.Repeat("+", 43))},
			{rule: path + "[] pattern", example: "a line break", change: keys(kid[1:] + "\n")},
		},
	)
}
