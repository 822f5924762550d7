package files_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/m2m-operator/m2m-operator/internal/inventory/files"
)

// write makes a folder of files.
func write(t *testing.T, texts map[string]string) string {
	t.Helper()
	folder := t.TempDir()
	for name, text := range texts {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

const head = "apiVersion: m2m-operator.io/v1alpha1\n"

func client(name string) string {
	return head + "kind: M2MClient\nmetadata: {name: " + name + "}\nspec: {}\n"
}

func read(t *testing.T, folder string) []*files.Document {
	t.Helper()
	documents, err := files.Source{Paths: []string{folder}, Namespace: "here"}.Read()
	if err != nil {
		t.Fatal(err)
	}
	return documents
}

func refs(documents []*files.Document) string {
	var out []string
	for _, d := range documents {
		out = append(out, d.Ref().String())
	}
	return strings.Join(out, ", ")
}

func TestFolders(t *testing.T) {
	folder := write(t, map[string]string{
		"a.yaml":                           "# nothing but a comment\n---\n" + client("a") + "---\n---\n" + client("b") + "---\napiVersion: v1\nkind: Secret\n",
		"b.yml":                            client("c"),
		"c.json":                           `{"apiVersion": "m2m-operator.io/v1alpha1", "kind": "TokenIssuer", "metadata": {"name": "d"}}`,
		"values.txt":                       "no manifest",
		"values.yaml":                      "replicas: 2\n",
		"below/e.yaml":                     client("e"),
		".git/f.yaml":                      client("f"),
		"overlay/kustomization.yaml":       "namespace: there\nresources: [g.yaml]\n",
		"overlay/g.yaml":                   client("g"),
		"overlay/not-named/ignored.yaml":   client("ignored"),
		"marked/kustomization.yml":         "buildMetadata: [originAnnotations]\nnameSuffix: -x\nresources: [h.yaml]\n",
		"marked/h.yaml":                    client("h"),
		"generated/Kustomization":          "resources: [i.yaml]\npatches: [{target: {kind: M2MClient}, patch: '[{\"op\": \"add\", \"path\": \"/spec/suspend\", \"value\": true}]'}]\n",
		"generated/i.yaml":                 "\n\n" + client("i"),
		"generated/deeper/ignored-too.yml": client("ignored"),
	})
	documents := read(t, folder)
	want := "M2MClient here/a, M2MClient here/b, M2MClient here/c, M2MClient here/e, TokenIssuer d, M2MClient here/i, M2MClient here/h-x, M2MClient there/g"
	if got := refs(documents); got != want {
		t.Errorf("read\n%s, want\n%s", got, want)
	}
	objects, err := files.Decode(documents)
	if err != nil {
		t.Fatal(err)
	}
	if i := objects.Client(types.NamespacedName{Namespace: "here", Name: "i"}); i == nil || !i.Spec.Suspend || len(i.Annotations) > 0 {
		t.Errorf("the kustomization made %+v", i)
	}
	for _, d := range documents {
		if d.Ref().Name == "i" && (d.File != filepath.Join(folder, "generated/i.yaml") || d.LineOf("metadata.name") != 5) {
			t.Errorf("it was written at %s:%d", d.File, d.LineOf("metadata.name"))
		}
	}
}

func TestLines(t *testing.T) {
	folder := write(t, map[string]string{"a.yaml": `---
# A list.
apiVersion: v1
kind: List
items:
  - apiVersion: m2m-operator.io/v1alpha1
    kind: ScopeGrant
    metadata: {name: one}
    spec:
      scopes: &scopes
        - read
        - write
  - apiVersion: m2m-operator.io/v1alpha1
    kind: ScopeGrant
    metadata: {name: two}
    spec:
      subjects:
        - selector:
            matchLabels:
              a.example/b: c
      scopes: *scopes
---
apiVersion: m2m-operator.io/v1alpha1
kind: M2MClient
metadata:
  name: three
spec:
  suspend: true
`})
	documents := read(t, folder)
	for _, c := range []struct {
		document int
		path     string
		line     int
	}{
		{0, "", 6}, {0, "spec.scopes[1]", 12}, {0, "spec.scopes[7]", 10}, {0, "spec.nothing.at.all", 9},
		{1, "", 13}, {1, "spec.scopes[0]", 11}, {1, "spec.subjects[0].selector.matchLabels[a]", 19}, {1, "metadata", 15},
		{2, "", 23}, {2, "spec.suspend", 28}, {2, "status", 23},
	} {
		if got := documents[c.document].LineOf(c.path); got != c.line {
			t.Errorf("%s of %s is in line %d, want %d", c.path, documents[c.document].Ref(), got, c.line)
		}
	}
}

// TestYAMLIsThatOfKubectl: y and n are true and false there.
func TestYAMLIsThatOfKubectl(t *testing.T) {
	folder := write(t, map[string]string{"a.yaml": head + "kind: M2MClient\nmetadata: {name: a}\nspec: {suspend: y}\n"})
	objects, err := files.Decode(read(t, folder))
	if err != nil {
		t.Fatal(err)
	}
	if a := objects.Client(types.NamespacedName{Namespace: "here", Name: "a"}); !a.Spec.Suspend {
		t.Errorf("read as %+v", a.Spec)
	}
}

func TestMistakes(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"twice":              {client("a") + "---\n" + client("a"), ":6: M2MClient here/a is in "},
		"no YAML":            {client("a") + "---\nkind: {\n", ":6: "},
		"a field twice":      {head + "kind: M2MClient\nkind: M2MClient\n", ":3: key \"kind\" already set"},
		"another version":    {"apiVersion: m2m-operator.io/v2\nkind: M2MClient\n", ":1: apiVersion \"m2m-operator.io/v2\" is not known"},
		"another kind":       {head + "kind: Nothing\n", ":1: m2m-operator.io/v1alpha1 has no kind \"Nothing\""},
		"no name":            {head + "kind: M2MClient\nmetadata: {}\n", ":3: this M2MClient has no metadata.name"},
		"no metadata":        {head + "kind: M2MClient\n", ":1: this M2MClient has no metadata.name"},
		"an unknown field":   {head + "kind: M2MClient\nmetadata: {name: a}\nspec:\n  suspended: true\n", ":5: unknown field \"spec.suspended\""},
		"another case":       {head + "kind: M2MClient\nmetadata: {name: a}\nspec:\n  Suspend: true\n", ":5: unknown field \"spec.Suspend\""},
		"of another type":    {head + "kind: M2MClient\nmetadata: {name: a}\nspec: {suspend: maybe}\n", ":1: "},
		"a time that is not": {head + "kind: ScopeGrant\nmetadata: {name: a}\nspec: {expiresAt: tomorrow}\n", ":1: "},
		"scalars":            {"42\n", ":1: a manifest must be an object"},
		"too large":          {strings.Repeat("#", 65<<20), "it is larger than 64 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			folder := write(t, map[string]string{"a.yaml": c.text})
			documents, err := files.Source{Paths: []string{folder}, Namespace: "here"}.Read()
			_, decodeErr := files.Decode(documents)
			if err = errors.Join(err, decodeErr); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
	if _, err := (files.Source{Paths: []string{write(t, map[string]string{"a.yaml": client("a")})}}).Read(); err != nil {
		t.Error(err) // a namespace is asked for when the object is made
	}
	folder := write(t, map[string]string{"kustomization.yaml": "resources: [nothing.yaml]\n"})
	_, err := files.Source{Paths: []string{folder}}.Read()
	var mistake *files.Error
	if !errors.As(err, &mistake) || mistake.File != filepath.Join(folder, "kustomization.yaml") {
		t.Errorf("a kustomization of nothing: %v", err)
	}
}
