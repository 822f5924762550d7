package v1alpha1_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

// typed is an empty object of the kind.
func typed(t *testing.T, kind string) v1alpha1.Conditioned {
	t.Helper()
	object, err := api.Scheme().New(v1alpha1.GroupVersion.WithKind(kind))
	if err != nil {
		t.Fatal(err)
	}
	out, ok := object.(v1alpha1.Conditioned)
	if !ok {
		t.Fatalf("a %s reports no conditions", kind)
	}
	return out
}

// decode fails unless the Go type reads what the API server serves, and writes it back as it is. A kind's whole watch
// breaks on one object that does not decode, so whatever a tenant may write has to.
func decode(t *testing.T, object *unstructured.Unstructured) {
	t.Helper()
	text, err := json.Marshal(object.Object)
	if err != nil {
		t.Fatal(err)
	}
	into := typed(t, object.GetKind())
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatalf("the API server accepted what the Go type does not read: %v\n%s", err, text)
	}
	again, err := json.Marshal(into)
	if err != nil {
		t.Fatalf("the Go type does not write what it has read: %v", err)
	}
	if err := json.Unmarshal(again, typed(t, object.GetKind())); err != nil {
		t.Fatalf("the Go type does not read what it has written: %v\n%s", err, again)
	}
}

// acceptances are edits of the fixtures that must be accepted: the far end of what is allowed, and what is right
// although it looks odd.
var acceptances = map[string]map[string]edit{
	"TokenIssuer": {
		"as it is":             same,
		"empty":                set("spec", map[string]any{}),
		"a name of 40":         set("metadata.name", strings.Repeat("a", 40)),
		"three algorithms":     set("spec.signing.algorithms", []any{"EdDSA", "PS256", "ES256"}),
		"the longest URL":      set("spec.url", "https://"+strings.Repeat("a", 248)),
		"the shortest URL":     set("spec.url", "https://a"),
		"a port and a slash":   set("spec.url", "https://tokens.example.com:65535/"),
		"a dot in a segment":   set("spec.url", "https://tokens.example.com/.well/v1.2/..."),
		"IPv4":                 set("spec.url", "https://192.0.2.1:8443/tokens"),
		"IPv6":                 set("spec.url", "https://[2001:db8::1]:8443/tokens"),
		"a Service":            set("spec.url", "https://m2m-issuer-default.m2m-system.svc"),
		"equal lifetimes":      all(set("spec.tokens.defaultLifetime", "60m"), set("spec.tokens.maxLifetime", "1h")),
		"only a longest life":  set("spec.tokens", map[string]any{"maxLifetime": "5m"}),
		"only a default life":  set("spec.tokens", map[string]any{"defaultLifetime": "24h"}),
		"a Secret with dots":   set("spec.tls.secretName", "tokens.example.com"),
		"the shortest life":    set("spec.tokens.defaultLifetime", "10s"),
		"a life in seconds":    set("spec.tokens.maxLifetime", "86400s"),
		"a life as Go writes":  set("spec.tokens.defaultLifetime", "1h0m0s"),
		"its own certificates": unset("spec.tls"),
		"a proxy":              set("spec.trustedProxies", []any{"192.0.2.1/32", "::1/128"}),
	},
	"ApiResource": {
		"as it is":              same,
		"identifier alone":      set("spec", map[string]any{"identifier": "urn:example:courses"}),
		"a name of 63":          set("metadata.name", strings.Repeat("a", 63)),
		"a name with a dot":     set("metadata.name", "courses.v1"),
		"no scopes":             set("spec.scopes", []any{}),
		"odd scopes":            set("spec.scopes", []any{map[string]any{"name": "!#$%&'()*+,-./:;<=>?@[]^_`{|}~"}}),
		"the longest scope":     set("spec.scopes.0.name", strings.Repeat("s", 128)),
		"the longest identity":  set("spec.identifier", "https://"+strings.Repeat("a", 504)),
		"a URN":                 set("spec.identifier", "urn:ietf:params:oauth:courses"),
		"a scheme of one's own": set("spec.identifier", "api://courses"),
		"a query":               set("spec.identifier", "https://courses.example.com/api?tenant=a%20b"),
		"IPv6":                  set("spec.identifier", "https://[2001:db8::1]/api"),
		"the longest issuer":    set("spec.issuerRef.name", strings.Repeat("a", 40)),
		"text in any script":    set("spec.displayName", strings.Repeat("講", 128)),
		"the longest life":      set("spec.token.lifetime", "24h"),
	},
	"M2MClient": {
		"as it is":             same,
		"empty":                set("spec", map[string]any{}),
		"a name of 63":         set("metadata.name", strings.Repeat("a", 63)),
		"a name with a dot":    set("metadata.name", "publisher.nightly"),
		"a compound life":      set("spec.tokenLifetime", "1h30m15s"),
		"keys alone":           all(set("spec.authentication", []any{"PrivateKeyJWT"}), unset("spec.serviceAccountName")),
		"ServiceAccount alone": all(set("spec.authentication", []any{"ServiceAccount"}), unset("spec.jwks")),
		"a secret alone":       all(unset("spec.authentication"), unset("spec.serviceAccountName"), unset("spec.jwks")),
		"P-384":                set("spec.jwks.keys", []any{p384Key()}),
		"Ed25519":              set("spec.jwks.keys", []any{publishedEd25519()}),
		"PS256":                set("spec.jwks.keys.1.alg", "PS256"),
		"4096 bits":            set("spec.jwks.keys.1.n", strings.Repeat("A", 683)),
		"eight keys":           set("spec.jwks.keys", manyKeys(8)),
		"the fastest rotation": set("spec.credential.rotation", map[string]any{"interval": "1h", "overlap": "30m"}),
		"the slowest rotation": set("spec.credential.rotation", map[string]any{"interval": "8760h"}),
		"no overlap":           set("spec.credential.rotation.overlap", "0s"),
		"a revision alone":     set("spec.credential", map[string]any{"revision": "1"}),
		"none revoked":         set("spec.credential.revokedIDs", []any{}),
	},
	"ScopeGrant": {
		"as it is":     same,
		"a name of 63": set("metadata.name", strings.Repeat("a", 63)),
		"no end":       unset("spec.expiresAt"),
		"only an end":  unset("spec.notBefore"),
		"an offset":    set("spec.expiresAt", "2026-12-31T23:59:59.123456789+05:30"),
		"earlier as text": all(
			set("spec.notBefore", "2026-06-01T01:00:00+02:00"), set("spec.expiresAt", "2026-06-01T00:00:00Z")),
		"the first moment":  set("spec.notBefore", "1970-01-01T00:00:00Z"),
		"the last moment":   set("spec.expiresAt", "9998-12-31T23:59:59Z"),
		"a client's dots":   set("spec.subjects.1.name", "publisher.nightly"),
		"a label's key":     set("spec.subjects.0.selector", map[string]any{"matchLabels": map[string]any{"kind": ""}}),
		"expressions alone": unset("spec.subjects.0.selector.matchLabels"),
		"Exists": set("spec.subjects.0.selector.matchExpressions.0",
			map[string]any{"key": "a", "operator": "Exists", "values": []any{}}),
		"one subject twice": set("spec.subjects.0", map[string]any{"namespace": "jobs", "name": "publisher"}),
		"the longest labels": set("spec.subjects.0.selector.matchLabels",
			map[string]any{strings.Repeat("k", 317): strings.Repeat("v", 63)}),
	},
}

