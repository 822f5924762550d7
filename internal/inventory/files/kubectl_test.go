package files_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/cli-runtime/pkg/resource"

	"github.com/m2m-operator/m2m-operator/internal/inventory/files"
)

// asKubectl are the objects of the four kinds that kubectl finds in a file or folder, and what it has against it.
func asKubectl(path string) ([]string, error) {
	infos, err := resource.NewLocalBuilder().Unstructured().ContinueOnError().Flatten().
		FilenameParam(false, &resource.FilenameOptions{Filenames: []string{path}, Recursive: true}).Do().Infos()
	var out []string
	for _, info := range infos {
		object := info.Object.(*unstructured.Unstructured)
		if object.GroupVersionKind().Group == "m2m-operator.io" {
			out = append(out, text(object.Object))
		}
	}
	return out, err
}

func asHere(path string) ([]string, error) {
	documents, err := files.Source{Paths: []string{path}}.Read()
	var out []string
	for _, d := range documents {
		out = append(out, text(d.Object))
	}
	return out, err
}

func text(object map[string]any) string {
	out, err := json.Marshal(object)
	if err != nil {
		return err.Error()
	}
	return string(out)
}

// jsonClient is on one line.
func jsonClient(name string) string {
	return `{"apiVersion":"m2m-operator.io/v1alpha1","kind":"M2MClient","metadata":{"name":"` + name + `"},"spec":{}}`
}

// utf16LE has a byte order mark, as what PowerShell writes.
func utf16LE(text string) string {
	out := []byte{0xff, 0xfe}
	for _, unit := range utf16.Encode([]rune(text)) {
		out = append(out, byte(unit), byte(unit>>8))
	}
	return string(out)
}

