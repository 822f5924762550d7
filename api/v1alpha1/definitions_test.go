package v1alpha1_test

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

// face is what kubectl shows of a kind: its short name, the columns of `get`, and the field selectors.
type face struct {
	shortName string
	columns   []string
	wide      []string
	fields    map[string]string // selectable field: its value in the fixture
}

var faces = map[string]face{
	"TokenIssuer": {
		shortName: "tkissuer",
		columns:   []string{"Ready", "URL", "Age"},
		wide:      []string{"Message"},
	},
	"ApiResource": {
		shortName: "apires",
		columns:   []string{"Ready", "Identifier", "Age"},
		wide:      []string{"Issuer", "Pending", "Message"},
		fields:    map[string]string{"spec.issuerRef.name": "default", "spec.identifier": "https://courses.example.com/api"},
	},
	"M2MClient": {
		shortName: "m2mc",
		columns:   []string{"Ready", "Client ID", "Secret", "Age"},
		wide:      []string{"Suspended", "Issuer", "Message"},
		fields:    map[string]string{"spec.issuerRef.name": "default"},
	},
	"ScopeGrant": {
		shortName: "sgrant",
		columns:   []string{"Ready", "Active", "API", "Clients", "Expires", "Age"},
		wide:      []string{"Message"},
		fields:    map[string]string{"spec.apiResourceRef.name": "course-api"},
	},
}

// conditionTypes are the declared constants. All but Stalled are born with the object, where the kind has them.
var conditionTypes = sets.New(v1alpha1.ConditionAccepted, v1alpha1.ConditionResolvedRefs, v1alpha1.ConditionProgrammed,
	v1alpha1.ConditionActive, v1alpha1.ConditionReady, v1alpha1.ConditionStalled)

func TestFaces(t *testing.T) {
	t.Parallel()
	for kind, crd := range definitions(t) {
		want := faces[kind]
		if got := crd.Spec.Names.ShortNames; !slices.Equal(got, []string{want.shortName}) {
			t.Errorf("%s: short names %v, want %s", kind, got, want.shortName)
		}
		if got := crd.Spec.Names.Categories; !slices.Equal(got, []string{"m2m"}) {
			t.Errorf("%s: categories %v, want m2m", kind, got)
		}
		var columns, wide []string
		for _, column := range crd.Spec.Versions[0].AdditionalPrinterColumns {
			if column.Priority == 0 {
				columns = append(columns, column.Name)
			} else {
				wide = append(wide, column.Name)
			}
			checkColumn(t, crd, column)
		}
		if !slices.Equal(columns, want.columns) || !slices.Equal(wide, want.wide) {
			t.Errorf("%s: columns %q and %q, want %q and %q", kind, columns, wide, want.columns, want.wide)
		}
		var fields []string
		for _, field := range crd.Spec.Versions[0].SelectableFields {
			fields = append(fields, strings.TrimPrefix(field.JSONPath, "."))
		}
		if !sets.New(fields...).Equal(sets.KeySet(want.fields)) {
			t.Errorf("%s: selectable fields %v, want %v", kind, fields, want.fields)
		}
	}
}

var conditionPath = regexp.MustCompile(`^\.status\.conditions\[\?\(@\.type=="(\w+)"\)\]\.(status|message)$`)

// checkColumn: a column that names what does not exist stays empty for ever, and nobody is told.
func checkColumn(
	t *testing.T, crd *apiextensionsv1.CustomResourceDefinition, column apiextensionsv1.CustomResourceColumnDefinition,
) {
	t.Helper()
	kind := crd.Spec.Names.Kind
	if match := conditionPath.FindStringSubmatch(column.JSONPath); match != nil {
		if !slices.Contains(bornConditions(t, crd), match[1]) {
			t.Errorf("%s: the column %s shows a condition %s, which objects are not born with", kind, column.Name, match[1])
		}
		return
	}
	path := strings.TrimPrefix(column.JSONPath, ".")
	if path == "metadata.creationTimestamp" {
		return
	}
	if !slices.ContainsFunc(nodes(crd), func(n node) bool { return n.path == path }) {
		t.Errorf("%s: the column %s shows %s, which the schema does not have", kind, column.Name, column.JSONPath)
	}
}

