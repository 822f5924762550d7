package cli_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/m2m-operator/m2m-operator/internal/cli"
)

const (
	outputPage = reference + "/output.md"
	generated  = "<!-- What follows is generated from the types: make reference -->\n"
	module     = "github.com/m2m-operator/m2m-operator/"
)

// usual are the meanings of fields that have the same one everywhere, and say so nowhere.
var usual = map[string]string{
	"client": "client_id of the M2MClient: namespace.name", "api": "namespace/name of the ApiResource",
	"audience": "Identifier of the API, which is the aud of its tokens", "issuer": "Name of the TokenIssuer",
	"name": "Display name", "scope": "Name of the scope", "scopes": "The scopes", "message": "For people", "reason": "Why, as conditions have it",
	"notes": "What else one should know, among it what could not be seen", "suspended": "The client is suspended",
	"after": "Likewise, afterwards", "until": "The end of that time", "access": "What it has, an API each", "requests": "Wishes that are not granted in whole",
	"object": "Kind and name", "findings": "What was found", "problems": "How many are problems", "warnings": "How many are warnings",
	"unknown": "How much could not be looked at", "errors": "How many are errors", "objects": "How many were looked at",
	"changes": "One each", "clients": "Who has something", "file": "Where it is", "line": "Line of the file, from 1", "severity": "error or warning",
	"field": "Path of the field", "keys": "The published keys", "rules": "Rules of the ApiResource that each request has to meet", "ways": "Every way in which it has it",
}

// TestReferenceOfOutput: docs/cli/output.md describes every field of what commands print for programs. -update, or
// `make reference`, writes its tables anew.
func TestReferenceOfOutput(t *testing.T) {
	text, err := os.ReadFile(outputPage)
	if err != nil {
		t.Fatal(err)
	}
	written, tables, found := strings.Cut(string(text), generated)
	if !found {
		t.Fatalf("%s does not say where the generated part begins", outputPage)
	}
	d := &describer{t: t, comments: map[string]map[string]string{}, seen: map[reflect.Type]bool{}}
	if want := d.page(); tables != want {
		if !*update {
			t.Fatalf("%s is stale: make reference", outputPage)
		}
		if err := os.WriteFile(outputPage, []byte(written+generated+want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAnswersAreDescribed: each command that prints JSON is among those that the page describes.
func TestAnswersAreDescribed(t *testing.T) {
	described := map[string]bool{}
	for _, a := range cli.Answers {
		described[a.Command] = true
		if kind := reflect.TypeOf(a.Answer).Kind(); kind != reflect.Struct {
			t.Errorf("%s prints a %s: an object can have a field more", a.Command, kind)
		}
	}
	var look func(*cobra.Command)
	look = func(command *cobra.Command) {
		name := strings.TrimPrefix(command.CommandPath(), "kubectl m2m ")
		if flag := command.Flags().Lookup("output"); flag != nil && strings.Contains(flag.Usage, "json") && !described[name] {
			t.Errorf("%s prints JSON, and nothing describes it", name)
		}
		for _, child := range command.Commands() {
			look(child)
		}
	}
	look(cli.NewCommand(cli.Environment{}))
	r := run(t, "", "who-can", "courses/course-api", "-f", "testdata/change/before", "-o", "json")
	var fields map[string]json.RawMessage
	if err := json.Unmarshal([]byte(r.out), &fields); err != nil || fields["clients"] == nil {
		t.Errorf("%v in\n%s%s", err, r.out, r.errOut)
	}
}

// describer writes tables of the fields of types, with what their comments say.
type describer struct {
	t        *testing.T
	out      strings.Builder
	comments map[string]map[string]string // of fields, by directory and "Type.Field"
	seen     map[reflect.Type]bool
	queue    []reflect.Type
}

func (d *describer) page() string {
	d.out.WriteString("\n| command | prints |\n|---|---|\n")
	for _, a := range cli.Answers {
		fmt.Fprintf(&d.out, "| [`%s`](kubectl_m2m_%s.md) | %s |\n", a.Command, strings.ReplaceAll(a.Command, " ", "_"), d.link(reflect.TypeOf(a.Answer)))
	}
	for len(d.queue) > 0 {
		next := d.queue[0]
		d.queue = d.queue[1:]
		fmt.Fprintf(&d.out, "\n## %s\n\n| field | type | is |\n|---|---|---|\n", title(next))
		d.fields(next)
	}
	return d.out.String()
}

// title of a type: with its package, where there is one of the name in another one too.
func title(t reflect.Type) string {
	name := t.Name()
	if of := filepath.Base(t.PkgPath()); of == "doctor" || of == "lint" {
		name = of + name
	}
	return strings.ToUpper(name[:1]) + name[1:]
}

// link names a type of ours, which is described too then.
func (d *describer) link(t reflect.Type) string {
	if !d.seen[t] {
		d.seen[t] = true
		d.queue = append(d.queue, t)
	}
	return fmt.Sprintf("[%s](#%s)", title(t), strings.ToLower(title(t)))
}

func (d *describer) fields(t reflect.Type) {
	for field := range t.Fields() {
		tag, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if field.Anonymous && tag == "" {
			d.fields(field.Type)
			continue
		}
		if !field.IsExported() || tag == "-" {
			continue
		}
		is := d.comment(t, field.Name)
		if is == "" {
			is = usual[tag]
		}
		if is == "" {
			d.t.Errorf("nothing says what %s.%s is: give it a comment", t.Name(), field.Name)
		}
		if options != "" {
			is += ". May be left out"
		}
		fmt.Fprintf(&d.out, "| `%s` | %s | %s |\n", tag, d.kind(field.Type), strings.ReplaceAll(is, "|", "\\|"))
	}
}

// kind is the type as JSON has it.
func (d *describer) kind(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return d.kind(t.Elem())
	case reflect.Slice:
		return "list of " + d.kind(t.Elem())
	case reflect.Map:
		return "object"
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "number"
	case reflect.String:
		return "string"
	}
	if t.Name() == "Time" {
		return "time"
	}
	return d.link(t)
}

// comment is what the source says of a field, in one line.
func (d *describer) comment(t reflect.Type, field string) string {
	directory := filepath.Join("../..", strings.TrimPrefix(t.PkgPath(), module))
	if d.comments[directory] == nil {
		d.comments[directory] = d.read(directory)
	}
	return d.comments[directory][t.Name()+"."+field]
}

func (d *describer) read(directory string) map[string]string {
	out := map[string]string{}
	files, err := filepath.Glob(filepath.Join(directory, "*.go"))
	if err != nil {
		d.t.Fatal(err)
	}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			d.t.Fatal(err)
		}
		ast.Inspect(file, func(node ast.Node) bool {
			spec, ok := node.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if structure, ok := spec.Type.(*ast.StructType); ok {
				for _, field := range structure.Fields.List {
					for _, name := range field.Names {
						out[spec.Name.Name+"."+name.Name] = sentence(field.Doc.Text())
					}
				}
			}
			return false
		})
	}
	return out
}

// sentence is a comment in one line, without what is for generators.
func sentence(comment string) string {
	var words []string
	for line := range strings.Lines(comment) {
		if !strings.HasPrefix(line, "+") {
			words = append(words, strings.Fields(line)...)
		}
	}
	return strings.TrimSuffix(strings.Join(words, " "), ".")
}
