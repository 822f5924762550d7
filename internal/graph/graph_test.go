package graph_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/m2m-operator/m2m-operator/internal/graph"
	"github.com/m2m-operator/m2m-operator/internal/inventory/files"
	"github.com/m2m-operator/m2m-operator/internal/review"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// model is that of manifests, on the 1st of June 2026.
func model(t *testing.T, manifests string) graph.Model {
	t.Helper()
	documents, err := files.Source{Paths: []string{manifests}}.Read()
	if err != nil {
		t.Fatal(err)
	}
	objects, err := files.Decode(documents)
	if err != nil {
		t.Fatal(err)
	}
	objects.AssumeIssuers()
	return graph.Build(review.NewWorld(objects, "m2m-system", time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)), "testdata")
}

func TestGolden(t *testing.T) {
	m := model(t, "testdata/world.yaml")
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	for file, got := range map[string]string{
		"world.json": string(text) + "\n", "world.mmd": graph.Mermaid(m), "world.dot": graph.DOT(m),
	} {
		file = filepath.Join("testdata", file)
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("differs from %s (-update rewrites it):\n%s", file, got)
		}
	}
}

// TestGrammar: whatever tenants write, each line is one that this package means to write.
func TestGrammar(t *testing.T) {
	const node, edge = `[a-z]+\d+`, `(-->|-\.->)`
	const label = `"[\p{L}\p{Nd} ,.:/_\x{FFFD}-]*((#\d+;|<br/>)[\p{L}\p{Nd} ,.:/_\x{FFFD}-]*)*"`
	mermaid := regexp.MustCompile(`^(flowchart LR|  subgraph n\d+\[` + label + `\]|  end|  classDef [a-z]+ [a-z0-9:#, -]+` +
		`| +` + node + `(\[` + label + `\]|\(\[` + label + `\]\)|\{\{` + label + `\}\})(:::[a-z]+)?` +
		`|  ` + node + ` ` + edge + `\|` + label + `\| ` + node + `)$`)
	const quoted = `"([^"\\&]|\\["\\n]|&amp;)*"`
	dot := regexp.MustCompile(`^(digraph access \{|  \}|\}|  (graph|node|edge) \[.*\];|  subgraph cluster_\d+ \{|    label=` + quoted + `;` +
		`| +` + node + `( -> ` + node + `)? \[label=` + quoted + `(, [a-z]+=("[a-z0-9#,]+"|[a-z0-9]+))*\];)$`)
	for _, manifests := range []string{"testdata/world.yaml", "testdata/hostile.yaml"} {
		m := model(t, manifests)
		for language, c := range map[string]struct {
			text    string
			grammar *regexp.Regexp
		}{"Mermaid": {graph.Mermaid(m), mermaid}, "DOT": {graph.DOT(m), dot}} {
			if strings.Count(c.text, "\n") < 10 {
				t.Errorf("%s of %s has hardly a line:\n%s", language, manifests, c.text)
			}
			for line := range strings.Lines(c.text) {
				if !c.grammar.MatchString(strings.TrimSuffix(line, "\n")) {
					t.Errorf("%s of %s has the line %q", language, manifests, line)
				}
			}
		}
	}
}

// parts of a page: its elements with their attributes, and the texts of scripts and styles.
func parts(t *testing.T, m graph.Model) (elements []string, texts []string) {
	t.Helper()
	out := &bytes.Buffer{}
	if err := graph.HTML(out, m); err != nil {
		t.Fatal(err)
	}
	root, err := html.Parse(out)
	if err != nil {
		t.Fatal(err)
	}
	for n := range root.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		elements = append(elements, fmt.Sprintf("%s %q", n.Data, n.Attr))
		if n.Data == "script" || n.Data == "style" {
			texts = append(texts, n.FirstChild.Data)
		}
	}
	return elements, texts
}

// TestPage: what tenants write adds no element and no attribute to the page, and its model is the one that was given.
func TestPage(t *testing.T) {
	harmless, m := model(t, "testdata/world.yaml"), model(t, "testdata/hostile.yaml")
	want, _ := parts(t, harmless)
	got, texts := parts(t, m)
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("the page has the elements\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if len(texts) != 3 {
		t.Fatalf("there are %d scripts and styles", len(texts))
	}
	var read graph.Model
	if err := json.Unmarshal([]byte(texts[1]), &read); err != nil {
		t.Fatal(err)
	}
	before, _ := json.Marshal(m)
	if after, _ := json.Marshal(read); string(after) != string(before) {
		t.Errorf("the page has another model:\n%s\nwant\n%s", after, before)
	}
	policy := strings.Join(got, "\n")
	for _, part := range []string{texts[0], texts[2]} {
		if !strings.Contains(policy, graph.Hash(part)) {
			t.Errorf("the policy does not allow what begins with %.40q", part)
		}
	}
	for _, part := range []string{"default-src 'none'", "base-uri 'none'", "form-action 'none'", "require-trusted-types-for 'script'"} {
		if !strings.Contains(policy, part) {
			t.Errorf("the policy lacks %s", part)
		}
	}
}

// TestSecretsStayOut: nothing that a secret could be checked with is in the page.
func TestSecretsStayOut(t *testing.T) {
	text, err := os.ReadFile("testdata/world.yaml")
	if err != nil {
		t.Fatal(err)
	}
	const verifier = "a-verifier-that-nobody-should-see"
	file := filepath.Join(t.TempDir(), "world.yaml")
	if err := os.WriteFile(file, bytes.ReplaceAll(text, []byte("verifier: v"), []byte("verifier: "+verifier)), 0o600); err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(text, []byte("verifier: v,")) {
		t.Fatal("there is no verifier")
	}
	out := &bytes.Buffer{}
	if err := graph.HTML(out, model(t, file)); err != nil || strings.Contains(out.String(), verifier) {
		t.Errorf("the page holds a verifier (%v)", err)
	}
}