// bornConditions are the types in the default of status, which must all be Unknown and Pending.
func bornConditions(t *testing.T, crd *apiextensionsv1.CustomResourceDefinition) []string {
	t.Helper()
	var status struct{ Conditions []metav1.Condition }
	schema := crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["status"]
	if err := json.Unmarshal(schema.Default.Raw, &status); err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, c := range status.Conditions {
		out = append(out, c.Type)
	}
	return out
}

func TestConditionsAreBornUnknown(t *testing.T) {
	t.Parallel()
	for kind, crd := range definitions(t) {
		born := bornConditions(t, crd)
		for _, conditionType := range born {
			if !conditionTypes.Has(conditionType) {
				t.Errorf("%s is born with the condition %s, which is not a declared constant", kind, conditionType)
			}
		}
		object := fixture(t, kind)
		object.SetName("born-unknown")
		if err := api.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
		served := typed(t, kind)
		if err := api.Get(t.Context(), client.ObjectKeyFromObject(object), served.(client.Object)); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, c := range *served.StatusConditions() {
			got = append(got, c.Type)
			if c.Status != metav1.ConditionUnknown || c.Reason != v1alpha1.ReasonPending || c.Message == "" {
				t.Errorf("%s is born with %+v, want Unknown and %s", kind, c, v1alpha1.ReasonPending)
			}
		}
		if !slices.Equal(got, born) {
			t.Errorf("%s is served with the conditions %v, want %v", kind, got, born)
		}
		if *served.ObservedGeneration() != 0 {
			t.Errorf("%s is born with an observedGeneration", kind)
		}
	}
}

// TestFieldSelectors: what the API server selects by is also what the operator's own lookups rely on.
func TestFieldSelectors(t *testing.T) {
	t.Parallel()
	for kind, f := range faces {
		for field, value := range f.fields {
			object := fixture(t, kind)
			object.SetName("")
			object.SetGenerateName("selected-")
			if err := api.Create(t.Context(), object); err != nil {
				t.Fatal(err)
			}
			list := &unstructured.UnstructuredList{}
			list.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind + "List"))
			if err := api.List(t.Context(), list, client.MatchingFields{field: value}); err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(list.Items, func(o unstructured.Unstructured) bool { return o.GetName() == object.GetName() }) {
				t.Errorf("%s: selecting %s=%s does not find %s", kind, field, value, object.GetName())
			}
			err := api.List(t.Context(), list, client.MatchingFields{field: "nothing-of-this-name"})
			if err != nil || len(list.Items) > 0 {
				t.Errorf("%s: selecting another %s finds %d, %v", kind, field, len(list.Items), err)
			}
		}
	}
}

// TestEverythingIsBounded: a field without a bound is how one tenant fills the memory of everybody's issuer, and how a
// CEL rule comes to cost too much.
func TestEverythingIsBounded(t *testing.T) {
	t.Parallel()
	for kind, crd := range definitions(t) {
		for _, n := range nodes(crd) {
			if n.path == "" {
				continue // metadata, apiVersion and kind are the API server's
			}
			for _, problem := range unbounded(n) {
				t.Errorf("%s: %s %s", kind, n.path, problem)
			}
		}
	}
}

func unbounded(n node) []string {
	var out []string
	add := func(problem bool, text string) {
		if problem {
			out = append(out, text)
		}
	}
	s := n.schema
	switch s.Type {
	case "string":
		// The values of a map cannot carry markers; the map's own rule must bound them, and its refusal be tested.
		inMap := strings.HasSuffix(n.path, "{}")
		add(s.MaxLength == nil && len(s.Enum) == 0 && s.Format == "" && !inMap, "is a string without maxLength")
	case "integer":
		add(s.Minimum == nil, "is a number without minimum")
		add(s.Maximum == nil && s.Format == "", "is a number without maximum or format")
	case "array":
		add(s.MaxItems == nil, "is a list without maxItems")
		add(s.XListType == nil, "is a list without x-kubernetes-list-type")
	case "object":
		add(s.AdditionalProperties != nil && (s.MaxProperties == nil || len(s.XValidations) == 0), "is a map without bounds")
		add(len(s.Properties) == 0 && s.AdditionalProperties == nil, "is an object of unknown shape")
		add(s.XPreserveUnknownFields != nil, "keeps unknown fields")
	case "boolean":
	default:
		add(true, "has the type "+s.Type+", which nothing here bounds")
	}
	add(s.Nullable, "is nullable")
	return out
}
