package v1alpha1_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	"github.com/m2m-operator/m2m-operator/hack/controlplane"
)

// definitionsDir is where controller-gen puts the definitions, below the root of the repository.
const definitionsDir = "config/crd/bases"

// definitions are the generated CRDs, by kind.
func definitions(t *testing.T) map[string]*apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	root, err := controlplane.RepoRoot()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(root, definitionsDir, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]*apiextensionsv1.CustomResourceDefinition{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		crd := &apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.UnmarshalStrict(text, crd); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if len(crd.Spec.Versions) != 1 {
			t.Fatalf("%s: these tests read one version, and it has %d", file, len(crd.Spec.Versions))
		}
		out[crd.Spec.Names.Kind] = crd
	}
	if len(out) != 4 {
		t.Fatalf("%d definitions in %s, want the four kinds", len(out), definitionsDir)
	}
	return out
}

// node is a place in a schema: "spec.scopes[].name", and "spec.labels{}" for the values of a map.
type node struct {
	path   string
	schema *apiextensionsv1.JSONSchemaProps
}

// nodes are the root of the definition's schema and all that is below its spec or status.
func nodes(crd *apiextensionsv1.CustomResourceDefinition) []node {
	root := crd.Spec.Versions[0].Schema.OpenAPIV3Schema
	out := []node{{"", root}}
	for _, name := range []string{"spec", "status"} {
		child := root.Properties[name]
		out = append(out, below(node{name, &child})...)
	}
	return out
}

// foreign are places that hold types of Kubernetes itself, whose rules are Kubernetes' own.
var foreign = map[string]bool{
	"spec.deployment.affinity": true, "spec.deployment.resources": true, "spec.deployment.tolerations[]": true,
	"spec.deployment.topologySpreadConstraints[]": true,
}

func below(n node) []node {
	if foreign[n.path] {
		return nil
	}
	out := []node{n}
	for _, name := range slices.Sorted(maps.Keys(n.schema.Properties)) {
		child := n.schema.Properties[name]
		out = append(out, below(node{n.path + "." + name, &child})...)
	}
	if n.schema.Items != nil {
		out = append(out, below(node{n.path + "[]", n.schema.Items.Schema})...)
	}
	if n.schema.AdditionalProperties != nil {
		out = append(out, below(node{n.path + "{}", n.schema.AdditionalProperties.Schema})...)
	}
	return out
}

// rules are all that the schema of a node can refuse, apart from a wrong type, in the words that the tables of failing
// examples use: "spec.url pattern", "spec.identifier required", "spec.scopes[] duplicate", "spec cel: must ...".
func rules(n node) []string {
	var out []string
	add := func(present bool, format string, args ...any) {
		if present {
			out = append(out, n.path+" "+fmt.Sprintf(format, args...))
		}
	}
	s := n.schema
	for _, name := range s.Required {
		path := name
		if n.path != "" {
			path = n.path + "." + name
		}
		out = append(out, path+" required")
	}
	add(s.Pattern != "", "pattern")
	add(s.Format == "date-time", "format")
	add(len(s.Enum) > 0, "enum")
	add(s.MinLength != nil && *s.MinLength > 0, "minLength")
	add(s.MaxLength != nil, "maxLength")
	add(s.MinItems != nil && *s.MinItems > 0, "minItems")
	add(s.MaxItems != nil, "maxItems")
	add(s.MinProperties != nil && *s.MinProperties > 0, "minProperties")
	add(s.MaxProperties != nil, "maxProperties")
	add(s.Minimum != nil, "minimum")
	add(s.Maximum != nil, "maximum")
	add(s.UniqueItems, "uniqueItems")
	add(s.MultipleOf != nil, "multipleOf")
	add(s.XListType != nil && (*s.XListType == "map" || *s.XListType == "set"), "duplicate")
	for _, v := range s.XValidations {
		out = append(out, strings.TrimPrefix(n.path+v.FieldPath, ".")+" cel: "+v.Message)
	}
	return out
}
