// Package files reads manifests as kubectl does: files, folders, kustomizations and the standard input. It remembers where
// each field was written.
package files

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
)

// maxFile bounds one file, in bytes.
const maxFile = 64 << 20

// Stdin is the name of the standard input.
const Stdin = "-"

// Source says what to read.
type Source struct {
	// Paths are files, folders, or Stdin; what is named twice counts once.
	Paths []string
	// Stdin is read where Paths name it.
	Stdin io.Reader
	// Namespace of namespaced objects that name none.
	Namespace string
}

// Read reads all documents of the four kinds, in the order of the paths, and in a folder of the names. A folder with a
// kustomization is built, also where the file itself is named; in another one all files that end in .yaml, .yml or .json
// are read, and the folders below it likewise. Whatever is of other kinds is left out. Mistakes are of type *Error, joined.
func (s Source) Read() ([]*Document, error) {
	r := reader{stdin: s.Stdin, seen: map[string]bool{}}
	for _, path := range s.Paths {
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			r.roots = append(r.roots, resolved(path))
		}
	}
	for _, path := range s.Paths {
		r.path(path)
	}
	for _, d := range r.documents {
		s.settle(d)
	}
	return r.documents, errors.Join(append(r.mistakes, duplicates(r.documents)...)...)
}

// settle gives a document the namespace that it would be applied to.
func (s Source) settle(d *Document) {
	metadata, ok := d.Object["metadata"].(map[string]any)
	if ok && d.Kind != access.KindTokenIssuer && (metadata["namespace"] == nil || metadata["namespace"] == "") && s.Namespace != "" {
		metadata["namespace"] = s.Namespace
	}
}

func duplicates(documents []*Document) []error {
	first := map[access.Ref]*Document{}
	var out []error
	for _, d := range documents {
		ref := d.Ref()
		if ref.Name == "" {
			continue
		}
		other, twice := first[ref]
		switch {
		case !twice:
			first[ref] = d
		case other.File == d.File && other.Line == d.Line:
			out = append(out, &Error{d.File, d.Line, fmt.Sprintf("%s is from here twice, by %s and by %s: which of them is meant?", ref, other.by, d.by)})
		default:
			out = append(out, &Error{d.File, d.Line, fmt.Sprintf("%s is in %s:%d already: which of them is meant?", ref, other.File, other.Line)})
		}
	}
	return out
}

func readFile(path string) ([]*Document, error) {
	file, err := os.Open(path) //nolint:gosec // it is the user who names it
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // it was only read
	return readAll(path, file)
}

func readAll(name string, from io.Reader) ([]*Document, error) {
	// What a byte order mark says is believed, and what is not UTF-8 is replaced, as kubectl does.
	decoded := transform.NewReader(io.LimitReader(from, maxFile+1), unicode.BOMOverride(unicode.UTF8.NewDecoder()))
	text, err := io.ReadAll(decoded)
	switch {
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", name, err)
	case len(text) > maxFile:
		return nil, fmt.Errorf("read %s: it is larger than %d MiB", name, maxFile>>20)
	case bytes.IndexByte(text, 0) >= 0:
		return nil, &Error{name, 1, "it holds zero bytes: it must be text, in UTF-8 or with a byte order mark"}
	}
	var out []*Document
	var mistakes []error
	parts, err := split(name, text)
	if err != nil {
		mistakes = append(mistakes, err)
	}
	for _, part := range parts {
		object, err := part.parse(name)
		if err == nil && object != nil {
			var documents []*Document
			documents, err = documentsOf(name, part.begin(), object, sync.OnceValue(part.nodes))
			out = append(out, documents...)
		}
		if err != nil {
			mistakes = append(mistakes, err)
		}
	}
	for _, d := range out {
		d.by = name
	}
	return out, errors.Join(mistakes...)
}

// documentsOf are the objects of the four kinds in what was parsed: itself, or what is in it if it is a list.
func documentsOf(file string, line int, object map[string]any, node func() *yaml.Node) ([]*Document, error) {
	apiVersion, _ := object["apiVersion"].(string)
	kind, _ := object["kind"].(string)
	group, _, _ := strings.Cut(apiVersion, "/")
	if items, ok := object["items"].([]any); ok { // whatever its kind is, as kubectl has it
		if itemKind, ok := strings.CutSuffix(kind, "List"); ok || group != v1alpha1.GroupVersion.Group {
			return documentsIn(file, line, inherit(items, apiVersion, itemKind), node)
		}
		return nil, &Error{file, line, fmt.Sprintf("a %s has no items: kubectl would apply them, and not this object", kind)}
	}
	if group != v1alpha1.GroupVersion.Group {
		return nil, nil
	}
	if apiVersion != v1alpha1.GroupVersion.String() {
		return nil, &Error{file, line, fmt.Sprintf("apiVersion %q is not known: it is %s", apiVersion, v1alpha1.GroupVersion)}
	}
	switch k := access.Kind(kind); k {
	case access.KindTokenIssuer, access.KindApiResource, access.KindM2MClient, access.KindScopeGrant:
		return []*Document{{File: file, Line: line, Kind: k, Object: object, node: node}}, nil
	}
	return nil, &Error{file, line, fmt.Sprintf("%s has no kind %q: there are TokenIssuer, ApiResource, M2MClient and ScopeGrant", apiVersion, kind)}
}

// inherit gives items that name neither version nor kind those of their list.
func inherit(items []any, apiVersion, kind string) []any {
	for _, item := range items {
		object, _ := item.(map[string]any)
		itemVersion, _ := object["apiVersion"].(string)
		itemKind, _ := object["kind"].(string)
		if object != nil && itemVersion == "" && itemKind == "" {
			object["apiVersion"], object["kind"] = apiVersion, kind
		}
	}
	return items
}

func documentsIn(file string, line int, items []any, list func() *yaml.Node) ([]*Document, error) {
	var nodes *yaml.Node
	if list != nil {
		_, nodes = below(list(), "items")
	}
	var out []*Document
	var mistakes []error
	for i, item := range items {
		object, ok := item.(map[string]any)
		if !ok {
			continue
		}
		at, node := line, func() *yaml.Node { return nil }
		if nodes != nil && i < len(nodes.Content) {
			at, node = nodes.Content[i].Line, func() *yaml.Node { return nodes.Content[i] }
		}
		documents, err := documentsOf(file, at, object, node)
		out = append(out, documents...)
		if err != nil {
			mistakes = append(mistakes, err)
		}
	}
	return out, errors.Join(mistakes...)
}