func TestAcceptances(t *testing.T) {
	t.Parallel()
	for kind, table := range acceptances {
		for name, change := range table {
			t.Run(kind+"/"+name, func(t *testing.T) {
				t.Parallel()
				object := fixture(t, kind, change)
				if err := api.Create(t.Context(), object, client.DryRunAll); err != nil {
					t.Fatal(err)
				}
				decode(t, object)
			})
		}
	}
}

// TestUpdates: what is not immutable can be changed, and writing an object again as it is served changes nothing.
func TestUpdates(t *testing.T) {
	t.Parallel()
	for name, u := range map[string]struct {
		kind          string
		before, after edit
	}{
		"an issuer's everything": {"TokenIssuer", same, set("spec", map[string]any{"url": "https://other.example.com"})},
		"an API's everything else": {"ApiResource", same,
			set("spec", map[string]any{"identifier": "https://courses.example.com/api"})},
		"an API, unchanged":      {"ApiResource", unset("spec.issuerRef"), unset("spec.issuerRef")},
		"an API's default named": {"ApiResource", unset("spec.issuerRef"), same},
		"a client's everything else": {"M2MClient", same,
			set("spec", map[string]any{"credential": map[string]any{"secretName": "publisher-credentials"}})},
		"a client's keys": {"M2MClient", same, set("spec.jwks.keys", []any{publishedEd25519()})},
		"a client's rotation": {"M2MClient", same, all(unset("spec.credential.rotation"), set("spec.credential.revision", "2026-12"),
			set("spec.credential.revokedIDs", []any{"0123456789abcdef", "vvvvvvvvvvvvvvvv"}))},
		"a client without a Secret's name": {"M2MClient", unset("spec.credential"),
			all(unset("spec.credential"), set("spec.suspend", true))},
		"a grant's API":       {"ScopeGrant", same, set("spec.apiResourceRef.name", "other")},
		"a grant, taken back": {"ScopeGrant", same, set("spec.suspend", true)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := dryRunUpdate(t, u.kind, u.before, u.after); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestWhateverIsAcceptedDecodes tries the combinations in which a time or a duration can be odd, and does not care
// which of them are accepted: only that Go reads those that are, with a time that is not taken for an absent one.
func TestWhateverIsAcceptedDecodes(t *testing.T) {
	t.Parallel()
	lifetimes := []string{"10s", "0h10s", "00010s", "1h0m0s", "86400s", "1m1m", "99999h99999m99999s", "999999h999999h999999h",
		"9223372036854775807ns", "1e1s", "0x10s", "1_0s", "10S", " 10s", "10s ", "１０s"}
	for _, kind := range []string{"M2MClient", "ScopeGrant"} {
		path, values := "spec.tokenLifetime", lifetimes
		if kind == "ScopeGrant" {
			path, values = "spec.expiresAt", moments()
		}
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			accepted := 0
			for _, value := range values {
				object := fixture(t, kind, unset("spec.notBefore"), set(path, value))
				if err := api.Create(t.Context(), object, client.DryRunAll); err != nil {
					continue
				}
				accepted++
				decode(t, object)
				if grant, ok := typedOf(t, object).(*v1alpha1.ScopeGrant); ok && grant.Spec.ExpiresAt.IsZero() {
					t.Errorf("%q is accepted, and reads like a grant that never expires", value)
				}
			}
			t.Logf("%d of %d accepted", accepted, len(values))
			if accepted == 0 || accepted == len(values) {
				t.Errorf("%d of %d values are accepted: this test tries too little", accepted, len(values))
			}
		})
	}
}

func typedOf(t *testing.T, object *unstructured.Unstructured) v1alpha1.Conditioned {
	t.Helper()
	text, err := json.Marshal(object.Object)
	if err != nil {
		t.Fatal(err)
	}
	into := typed(t, object.GetKind())
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatal(err)
	}
	return into
}

func moments() []string {
	var out []string
	for _, date := range []string{"0000-01-01", "0001-01-01", "1970-01-01", "2026-02-29", "2028-02-29", "9999-12-31"} {
		for _, separator := range []string{"T", "t", " "} {
			for _, time := range []string{"00:00:00", "24:00:00", "23:59:60"} {
				for _, fraction := range []string{"", ".5", ",5", "x5", ".123456789", ".1234567890123456789"} {
					for _, zone := range []string{"", "Z", "z", "+00:00", "-23:59", "+24:00", "+99:99"} {
						out = append(out, fmt.Sprint(date, separator, time, fraction, zone))
					}
				}
			}
		}
	}
	return out
}