// streams are ways to write down several objects; how many is what kubectl finds. refused are those that it reads in part,
// without a word.
var streams = map[string]struct {
	text    string
	objects int
	refused string
}{
	"documents":                {client("a") + "---\n" + client("b"), 2, ""},
	"a tab after dashes":       {client("a") + "---\t\n" + client("b"), 2, ""},
	"blanks after dashes":      {client("a") + "---  \n" + client("b"), 2, ""},
	"a comment after dashes":   {client("a") + "--- # more\n" + client("b"), 2, ""},
	"a comment without blank":  {client("a") + "---# more\n" + client("b"), 2, ""},
	"CRLF":                     {strings.ReplaceAll(client("a")+"---\n"+client("b"), "\n", "\r\n"), 2, ""},
	"no newline at the end":    {head + "kind: M2MClient\nmetadata: {name: a}\nspec:\n  description: |\n    text", 1, ""},
	"JSON":                     {jsonClient("a"), 1, ""},
	"JSON after JSON":          {jsonClient("a") + "\n" + jsonClient("b"), 2, ""},
	"JSON at JSON":             {"\n " + jsonClient("a") + jsonClient("b") + jsonClient("c") + "\n\n", 3, ""},
	"JSON after dashes":        {jsonClient("a") + "\n---\n" + jsonClient("b") + "\n--- # more\n" + client("c"), 3, ""},
	"JSON with escapes":        {`{"apiVersion":"m2m-operator.io\/v1alpha1","kind":"M2MClient","metadata":{"name":"a"},"spec":{"description":"\ud83d\ude00"}}`, 1, ""},
	"flow style":               {"{apiVersion: m2m-operator.io/v1alpha1, kind: M2MClient, metadata: {name: a}}\n---\n" + client("b"), 2, ""},
	"a byte order mark":        {"\ufeff" + client("a") + "---\n" + client("b"), 2, ""},
	"UTF-16":                   {utf16LE(client("a") + "---\n" + client("b")), 2, ""},
	"no UTF-8":                 {client("a") + "---\n" + head + "kind: M2MClient\nmetadata: {name: b}\nspec: {description: \"\xff\"}\n", 2, ""},
	"a list":                   {"apiVersion: v1\nkind: List\nitems: [" + jsonClient("a") + "," + jsonClient("b") + "]\n", 2, ""},
	"a list of another kind":   {"apiVersion: v1\nkind: ConfigMap\nitems: [" + jsonClient("a") + "," + jsonClient("b") + "]\n", 2, ""},
	"a typed list":             {head + "kind: M2MClientList\nitems: [{metadata: {name: a}}, {metadata: {name: b}}]\n", 2, ""},
	"a list of nothing":        {head + "kind: M2MClientList\nitems: []\n", 0, ""},
	"anchors and merge keys":   {"x: &x {name: a}\n" + head + "kind: M2MClient\nmetadata: {<<: *x}\n", 1, ""},
	"merged keys overridden":   {"x: &x {name: b, labels: {a: b}}\n" + head + "kind: M2MClient\nmetadata: {<<: *x, name: a}\nspec: {}\n", 1, ""},
	"an order of merged keys":  {"x: &x {name: b}\ny: &y {name: c}\n" + head + "kind: M2MClient\nmetadata: {name: a, <<: [*x, *y]}\nspec: {}\n", 1, ""},
	"merged and twice":         {"x: &x {name: b}\n" + head + "kind: M2MClient\nmetadata: {<<: *x, name: a, name: c}\nspec: {}\n", 1, `key "name" already set`},
	"numbers":                  {head + "kind: M2MClient\nmetadata: {name: a}\nspec: {a: 9007199254740993, b: 1.5, c: 0x10, d: 1e3, e: 0o17, f: 1_000, g: 12:30}\n", 1, ""},
	"a literal with dashes":    {head + "kind: M2MClient\nmetadata: {name: a}\nspec:\n  description: |\n    a\n    ---\n    b\n", 1, ""},
	"an end of a document":     {client("a") + "...\n", 1, ""},
	"more after the end":       {client("a") + "...\n" + client("b"), 1, ":6: here begins another document"},
	"CR":                       {strings.ReplaceAll(client("a")+"---\n"+client("b"), "\n", "\r"), 1, ":5: here begins another document"},
	"two in flow style":        {"{apiVersion: m2m-operator.io/v1alpha1, kind: M2MClient, metadata: {name: a}}\n" + jsonClient("b"), 1, ":2: here begins another document"},
	"JSON after many blanks":   {strings.Repeat(" ", 5000) + jsonClient("a") + "\n" + jsonClient("b"), 1, ":2: here begins another document"},
	"JSON after JSON in YAML":  {"---\n" + jsonClient("a") + "\n" + jsonClient("b"), 1, ":3: here begins another document"},
	"a document in the dashes": {client("a") + "--- " + jsonClient("b"), 0, ":5: a line that begins with --- separates documents"},
	"text after JSON":          {jsonClient("a") + jsonClient("b") + "\nx: 1\n", 2, ":1: after this line is neither JSON nor the end"},
	"a field twice in JSON":    {strings.Replace(jsonClient("a"), `"spec":{}`, `"spec":{"suspend":true,"suspend":false}`, 1), 1, `:1: duplicate field "spec.suspend"`},
	"items of no list":         {head + "kind: M2MClient\nmetadata: {name: a}\nitems: []\n", 0, ":1: a M2MClient has no items"},
	"zero bytes":               {client("a") + "---\n" + client("b") + "\x00", 1, "it holds zero bytes"},
}

// TestStreams: what is read is what kubectl applies, or it is a mistake.
func TestStreams(t *testing.T) {
	for name, c := range streams {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(write(t, map[string]string{"a.yaml": c.text}), "a.yaml")
			theirs, _ := asKubectl(path) // what it has found before it gives up is applied
			if len(theirs) != c.objects {
				t.Errorf("kubectl finds %d objects, want %d", len(theirs), c.objects)
			}
			ours, err := asHere(path)
			switch {
			case c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused)):
				t.Errorf("%v, want %q", err, c.refused)
			case c.refused == "" && err != nil:
				t.Error(err)
			case c.refused == "" && strings.Join(ours, "\n") != strings.Join(theirs, "\n"):
				t.Errorf("read\n%s\nwhich kubectl reads as\n%s", strings.Join(ours, "\n"), strings.Join(theirs, "\n"))
			}
		})
	}
}

// FuzzStreams: whatever a file holds, what is read of it is what kubectl would apply, or it is a mistake.
func FuzzStreams(f *testing.F) {
	for _, c := range streams {
		f.Add([]byte(c.text))
	}
	path := filepath.Join(f.TempDir(), "a.yaml")
	f.Fuzz(func(t *testing.T, content []byte) {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		ours, err := asHere(path)
		if err != nil {
			return
		}
		theirs, err := asKubectl(path)
		if a, b := strings.Join(ours, "\n"), strings.Join(theirs, "\n"); a != b && (err == nil || len(theirs) > len(ours)) {
			t.Errorf("read\n%s\nwhich kubectl reads as\n%s\n(%v)", a, b, err)
		}
	})
}
