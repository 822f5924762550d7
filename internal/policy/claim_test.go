package policy_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/m2m-operator/m2m-operator/internal/policy"
)

func TestClaims(t *testing.T) {
	for expression, want := range map[string]string{
		"scopes":               `["courses:publish"]`,
		"'client-credentials'": `"client-credentials"`,
		"client.id":            `"jobs.publisher"`,
		"scopes.join(' ')":     `"courses:publish"`,
		"{'tier': 'gold', 'limits': {'rps': 10, 'burst': 1.5}, 'a': [1, 'x', true, null]}": `{"a":[1,"x",true,null],"limits":{"burst":1.5,"rps":10},"tier":"gold"}`,
		"{'z': 1, 'a': 2, 'm': 3}": `{"a":2,"m":3,"z":1}`,
		"client.labels":            `{"app.kubernetes.io/name":"publisher","tier":"gold"}`,
		"{?'tier': client.labels[?'tier'], ?'no': client.labels[?'no']}": `{"tier":"gold"}`,
		"client.labels[?'tier']":    `"gold"`,
		"client.labels[?'missing']": ``,
		"null":                      ``,
		"optional.of(null)":         ``,
		"has(client.labels.x) ? dyn(1) : dyn(null)": ``,
		"[null]":                            `[null]`,
		"[]":                                `[]`,
		"{}":                                `{}`,
		"true":                              `true`,
		"9007199254740991":                  `9007199254740991`,
		"-9007199254740991":                 `-9007199254740991`,
		"7u":                                `7`,
		"1.5e300":                           `1.5e+300`,
		"0.1":                               `0.1`,
		"request.time":                      `"2026-01-01T23:05:07.089Z"`,
		"duration('90s')":                   `"90s"`,
		"b'\\xff\\x00'":                     `"/wA="`,
		`'<&> " \\ \n\u2028'`:               `"<&> \" \\ \n\u2028"`,
		"[[[[[[[[1]]]]]]]]":                 `[[[[[[[[1]]]]]]]]`,
		"'x'" + ".replace('x', 'xxxxxxxx')": `"xxxxxxxx"`,
		"lists.range(3).map(i, {'n': i})":   `[{"n":0},{"n":1},{"n":2}]`,
	} {
		claim, err := policy.CompileClaim("tier", expression)
		if err != nil {
			t.Errorf("%s: %v", expression, err)
			continue
		}
		budget := policy.NewBudget()
		value, err := claim.Value(aNight(), budget)
		if err != nil || string(value) != want {
			t.Errorf("%s: %s %v, want %s", expression, value, err, want)
		}
		if (value == nil) != (want == "") {
			t.Errorf("%s: %#v", expression, value)
		}
		if budget.Spent() > claim.Estimate() {
			t.Errorf("%s cost %d, estimated were at most %d", expression, budget.Spent(), claim.Estimate())
		}
		if claim.Name() != "tier" {
			t.Errorf("the claim's name is %q", claim.Name())
		}
	}
}

func TestClaimsFail(t *testing.T) {
	const result = "the expression's value is not allowed: "
	for expression, want := range map[string]string{
		"9007199254740992":   result + "an integer is not within 2^53",
		"-9007199254740992":  result + "an integer is not within 2^53",
		"9007199254740992u":  result + "an integer is not within 2^53",
		"1.0 / 0.0":          result + "a number is not finite",
		"[0.0 / 0.0]":        result + "a number is not finite",
		"{1: 'x'}":           result + "a key is not a string",
		"{true: 'x'}":        result + "a key is not a string",
		"type(1)":            result + "it has a part of type type, which JSON does not have",
		"[ip('10.0.0.1')]":   result + "it has a part of type net.IP, which JSON does not have",
		"[optional.of(1)]":   result + "it has a part of type optional_type, which JSON does not have",
		"[[[[[[[[[]]]]]]]]]": result + "it is nested deeper than 8 levels",
		"lists.range(1000)":  result + "it is longer than 2048 bytes of JSON",
		"{'" + strings.Repeat("k", 2048) + "': 1}": result + "it is longer than 2048 bytes of JSON",
		"'" + strings.Repeat("v", 2047) + "'":      result + "it is longer than 2048 bytes of JSON",
		"client.labels.missing":                    "the expression failed: no such key: missing",
	} {
		claim, err := policy.CompileClaim("tier", expression)
		if err != nil {
			t.Errorf("%s: %v", expression, err)
			continue
		}
		value, err := claim.Value(aNight(), policy.NewBudget())
		if value != nil || err == nil || err.Error() != want {
			t.Errorf("%s: %s %v, want %s", expression, value, err, want)
		}
		if !errors.Is(err, policy.ErrResult) && !errors.Is(err, policy.ErrEvaluation) {
			t.Errorf("%s: %v is of no category", expression, err)
		}
	}
	longest, err := policy.CompileClaim("tier", "'"+strings.Repeat("v", 2046)+"'")
	if err != nil {
		t.Fatal(err)
	}
	if value, err := longest.Value(aNight(), policy.NewBudget()); len(value) != 2048 || err != nil {
		t.Errorf("%d bytes: %v", len(value), err)
	}
}

// A string that is not UTF-8 can come from outside only: CEL makes none.
func TestClaimsAreUTF8(t *testing.T) {
	in := aNight()
	in.Client.Labels["tier"] = "\xff\nforged=entry\u202e" + strings.Repeat("é", 300)
	for _, expression := range []string{"client.labels.tier", "client.labels", "{client.labels.tier: 1}"} {
		claim, err := policy.CompileClaim("tier", expression)
		if err != nil {
			t.Fatal(err)
		}
		if value, err := claim.Value(in, policy.NewBudget()); value != nil || !errors.Is(err, policy.ErrResult) {
			t.Errorf("%s: %s %v", expression, value, err)
		}
	}
	condition, err := policy.CompileCondition("client.labels[client.labels.tier] == ''")
	if err != nil {
		t.Fatal(err)
	}
	_, err = condition.Holds(in, policy.NewBudget())
	const want = "the expression failed: no such key: ? forged=entry?é"
	if err == nil || !strings.HasPrefix(err.Error(), want) || len(err.Error()) > 256+len("the expression failed: ") {
		t.Errorf("the error is not fit for a log: %q", err)
	}
}

func TestClaimNames(t *testing.T) {
	for _, name := range strings.Fields("iss sub aud exp iat nbf jti client_id scope cnf") {
		_, err := policy.CompileClaim(name, "1")
		if want := "claim " + name + " is set by the issuer alone"; err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
	for _, name := range []string{"", "a b", "a\"b", "a\\b", "é", "a\n", strings.Repeat("n", 129)} {
		if _, err := policy.CompileClaim(name, "1"); err == nil {
			t.Errorf("the name %q was accepted", name)
		}
	}
	for _, name := range []string{"scp", "https://example.com/roles", "Scope", strings.Repeat("n", 128)} {
		if _, err := policy.CompileClaim(name, "1"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
