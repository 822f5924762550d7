package policy_test

import (
	"strings"
	"testing"

	"github.com/m2m-operator/m2m-operator/internal/policy"
)

const (
	tooCostly = "1:1: the expression may cost too much, more than 10000000 units with 512 scopes of 128 bytes: " +
		"nest fewer loops, look things up with 'in', and compare lists with sets.contains"
	tooLarge   = "1:1: the expression may make a list of lists of more than 300000 values, with 512 scopes"
	tooDeep    = "1:1: the expression is nested deeper than 32 levels"
	tooMany    = "1:1: the expression has more than 200 lists and maps"
	notAnyMore = "optMap is not available: use orValue, or a condition with has()"
)

func repeat(s string, n int) string { return strings.Repeat(s, n) }

// What is wrong with an expression, and where: the exact words.
func TestCompileErrors(t *testing.T) {
	for expression, want := range map[string]string{
		// Syntax.
		"":                       "1:1: the expression ends too early",
		"client.id ==":           "1:13: the expression ends too early",
		"client.id = 'x'":        "1:11: token recognition error at: '= '; 1:13: extraneous input ''x''",
		"((true)":                "1:8: missing ')' at the end",
		"true)":                  "1:5: extraneous input ')'",
		"[1].exists(x, @result)": "1:15: token recognition error at: '@'",
		"true\n\n && client.x":   "3:11: undefined field 'x'",

		// Names.
		"client.namespac == 'x'":                                  "1:7: undefined field 'namespac'",
		"request.scope.size() > 0":                                "1:8: undefined field 'scope'",
		"api.audience == 'x'":                                     "1:4: undefined field 'audience'",
		"clent.id == 'x'":                                         "1:1: undeclared reference to 'clent'",
		"client.id.startswith('x')":                               "1:21: undeclared reference to 'startswith'",
		"__result__ == 1":                                         "1:1: undeclared reference to '__result__'",
		"now() > request.time":                                    "1:4: undeclared reference to 'now'",
		"a && b && c && d && e":                                   "1:1: undeclared reference to 'a'; 1:6: undeclared reference to 'b'; 1:11: undeclared reference to 'c'",
		"client == client":                                        "1:1: client is not a value: name one of its fields, such as client.id; 1:11: client is not a value: name one of its fields, such as client.id",
		"[request].size() == 1":                                   "1:2: request is not a value: name one of its fields, such as request.source",
		"api.?name.hasValue()":                                    "1:1: api is not a value: name one of its fields, such as api.name",
		"client{id: 'x'}.id == 'x'":                               "1:7: objects cannot be made: write a map, {'name': value}",
		"google.protobuf.Struct{} == {}":                          "1:23: objects cannot be made: write a map, {'name': value}",
		"optional.of(1).optMap(x, x).hasValue()":                  "1:12: " + notAnyMore,
		"optional.of(1).optFlatMap(x, optional.of(x)).hasValue()": "1:12: optFlatMap is not available: use orValue, or a condition with has()",

		// Types.
		"client.namespac == 'x' && client.id == 1": "1:7: undefined field 'namespac'; 1:37: found no matching overload for '==' applied to '(string, int)'",
		"client.id":                       "1:1: the expression must be true or false, and is of type string",
		"request.time":                    "1:1: the expression must be true or false, and is of type timestamp",
		"optional.of(true)":               "1:1: the expression must be true or false, and is of type optional_type(bool)",
		"null":                            "1:1: the expression must be true or false, and is of type null",
		"client.id == 1":                  "1:11: found no matching overload for '==' applied to '(string, int)'",
		"!client.id":                      "1:1: found no matching overload for '!' applied to '(string)'",
		"client.id[0] == 'j'":             "1:10: found no matching overload for '[]' applied to '(string, int)'",
		"true ? client.id : 1":            "1:6: found no matching overload for '?:' applied to '(bool, string, int)'",
		"1 in request.scopes":             "1:3: found no matching overload for 'in' applied to '(int, list(string))'",
		"request.time + 1 > request.time": "1:14: found no matching overload for '+' applied to '(timestamp, int)'",
		"[1].all(x, 5)":                   "1:12: expected type 'bool' but found 'int'",
		"[1].all(x.y, true)":              "1:10: argument must be a simple name",
		"has(client)":                     "1:5: invalid argument to has() macro",

		// Constants that are looked at before.
		"request.time.getHours('Europe/Berln') < 6":     "1:23: unknown time zone \"Europe/Berln\": write a name such as 'Europe/Berlin' or an offset such as '+01:00'",
		"request.time.getHours('+23:00') < 6":           "1:23: unknown time zone \"+23:00\": write a name such as 'Europe/Berlin' or an offset such as '+01:00'",
		"request.time.getHours('Local') < 6":            "1:23: unknown time zone \"Local\": write a name such as 'Europe/Berlin' or an offset such as '+01:00'",
		"request.time.getHours('../etc/passwd') < 6":    "1:23: unknown time zone \"../etc/passwd\": write a name such as 'Europe/Berlin' or an offset such as '+01:00'",
		"request.time.getHours(client.id) < 6":          "1:29: the time zone must be written literally, such as 'Europe/Berlin'",
		"request.time > timestamp('tomorrow')":          "1:26: invalid timestamp argument",
		"request.time - request.time > duration('1')":   "1:40: invalid duration argument",
		"cidr('10.0.0.0').containsIP(request.source)":   "1:6: invalid cidr argument: CIDR \"10.0.0.0\" parse error during conversion from string: netip.ParsePrefix(\"10.0.0.0\"): no '/'",
		"ip('10.0.0.256').isLoopback()":                 "1:4: invalid ip argument: IP Address \"10.0.0.256\" parse error during conversion from string: ParseAddr(\"10.0.0.256\"): IPv4 field has value >255",
		"string(b'\\xff') == ''":                        "1:1: invalid UTF-8 in bytes, cannot convert to string",
		"client.id.matches('(a')":                       "1:19: the pattern of matches is malformed: error parsing regexp: missing closing ): `(a`",
		"client.id.matches(client.name)":                "1:25: the pattern of matches must be written literally",
		"client.id.matches('(a{1000}){1000}')":          "1:19: the pattern of matches is malformed: error parsing regexp: invalid repeat count: `{1000}`",
		"client.id.matches('a{1000}')":                  "1:19: the pattern of matches is too large: it takes more than 1000 steps; repeat less in it",
		"client.id.matches('" + repeat("a", 257) + "')": "1:19: the pattern of matches is longer than 256 bytes",

		// Size and depth.
		"true" + repeat(" ", 10_000):                   "the expression is longer than 4096 bytes",
		repeat("(", 1000) + "true" + repeat(")", 1000): tooDeep,
		"true == " + repeat("(", 1000):                 tooDeep,
		repeat("[", 100) + repeat("]", 100) + " == []": tooDeep,
		repeat("1+", 1000) + "1 > 0":                   tooDeep,
		"scopes" + repeat(".map(s, s)", 40) + " == []": tooDeep,
		"optional.of(1)" + repeat(".optMap(x,x)", 300): tooDeep,
		"1 in [" + repeat("[],", 1300) + "[]]":         tooMany,
		"{} in [" + repeat("{},", 1300) + "{}]":        tooMany,

		// Cost.
		"scopes.all(a, scopes.all(b, scopes.all(c, a != b || b != c)))":                                            tooCostly,
		"request.scopes.exists(a, request.scopes.exists(b, request.scopes.exists(c, a == b)))":                     tooCostly,
		"lists.range(1000).all(a, lists.range(1000).all(b, lists.range(1000).all(c, true)))":                       tooCostly,
		"['x']" + repeat(".map(x, x + x)", 28) + " == []":                                                          tooCostly,
		"['x']" + repeat(".map(x, [x, x].join())", 9) + ".map(x, x + x)" + repeat(".map(x, x + x)", 18) + " == []": tooCostly,
		"['x']" + repeat(".map(x, x.replace('x', 'xxxxxxxxxxxxxxxx'))", 8) + " == []":                              tooCostly,
		"'%s'.format([" + "[0]" + repeat(".map(x, [x, x])", 24) + "]) == ''":                                       tooCostly,
		"[0]" + repeat(".map(x, [x, x])", 26) + " == [0]" + repeat(".map(x, [x, x])", 26):                          tooCostly,
		"[dyn(0)]" + repeat(".map(x, dyn([x, x]))", 26) + " == [0]" + repeat(".map(x, dyn([x, x]))", 26):           tooCostly,
		"[0].map(x, [x, x])" + repeat(".map(x, [x, x])", 24) + ".distinct() == []":                                 tooCostly,
		"scopes.map(s, scopes).distinct().size() == 1":                                                             tooCostly,
		"scopes.map(a, scopes.map(b, scopes)).flatten().flatten().size() == 1":                                     tooCostly,

		// Lists of lists of lists, which CEL would write into an error.
		"{'a': true}[dyn([0]" + repeat(".map(x, [x, x])", 20) + ")]":              tooLarge,
		"dyn([0]" + repeat(".map(x, [x, x])", 20) + ") in {'a': true}":            tooLarge,
		"[dyn([0]" + repeat(".map(x, [x, x])", 20) + ")].unwrapOpt().size() == 1": tooLarge,
		"{dyn([0]" + repeat(".map(x, [x, x])", 20) + "): 1}.size() == 1":          tooLarge,
		"scopes.map(a, [scopes, [a]]).map(l, [l, l]).size() == 1":                 tooLarge,
	} {
		name := expression
		if len(name) > 80 {
			name = name[:80] + "..."
		}
		_, err := policy.CompileCondition(expression)
		if err == nil {
			t.Errorf("%s: accepted", name)
		} else if err.Error() != want {
			t.Errorf("%s:\n got %s\nwant %s", name, err, want)
		}
		if _, again := policy.CompileCondition(expression); again == nil || err == nil || again.Error() != err.Error() {
			t.Errorf("%s: %v the first time, then %v", name, err, again)
		}
	}
}

