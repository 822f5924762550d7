package review_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/m2m-operator/m2m-operator/internal/inventory"
	"github.com/m2m-operator/m2m-operator/internal/inventory/files"
	"github.com/m2m-operator/m2m-operator/internal/review"
)

var now = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)

// objects reads manifests, given as kind, name and what else there is to them.
func objects(t *testing.T, manifests ...string) *inventory.Inventory {
	t.Helper()
	var text strings.Builder
	for _, manifest := range manifests {
		fmt.Fprintf(&text, "---\napiVersion: m2m-operator.io/v1alpha1\n%s\n", manifest)
	}
	documents, err := files.Source{Paths: []string{files.Stdin}, Stdin: strings.NewReader(text.String()), Namespace: "a"}.Read()
	if err != nil {
		t.Fatalf("%v\n%s", err, text.String())
	}
	out, err := files.Decode(documents)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func compared(t *testing.T, before, after []string) review.Diff {
	t.Helper()
	old, young := objects(t, before...), objects(t, after...)
	old.AssumeIssuers()
	young.AssumeIssuers()
	return review.Compare(review.NewWorld(old, "m2m-system", now), review.NewWorld(young, "m2m-system", now))
}

// lines are the changes in short: a ! marks those that widen access.
func lines(d review.Diff) []string {
	out := []string{}
	for _, c := range d.Changes {
		text := c.Sign + " " + c.Scope
		if c.Kind != review.KindScope {
			text = c.Subject() + ": " + c.Detail
		}
		if c.Widens {
			text += " !"
		}
		out = append(out, text)
	}
	return out
}

const (
	anIssuer = "kind: TokenIssuer\nmetadata: {name: default}\nspec: "
	anAPI    = "kind: ApiResource\nmetadata: {name: api}\nspec: "
	aClient  = "kind: M2MClient\nmetadata: {name: c}\nspec: "
	aGrant   = "kind: ScopeGrant\nmetadata: {name: g}\nspec: "
	ofScopes = "identifier: urn:a, scopes: [{name: 'book:read'}, {name: 'book:write'}]"
	toClient = "apiResourceRef: {name: api}, subjects: [{namespace: a, name: c}]"
)

// TestHierarchicalScopes are compared by what they cover.
func TestHierarchicalScopes(t *testing.T) {
	for name, c := range map[string]struct {
		before, after string
		want          []string
	}{
		"another spelling":           {"'book:*:*'", "book", nil},
		"two spellings of one":       {"book", "'book:*', 'book:*:*'", nil},
		"one of all":                 {"'book:*:*'", "'book:1:read'", []string{"- book:*:*"}},
		"a resource of all":          {"'*'", "'book:*:*'", []string{"- *"}},
		"all of what is declared":    {"'book:*:*'", "'book:*:read', 'book:*:write'", []string{"- book:*:*"}},
		"one as well":                {"book", "book, 'book:1:read'", nil},
		"all instead of one":         {"'book:1:read'", "book", []string{"+ book !"}},
		"all instead of all actions": {"'book:read', 'book:write'", "book", []string{"+ book !"}},
		"another one":                {"'book:1:read'", "'book:2:read'", []string{"- book:1:read", "+ book:2:read !"}},
		"one no longer":              {"'book:read', 'book:write'", "'book:read'", []string{"- book:write"}},
		"one more":                   {"'book:1:read'", "'book:1:read', 'book:2:read'", []string{"+ book:2:read !"}},
	} {
		t.Run(name, func(t *testing.T) {
			with := func(scopes string) []string {
				return []string{anAPI + "{scopeSyntax: Hierarchical, " + ofScopes + "}", aClient + "{}", aGrant + "{" + toClient + ", scopes: [" + scopes + "]}"}
			}
			if got := lines(compared(t, with(c.before), with(c.after))); !slices.Equal(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// TestHierarchicalTerms: a scope is had as long as one that covers it.
func TestHierarchicalTerms(t *testing.T) {
	with := func(grants ...string) []string {
		out := []string{anAPI + "{scopeSyntax: Hierarchical, " + ofScopes + "}", aClient + "{}"}
		for i, grant := range grants {
			out = append(out, fmt.Sprintf("kind: ScopeGrant\nmetadata: {name: g%d}\nspec: {%s, %s}", i, toClient, grant))
		}
		return out
	}
	for name, c := range map[string]struct {
		before, after []string
		want          []string
	}{
		"longer than what covers it": {
			with("scopes: [book], expiresAt: 2027-01-01T00:00:00Z"),
			with("scopes: [book], expiresAt: 2027-01-01T00:00:00Z", "scopes: ['book:1:read'], expiresAt: 2028-01-01T00:00:00Z"),
			[]string{"~ book:1:read !"},
		},
		"shorter than what covers it": {
			with("scopes: [book]"), with("scopes: [book]", "scopes: ['book:1:read'], expiresAt: 2028-01-01T00:00:00Z"), nil,
		},
		"covered for a while": {
			with("scopes: ['book:1:read']"), with("scopes: ['book:*:read'], expiresAt: 2028-01-01T00:00:00Z"),
			[]string{"+ book:*:read !", "~ book:1:read"},
		},
	} {
		if got := lines(compared(t, c.before, c.after)); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestWhatAnAPIReads: a name says more when it is read as a hierarchy.
func TestWhatAnAPIReads(t *testing.T) {
	exact := []string{anAPI + "{identifier: urn:a, scopes: [{name: book}]}", aClient + "{}", aGrant + "{" + toClient + ", scopes: [book]}"}
	hierarchical := []string{anAPI + "{scopeSyntax: Hierarchical, identifier: urn:a, scopes: [{name: book}]}", exact[1], exact[2]}
	if got := lines(compared(t, exact, hierarchical)); !slices.Equal(got, []string{"a.c: scopes are read as Hierarchical; was: Exact !"}) {
		t.Errorf("%q", got)
	}
	if got := lines(compared(t, hierarchical, exact)); !slices.Equal(got, []string{"a.c: scopes are read as Exact; was: Hierarchical"}) {
		t.Errorf("%q", got)
	}
}

const (
	key1 = `{kty: OKP, crv: Ed25519, alg: EdDSA, kid: one, x: 11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo}`
	key2 = `{kty: OKP, crv: Ed25519, alg: EdDSA, kid: two, x: gBbMd8zJRDdOAJoOWR3YtAYxRUpqTEyBHxVJOQvVeXs}`
)

// TestTrust: what lets others be the client, or makes verifiers and issuers take what they refused, is a change too.
func TestTrust(t *testing.T) {
	jwks := func(keys string) string {
		return aClient + "{authentication: [PrivateKeyJWT], jwks: {keys: [" + keys + "]}}"
	}
	for name, c := range map[string]struct {
		before, after string
		want          []string
	}{
		"a ServiceAccount": {
			aClient + "{}", aClient + "{authentication: [ClientSecret, ServiceAccount], serviceAccountName: robot}",
			[]string{"a.c: can also be proved by ServiceAccount a/robot !"},
		},
		"a secret no longer": {
			aClient + "{authentication: [ClientSecret, ServiceAccount], serviceAccountName: robot}",
			aClient + "{authentication: [ServiceAccount], serviceAccountName: robot}",
			[]string{"a.c: is no longer proved by a client secret"},
		},
		"a key more": {
			jwks(key1), jwks(key1 + ", " + key2),
			[]string{`a.c: can also be proved by key "two" (EdDSA, thumbprint raEXUn9MDCMfet8dHPdLd2HTI1Xsnnzd6ENx31hB0-U) !`},
		},
		"keys in another order": {jwks(key1 + ", " + key2), jwks(key2 + ", " + key1), nil},
		"a credential accepted again": {
			aClient + "{credential: {revokedIDs: [x, z]}}", aClient + "{credential: {revokedIDs: [z]}}",
			[]string{"a.c: refuses no longer the credential x !"},
		},
		"a credential revoked": {
			aClient + "{}", aClient + "{credential: {revokedIDs: [x]}}", []string{"a.c: refuses the credential x"},
		},
		"tokens accepted again": {
			aClient + "{revokeTokensIssuedBefore: 2026-05-02T00:00:00Z}", aClient + "{revokeTokensIssuedBefore: 2026-05-01T00:00:00Z}",
			[]string{"a.c: tokens issued from 2026-05-01T00:00:00Z to 2026-05-02T00:00:00Z are no longer revoked !"},
		},
		"all tokens accepted again": {
			anIssuer + "{revokeTokensIssuedBefore: 2026-05-02T00:00:00Z}", anIssuer + "{}",
			[]string{"TokenIssuer default: tokens issued before 2026-05-02T00:00:00Z are no longer revoked !"},
		},
		"tokens revoked": {
			anIssuer + "{}", anIssuer + "{revokeTokensIssuedBefore: 2026-05-02T00:00:00Z}",
			[]string{"TokenIssuer default: tokens issued before 2026-05-02T00:00:00Z are revoked"},
		},
		"a signing key no longer revoked": {
			anIssuer + "{signing: {revokedKeys: [k]}}", anIssuer + "{}", []string{"TokenIssuer default: revokes no longer the key k !"},
		},
		"a proxy more": {
			anIssuer + "{trustedProxies: [10.0.0.0/16]}", anIssuer + "{trustedProxies: [10.0.0.0/8]}",
			[]string{"TokenIssuer default: believes the X-Forwarded-For of 10.0.0.0/8 !"},
		},
		"staler": {
			anIssuer + "{maxStaleness: 5m}", anIssuer + "{}",
			[]string{"TokenIssuer default: issues by knowledge of any age; was: at most 5m0s old !"},
		},
		"an identifier for one more": {
			anIssuer + "{identifiers: {reserved: [{prefix: 'https://pay.', namespaces: [pay]}]}}",
			anIssuer + "{identifiers: {reserved: [{prefix: 'https://pay.', namespaces: [pay]}, {prefix: 'https://pay.x', namespaces: [x]}]}}",
			[]string{
				"TokenIssuer default: identifiers may be claimed: https://pay.x… by x !",
				"TokenIssuer default: identifiers may be claimed no longer: https://pay.x… by pay",
			},
		},
		"identifiers for all": {
			anIssuer + "{identifiers: {others: Deny}}", anIssuer + "{identifiers: {others: Allow}}",
			[]string{"TokenIssuer default: identifiers may be claimed: … by others !"},
		},
		"claims": {
			anAPI + "{" + ofScopes + ", claims: [{name: x, expression: '1'}, {name: b, expression: '2'}]}",
			anAPI + "{" + ofScopes + ", claims: [{name: z, expression: '3'}, {name: b, expression: '4'}]}",
			[]string{
				"ApiResource a/api: tokens get the claim z: 3 !", "ApiResource a/api: the claim b is 4; was: 2 !",
				"ApiResource a/api: tokens lose the claim x; was: 1 !",
			},
		},
		"what one has anew": {anIssuer + "{}", aClient + "{credential: {revokedIDs: [x]}}", nil},
	} {
		t.Run(name, func(t *testing.T) {
			d := compared(t, []string{c.before}, []string{c.after})
			if got := lines(d); !slices.Equal(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
			if want := slices.ContainsFunc(c.want, func(l string) bool { return strings.HasSuffix(l, "!") }); d.Widens != want {
				t.Errorf("widens: %v", d.Widens)
			}
		})
	}
}

// TestRivalsOfAServiceAccount: it proves the oldest client that names it, and when that is gone the next.
func TestRivalsOfAServiceAccount(t *testing.T) {
	const spec = "spec: {authentication: [ServiceAccount], serviceAccountName: robot}"
	older, younger := "kind: M2MClient\nmetadata: {name: b}\n"+spec, "kind: M2MClient\nmetadata: {name: c}\n"+spec
	if got := lines(compared(t, []string{older, younger}, []string{younger})); !slices.Equal(got, []string{"a.c: can also be proved by ServiceAccount a/robot !"}) {
		t.Errorf("%q", got)
	}
}

// TestWhyScopesAreLost: in the words of what keeps them from the client.
func TestWhyScopesAreLost(t *testing.T) {
	api, client := anAPI+"{"+ofScopes+"}", aClient+"{}"
	grant := aGrant + "{" + toClient + ", scopes: ['book:read']}"
	for name, c := range map[string]struct {
		after []string
		want  string
	}{
		"suspended grant":       {[]string{api, client, aGrant + "{" + toClient + ", scopes: ['book:read'], suspend: true}"}, "ScopeGrant a/g is suspended"},
		"expired grant":         {[]string{api, client, aGrant + "{" + toClient + ", scopes: ['book:read'], expiresAt: 2026-05-01T00:00:00Z}"}, "ScopeGrant a/g is expired since 2026-05-01T00:00:00Z"},
		"condition":             {[]string{api, client, aGrant + "{" + toClient + ", scopes: ['book:read'], conditions: [{expression: 'false'}]}"}, "ScopeGrant a/g: spec.conditions[0] is not met"},
		"no grant":              {[]string{api, client}, "ScopeGrant a/g is gone"},
		"other subject":         {[]string{api, client, aGrant + "{apiResourceRef: {name: api}, subjects: [{namespace: b, name: c}], scopes: ['book:read']}"}, "it gives it no longer"},
		"suspended client":      {[]string{api, aClient + "{suspend: true}", grant}, "M2MClient a/c is suspended"},
		"no client":             {[]string{api, grant}, "M2MClient a/c is gone"},
		"no API":                {[]string{client, grant}, "There is no ApiResource a/api"},
		"undeclared":            {[]string{anAPI + "{identifier: urn:a, scopes: [{name: x}]}", client, grant}, "ApiResource a/api does not declare this scope"},
		"rule":                  {[]string{anAPI + "{" + ofScopes + ", rules: [{expression: 'false'}]}", client, grant}, "ApiResource a/api: spec.rules[0] is not met"},
		"client of another":     {[]string{api, aClient + "{issuerRef: {name: other}}", grant}, "The client belongs to TokenIssuer \"other\", ApiResource a/api to \"default\""},
		"API of another":        {[]string{anAPI + "{issuerRef: {name: other}, " + ofScopes + "}", client, grant}, "The client belongs to TokenIssuer \"default\", ApiResource a/api to \"other\""},
		"an API without tokens": {[]string{anAPI + "{" + ofScopes + ", rules: [{expression: '('}]}", client, grant}, "ApiResource a/api can have no tokens: InvalidExpression: "},
	} {
		d := compared(t, []string{api, client, grant}, c.after)
		if len(d.Changes) != 1 || !strings.HasPrefix(d.Changes[0].Detail, "grant a/g; "+c.want) || d.Widens {
			t.Errorf("%s: %+v, want %q", name, d.Changes, c.want)
		}
	}
}

// TestManyAlikeAreComparedOnce, and each is told of.
func TestManyAlikeAreComparedOnce(t *testing.T) {
	with := func(scope string, clients int) []string {
		out := []string{
			anAPI + "{" + ofScopes + "}",
			aGrant + "{apiResourceRef: {name: api}, subjects: [{namespace: a, selector: {matchLabels: {k: v}}}], scopes: ['" + scope + "']}",
		}
		for i := range clients {
			out = append(out, fmt.Sprintf("kind: M2MClient\nmetadata: {name: c%d, labels: {k: v}}\nspec: {}", i))
		}
		return out
	}
	d := compared(t, with("book:read", 30), with("book:write", 20))
	told := map[string]int{}
	for _, c := range d.Changes {
		told[c.Sign+c.Scope]++
		if c.Sign == review.Loses && !strings.HasSuffix(c.Detail, "; it gives it no longer") && !strings.HasSuffix(c.Detail, "; M2MClient a/"+c.Client[2:]+" is gone") {
			t.Errorf("%+v", c)
		}
	}
	if told["-book:read"] != 30 || told["+book:write"] != 20 || len(told) != 2 {
		t.Errorf("%v", told)
	}
}

// TestManyWays: of many ways those that are new are told first, and the others counted.
func TestManyWays(t *testing.T) {
	with := func(last int) []string {
		out := []string{anAPI + "{" + ofScopes + "}", aClient + "{}"}
		for i := range last {
			out = append(out, fmt.Sprintf("kind: ScopeGrant\nmetadata: {name: g%02d}\nspec: {%s, scopes: ['book:read'], expiresAt: 20%d-01-01T00:00:00Z}", i, toClient, 27+i))
		}
		return out
	}
	d := compared(t, with(20), with(21))
	if len(d.Changes) != 1 || len(d.Changes[0].After) != 21 || !strings.HasPrefix(d.Changes[0].Detail, "grant a/g20, until 2047-01-01T00:00:00Z, or ") ||
		!strings.Contains(d.Changes[0].Detail, ", or in 16 more ways; was: ") {
		t.Errorf("%+v", d.Changes)
	}
}

// TestWhoCanNamesTheSuspended: they have nothing now, and all of it once they are resumed.
func TestWhoCanNamesTheSuspended(t *testing.T) {
	inventory := objects(t, anAPI+"{"+ofScopes+"}", aClient+"{suspend: true}", "kind: M2MClient\nmetadata: {name: d}\nspec: {suspend: true}",
		aGrant+"{"+toClient+", scopes: ['book:read']}")
	inventory.AssumeIssuers()
	w := review.NewWorld(inventory, "m2m-system", now)
	for scope, want := range map[string]string{"": "a.c", "book:read": "a.c", "book:write": ""} {
		holders, err := w.WhoCan(inventory.APIs()[0], scope)
		if err != nil || len(holders.Clients) > 0 {
			t.Fatalf("%+v, %v", holders, err)
		}
		if want != "" {
			want = "Suspended clients, that have it again once they are resumed: " + want
		}
		if got := strings.Join(holders.Notes, ""); got != want {
			t.Errorf("%q: %q, want %q", scope, got, want)
		}
	}
}

// TestStandInsOfSelectors: one where the selector matches nobody who was seen, though others of the namespace were.
func TestStandInsOfSelectors(t *testing.T) {
	with := func(scopes, labels string) *inventory.Inventory {
		out := objects(t, anAPI+"{"+ofScopes+"}", "kind: M2MClient\nmetadata: {name: c, labels: {kind: pump}}\nspec: {}",
			aGrant+"{apiResourceRef: {name: api}, subjects: [{namespace: a, selector: {matchLabels: {kind: "+labels+"}}}], scopes: ["+scopes+"]}")
		out.AssumeIssuers()
		return out
	}
	for labels, want := range map[string]string{"sensor": "a.(kind=sensor)", "pump": "a.c"} {
		before, after := with("'book:read'", labels), with("'book:read', 'book:write'", labels)
		review.AddStandIns(before, after, true)
		d := review.Compare(review.NewWorld(before, "m2m-system", now), review.NewWorld(after, "m2m-system", now))
		if len(d.Changes) != 1 || d.Changes[0].Client != want || !d.Widens {
			t.Errorf("%s: %+v, want that %s gains", labels, d.Changes, want)
		}
	}
}

// TestStandInsWhereTheSeenAreNoHelp: a client that is seen says nothing about others if it can have nothing itself, and a
// selector means other clients for an API of another issuer.
func TestStandInsWhereTheSeenAreNoHelp(t *testing.T) {
	const other = "kind: ApiResource\nmetadata: {name: other}\nspec: {issuerRef: {name: second}, identifier: 'https://other.example', scopes: [{name: read}]}"
	with := func(client string, more ...string) *inventory.Inventory {
		texts := []string{anAPI + "{" + ofScopes + "}", other, "kind: M2MClient\nmetadata: {name: c, labels: {kind: pump}}\nspec: {" + client + "}",
			"kind: ScopeGrant\nmetadata: {name: first}\nspec: {apiResourceRef: {name: api}, subjects: [{namespace: a, selector: {matchLabels: {kind: valve}}}], scopes: ['book:read']}"}
		out := objects(t, append(texts, more...)...)
		out.AssumeIssuers()
		return out
	}
	gain := func(api, labels, scope string) string {
		return "kind: ScopeGrant\nmetadata: {name: more}\nspec: {apiResourceRef: {name: " + api + "}, subjects: [{namespace: a, selector: {matchLabels: {kind: " + labels + "}}}], scopes: ['" + scope + "']}"
	}
	for name, c := range map[string]struct{ client, gain, want string }{
		"suspended":         {"suspend: true", gain("api", "pump", "book:read"), "a.(kind=pump)"},
		"of another issuer": {"", gain("other", "pump", "read"), "a.(kind=pump of second)"},
		"the same selector": {"", gain("other", "valve", "read"), "a.(kind=valve of second)"},
	} {
		before, after := with(c.client), with(c.client, c.gain)
		review.AddStandIns(before, after, true)
		d := review.Compare(review.NewWorld(before, "m2m-system", now), review.NewWorld(after, "m2m-system", now))
		if len(d.Changes) != 1 || d.Changes[0].Client != c.want || !d.Widens {
			t.Errorf("%s: %+v, want that %s gains", name, d.Changes, c.want)
		}
	}
}
