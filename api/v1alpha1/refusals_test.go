package v1alpha1_test

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

// edit changes a fixture. Fixtures are unstructured, because a Go type cannot hold most of what must be refused.
type edit func(object map[string]any)

// refusal is an example that one rule of a definition must refuse. The rule, in the words of func rules, says which
// field the API server must complain about and how.
type refusal struct {
	rule    string
	example string
	change  edit
	// before, where it is set, makes the example an update of a fixture that was created with it.
	before edit
}

// at is the first place of a fixture that a path of a schema means: "spec.scopes[].name" is "spec.scopes.0.name".
func at(schemaPath string) string { return strings.ReplaceAll(schemaPath, "[]", ".0") }

// set puts a value at a path such as "spec.scopes.0.name", and makes the objects on the way.
func set(path string, value any) edit {
	return func(object map[string]any) { change(object, strings.Split(path, "."), &value) }
}

// unset removes what is at the path.
func unset(path string) edit {
	return func(object map[string]any) { change(object, strings.Split(path, "."), nil) }
}

func same(map[string]any) {}

func all(edits ...edit) edit {
	return func(object map[string]any) {
		for _, e := range edits {
			e(object)
		}
	}
}

func change(at any, path []string, value *any) {
	key := path[0]
	switch at := at.(type) {
	case map[string]any:
		switch {
		case len(path) > 1:
			if at[key] == nil {
				at[key] = map[string]any{}
			}
			change(at[key], path[1:], value)
		case value == nil:
			delete(at, key)
		default:
			at[key] = *value
		}
	case []any:
		index, err := strconv.Atoi(key)
		if err != nil {
			panic(fmt.Sprintf("%q is not an index: %v", key, err))
		}
		if len(path) > 1 {
			change(at[index], path[1:], value)
		} else {
			at[index] = *value
		}
	default:
		panic(fmt.Sprintf("there is nothing below %v to find %q in", at, key))
	}
}

// fixture is a valid object that uses every field.
func fixture(t *testing.T, kind string, edits ...edit) *unstructured.Unstructured {
	t.Helper()
	text, ok := fixtures[kind]
	if !ok {
		t.Fatalf("no fixture for %s", kind)
	}
	object := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &object.Object); err != nil {
		t.Fatal(err)
	}
	object.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
	object.SetName("example")
	if kind != "TokenIssuer" {
		object.SetNamespace("default")
	}
	for _, e := range edits {
		e(object.Object)
	}
	return object
}

// TestRefusals: for every rule of every definition, something that it refuses.
func TestRefusals(t *testing.T) {
	t.Parallel()
	for kind, table := range refusals {
		for _, r := range table {
			t.Run(kind+"/"+r.rule+"/"+r.example, func(t *testing.T) {
				t.Parallel()
				var err error
				if r.before == nil {
					err = api.Create(t.Context(), fixture(t, kind, r.change), client.DryRunAll)
				} else {
					err = dryRunUpdate(t, kind, r.before, r.change)
				}
				if err == nil {
					t.Fatal("the API server accepted it")
				}
				if !complains(err, r.rule) {
					t.Errorf("the API server refused it for another reason: %v", err)
				}
			})
		}
	}
}

// dryRunUpdate creates the fixture with one edit, and tries to make it what it is with another.
func dryRunUpdate(t *testing.T, kind string, before, after edit) error {
	t.Helper()
	created := fixture(t, kind, before)
	created.SetName("")
	created.SetGenerateName("example-")
	if err := api.Create(t.Context(), created); err != nil {
		t.Fatalf("create what is to be updated: %v", err)
	}
	updated := fixture(t, kind, after)
	updated.SetName(created.GetName())
	updated.SetResourceVersion(created.GetResourceVersion())
	return api.Update(t.Context(), updated, client.DryRunAll)
}

// complaints are what the API server says when a value breaks a rule of a kind.
var complaints = map[string]string{
	"required":      "Required value",
	"pattern":       "should match",
	"format":        "must be of type date-time",
	"enum":          "Unsupported value",
	"minLength":     "chars long",
	"maxLength":     "Too long",
	"minItems":      "should have at least",
	"maxItems":      "must have at most",
	"minProperties": "should have at least",
	"maxProperties": "must have at most",
	"minimum":       "greater than or equal to",
	"maximum":       "less than or equal to",
	"duplicate":     "Duplicate value",
}

// complains says whether the API server's answer is about this rule, at the field that the rule is for.
func complains(err error, rule string) bool {
	path, kind, _ := strings.Cut(rule, " ")
	want, isCEL := strings.CutPrefix(kind, "cel: ")
	if !isCEL {
		want = complaints[kind]
		if want == "" {
			panic("no complaint is known for rules of the kind " + kind)
		}
	}
	place := strings.ReplaceAll(regexp.QuoteMeta(path), `\[\]`, `\[\d+\]`)
	if kind == "duplicate" {
		place += `\[\d+\]` // the second of the two is complained about
	}
	field := regexp.MustCompile("^" + place + "$")
	var status apierrors.APIStatus
	if !errors.As(err, &status) || !apierrors.IsInvalid(err) || status.Status().Details == nil {
		return false
	}
	for _, cause := range status.Status().Details.Causes {
		if field.MatchString(cause.Field) && strings.Contains(cause.Message, want) {
			return true
		}
	}
	return false
}

// TestEveryRuleHasARefusal reads the generated definitions: a rule that nobody has tried may be one that never works,
// and an example of a rule that is gone says something that is not true any more.
func TestEveryRuleHasARefusal(t *testing.T) {
	t.Parallel()
	total := 0
	for kind, crd := range definitions(t) {
		declared, tried := sets.New[string](), sets.New[string]()
		for _, n := range nodes(crd) {
			// Status is written by the operator alone, and a bound of it has no user to be explained to.
			if n.path == "status" || strings.HasPrefix(n.path, "status.") {
				continue
			}
			for _, rule := range rules(n) {
				if declared.Has(rule) {
					t.Errorf("%s: two rules say %q, so that nobody can tell which of them refused", kind, rule)
				}
				declared.Insert(rule)
			}
		}
		for _, r := range refusals[kind] {
			tried.Insert(r.rule)
		}
		for _, rule := range sets.List(declared.Difference(tried)) {
			t.Errorf("%s: no example that is refused by %q", kind, rule)
		}
		for _, rule := range sets.List(tried.Difference(declared)) {
			t.Errorf("%s: an example for %q, which the definition does not have", kind, rule)
		}
		total += declared.Len()
	}
	t.Logf("%d rules", total)
}