// An error is one line of at most 512 bytes, whatever is in the expression.
func TestCompileErrorsAreBounded(t *testing.T) {
	for _, expression := range []string{
		repeat("é", 2000), repeat("\x00", 4000), repeat("client.\n", 400), "client." + repeat("x", 4000), "\xff\xfe == 1",
		"'" + repeat("\n", 10) + "' == 1", "cidr('" + repeat("1", 4000) + "').isMask()", "1 == '\u202e\u2028" + repeat("x", 100) + "' && x",
	} {
		_, err := policy.CompileCondition(expression)
		if err == nil {
			t.Errorf("%.20q: accepted", expression)
			continue
		}
		if text := err.Error(); len(text) > 512 || strings.ContainsAny(text, "\n\r\t\x00\u202e\u2028") {
			t.Errorf("%.20q: the error has %d bytes: %q", expression, len(text), text)
		}
	}
}

// What is large, and yet within the limits.
func TestLargeExpressions(t *testing.T) {
	for _, expression := range []string{
		"client.id in ['" + strings.Join(strings.Split(repeat("namespace.client ", 200), " "), "', '") + "']",
		repeat("client.id != 'x' && ", 200) + "true",
		repeat("(", 10) + "true" + repeat(")", 10),
		"request.scopes.all(s, s in scopes)",
		"request.scopes.all(s, scopes.exists(t, s == t))",
		"sets.contains(scopes, request.scopes)",
		"[scopes, request.scopes].flatten().exists(s, s == 'x')",
		"[dyn([1]), [[2]], {'a': 3}].flatten(2).size() > 0",
	} {
		if _, err := policy.CompileCondition(expression); err != nil {
			t.Errorf("%.60s...: %v", expression, err)
		}
	}
}

// Every function has bounds: one whose result is not a number has them written down, and nothing is written down of a
// function that is not there.
func TestEffectsAreComplete(t *testing.T) {
	functions := policy.Functions()
	for name, declaration := range functions {
		if name == "matches" {
			continue // Bounded by its pattern.
		}
		for _, overload := range declaration.OverloadDecls() {
			if !policy.HasEffect(name, overload.ResultType()) {
				t.Errorf("%s (%s) gives %s and has no bounds", name, overload.ID(), overload.ResultType())
			}
		}
	}
	for _, name := range policy.Effects() {
		if functions[name] == nil {
			t.Errorf("%s has bounds, and is no function", name)
		}
	}
}
