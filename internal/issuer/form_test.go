package issuer

import (
	"slices"
	"strings"
	"testing"
)

func TestParseForm(t *testing.T) {
	for name, test := range map[string]struct {
		body    string
		failure *oauthError
	}{
		"nothing":                  {"", nil},
		"unknown repeated":         {"x=1&x=1", nil},
		"resource repeated":        {"resource=a&resource=a", nil},
		"empty pairs":              {"&&scope=a&", nil},
		"known repeated":           {"scope=a&scope=b", errRepeated},
		"known repeated, encoded":  {"scope=a&%73cope=b", errRepeated},
		"known repeated, empty":    {"scope&scope=", errRepeated},
		"semicolon":                {"a=1;b=2", errForm},
		"malformed percent, name":  {"%=1", errForm},
		"malformed percent, value": {"a=%g0", errForm},
		"as many as may be":        {strings.Repeat("x=y&", maxParameters-1) + "x=y", nil},
		"one too many":             {strings.Repeat("x=y&", maxParameters) + "x=y", errParameters},
	} {
		if _, failure := parseForm(test.body, tokenParameters); failure != test.failure {
			t.Errorf("%s: %+v, want %+v", name, failure, test.failure)
		}
	}
	f, failure := parseForm("scope=a+b%2B&client_id&audience=%00%FF&x=y", tokenParameters)
	if failure != nil || f.get("scope") != "a b+" || f.get("client_id") != "" || f.get("audience") != "\x00\xff" {
		t.Errorf("got %+v, %+v", f, failure)
	}
}

func TestCheckQuery(t *testing.T) {
	for query, ok := range map[string]bool{
		"": true, "x=1": true, "x": true, "Scope=a": true,
		"scope": false, "x&scope=": false, "%73cope=a": false, "x=%zz": false, "x;y": false,
	} {
		if got := checkQuery(query, tokenParameters); (got == nil) != ok {
			t.Errorf("%q: %+v", query, got)
		}
	}
	for _, name := range tokenParameters {
		if checkQuery(name+"=x", tokenParameters) == nil {
			t.Errorf("%s may be in the URI", name)
		}
	}
}

func TestParseScope(t *testing.T) {
	for scope, want := range map[string][]string{
		"": nil, "a": {"a"}, "b a b": {"b", "a", "b"}, "!#[]~": {"!#[]~"},
	} {
		if got, ok := parseScope(scope); !ok || !slices.Equal(got, want) {
			t.Errorf("%q: %q, %t", scope, got, ok)
		}
	}
	for _, scope := range []string{" ", "a ", " a", "a  b", "a\tb", `a"`, `a\`, "\x7f", "\x00", "é", "\xff", "a\u2028b"} {
		if got, ok := parseScope(scope); ok || got != nil {
			t.Errorf("%q: %q, %t", scope, got, ok)
		}
	}
}
