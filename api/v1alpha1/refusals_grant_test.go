package v1alpha1_test

import (
	"fmt"
	"strings"
)

func scopeGrantRefusals() []refusal {
	scopes := make([]any, 513)
	for i := range scopes {
		scopes[i] = fmt.Sprint("scope:", i)
	}
	return concat(
		[]refusal{
			{rule: "metadata cel: the name must be at most 63 characters", example: "64",
				change: set("metadata.name", strings.Repeat("a", 64))},
			{rule: "spec required", example: "absent", change: unset("spec")},
		},
		missing("spec.apiResourceRef"),
		missing("spec.apiResourceRef.name"),
		subdomain("spec.apiResourceRef.name", 63),
		subjectRefusals(),
		selectorRefusals(),
		[]refusal{
			{rule: "spec.scopes minItems", example: "empty", change: set("spec.scopes", []any{})},
			{rule: "spec.scopes maxItems", example: "513", change: set("spec.scopes", scopes)},
			{rule: "spec.scopes duplicate", example: "twice", change: set("spec.scopes", []any{"a", "b", "a"})},
		},
		scopeName("spec.scopes[]"),
		moment("spec.notBefore"),
		moment("spec.expiresAt"),
		timeBoxRefusals(),
		grantPolicyRefusals(),
	)
}

// moment is what both ends of a grant refuse. Some of it satisfies the API server's date-time and would not parse
// here: a single object with such a time would break every watch of the kind.
func moment(path string) []refusal {
	return concat(
		refuse(path+" format", "2026-02-30T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:00:60Z", "tomorrow", ""),
		refuse(path+" maxLength", "2026-01-01T00:00:00."+strings.Repeat("0", 40)+"Z"),
		refuse(path+" pattern", "2026-01-01", "2026-01-01T00:00:00", "2026-01-01t00:00:00Z", "2026-01-01T00:00:00z",
			"2026-01-01 00:00:00Z", "2026-01-01T00:00:00x5Z", "2026-01-01T00:00:00,5Z", "2026-01-01T00:00:00+99:99",
			"2026-01-01T00:00:00+24:00", "12026-01-01T00:00:00Z", "2026-01-01T00:00:00.1234567890Z"),
		refuse(path+" cel: must be between the years 1970 and 9999", "0000-01-01T00:00:00Z", "0001-01-01T00:00:00Z",
			"1969-12-31T23:59:59Z", "1970-01-01T00:00:00+01:00", "9999-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59"),
	)
}

func timeBoxRefusals() []refusal {
	box := func(example, notBefore, expiresAt string) refusal {
		return refusal{rule: "spec.expiresAt cel: must be later than notBefore", example: example,
			change: all(set("spec.notBefore", notBefore), set("spec.expiresAt", expiresAt))}
	}
	return []refusal{
		box("earlier", "2026-06-01T00:00:00Z", "2026-05-31T23:59:59Z"),
		box("equal", "2026-06-01T00:00:00Z", "2026-06-01T00:00:00Z"),
		box("equal, in another zone", "2026-06-01T00:00:00Z", "2026-06-01T02:00:00+02:00"),
		box("later as text, earlier as a time", "2026-06-01T00:00:00Z", "2026-06-01T01:00:00+02:00"),
	}
}

func subjectRefusals() []refusal {
	const path = "spec.subjects"
	const oneOf = path + "[] cel: exactly one of name and selector must be set"
	subjects := make([]any, 257)
	for i := range subjects {
		subjects[i] = map[string]any{"namespace": "jobs", "name": fmt.Sprint("job-", i)}
	}
	return concat(
		missing(path),
		[]refusal{
			{rule: path + " minItems", example: "empty", change: set(path, []any{})},
			{rule: path + " maxItems", example: "257", change: set(path, subjects)},
			{rule: oneOf, example: "both", change: set(path+".0.name", "publisher")},
			{rule: oneOf, example: "neither", change: unset(path + ".0.selector")},
		},
		missing(path+"[].namespace"),
		label(path+"[].namespace", 63),
		subdomain(path+"[].name", 63),
	)
}

func selectorRefusals() []refusal {
	const path = "spec.subjects[].selector"
	const empty = path + " cel: must not be empty: name at least one label, since an empty selector would mean nothing"
	const labels = path + ".matchLabels cel: label keys must be at most 317 and values at most 63 characters"
	const expressions = path + ".matchExpressions"
	const values = expressions + "[] cel: values must be given for In and NotIn, and only for these"
	requirement := func(operator string, values ...any) edit {
		r := map[string]any{"key": "site", "operator": operator}
		if len(values) > 0 {
			r["values"] = values
		}
		return set(at(expressions), []any{r})
	}
	many := make([]any, 65)
	for i := range many {
		many[i] = fmt.Sprint("value-", i)
	}
	manyExpressions := make([]any, 17)
	manyLabels := map[string]any{}
	for i := range manyExpressions {
		manyExpressions[i] = map[string]any{"key": fmt.Sprint("key-", i), "operator": "Exists"}
		manyLabels[fmt.Sprint("key-", i)] = "a"
	}
	oneLabel := func(key, value string) edit {
		return set(at(path), map[string]any{"matchLabels": map[string]any{key: value}})
	}
	return concat(
		[]refusal{
			{rule: empty, example: "nothing in it", change: set(at(path), map[string]any{})},
			{rule: empty, example: "empty fields",
				change: set(at(path), map[string]any{"matchLabels": map[string]any{}, "matchExpressions": []any{}})},
			{rule: path + ".matchLabels maxProperties", example: "17", change: set(at(path)+".matchLabels", manyLabels)},
			{rule: labels, example: "a long key", change: oneLabel(strings.Repeat("k", 318), "a")},
			{rule: labels, example: "a long value", change: oneLabel("kind", strings.Repeat("v", 64))},
			{rule: expressions + " maxItems", example: "17", change: set(at(expressions), manyExpressions)},
			{rule: values, example: "In without", change: requirement("In")},
			{rule: values, example: "NotIn without", change: requirement("NotIn")},
			{rule: values, example: "Exists with", change: requirement("Exists", "north")},
			{rule: values, example: "DoesNotExist with", change: requirement("DoesNotExist", "north")},
			{rule: expressions + "[].operator enum", example: "Gt", change: requirement("Gt", "1")},
			{rule: expressions + "[].operator enum", example: "=", change: requirement("=", "north")},
			{rule: expressions + "[].values maxItems", example: "65", change: requirement("In", many...)},
			{rule: expressions + "[].values[] maxLength", example: "64", change: requirement("In", strings.Repeat("v", 64))},
		},
		missing(expressions+"[].key"),
		refuse(expressions+"[].key minLength", ""),
		tooLong(expressions+"[].key", 317),
		missing(expressions+"[].operator"),
	)
}
