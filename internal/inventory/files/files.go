// Package files reads manifests as kubectl does: files, folders, kustomizations and the standard input. It remembers where
// each field was written.
package files

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
)

// maxFile bounds one file, in bytes.
const maxFile = 64 << 20

// Stdin is the name of the standard input.
const Stdin = "-"

// Source says what to read.
type Source struct {
	// Paths are files, folders, or Stdin; one that is named twice counts once.
	Paths []string
	// Stdin is read where Paths name it.
	Stdin io.Reader
	// Namespace of namespaced objects that name none.
	Namespace string
}

// Read reads all documents of the four kinds, in the order of the paths, and in a folder of the names. A folder with a
// kustomization is built; in another one all files that end in .yaml, .yml or .json are read, and the folders below it
// likewise. Whatever is of other kinds is left out. Mistakes are of type *Error, joined.
func (s Source) Read() ([]*Document, error) {
	var out []*Document
	var mistakes []error
	take := func(documents []*Document, err error) {
		out = append(out, documents...)
		if err != nil {
			mistakes = append(mistakes, err)
		}
	}
	for i, path := range s.Paths {
		if slices.Contains(s.Paths[:i], path) {
			continue
		}
		if path == Stdin {
			take(readAll(Stdin, s.Stdin))
			continue
		}
		info, err := os.Stat(path)
		switch {
		case err != nil:
			mistakes = append(mistakes, err)
		case info.IsDir():
			take(readFolder(path))
		default:
			take(readFile(path))
		}
	}
	for _, d := range out {
		s.settle(d)
	}
	mistakes = append(mistakes, duplicates(out)...)
	return out, errors.Join(mistakes...)
}

// settle gives a document the namespace that it would be applied to.
func (s Source) settle(d *Document) {
	metadata, ok := d.Object["metadata"].(map[string]any)
	if ok && d.Kind != access.KindTokenIssuer && metadata["namespace"] == nil && s.Namespace != "" {
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
		if other, twice := first[ref]; twice {
			out = append(out, &Error{d.File, d.Line, fmt.Sprintf("%s is in %s:%d already: which of them is meant?", ref, other.File, other.Line)})
			continue
		}
		first[ref] = d
	}
	return out
}

// manifest reports whether a file of the name is read when its folder is.
func manifest(name string) bool {
	return slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(name))
}

func readFolder(root string) ([]*Document, error) {
	var out []*Document
	var mistakes []error
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var documents []*Document
		switch {
		case entry.IsDir() && path != root && strings.HasPrefix(entry.Name(), "."):
			return fs.SkipDir
		case entry.IsDir() && kustomization(path) != "":
			documents, err = build(path)
			out = append(out, documents...)
			if err != nil {
				mistakes = append(mistakes, err)
			}
			return fs.SkipDir
		case entry.IsDir() || !manifest(entry.Name()):
			return nil
		}
		documents, err = readFile(path)
		out = append(out, documents...)
		if err != nil {
			mistakes = append(mistakes, err)
		}
		return nil
	})
	return out, errors.Join(append(mistakes, err)...)
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
	text, err := io.ReadAll(io.LimitReader(from, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("read %s: it is larger than %d MiB", name, maxFile>>20)
	}
	var out []*Document
	var mistakes []error
	for _, part := range split(text) {
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
	return out, errors.Join(mistakes...)
}

// documentsOf are the objects of the four kinds in what was parsed: itself, or what is in it if it is a list.
func documentsOf(file string, line int, object map[string]any, node func() *yaml.Node) ([]*Document, error) {
	apiVersion, _ := object["apiVersion"].(string)
	kind, _ := object["kind"].(string)
	if items, ok := object["items"].([]any); ok && strings.HasSuffix(kind, "List") {
		return documentsIn(file, line, items, node)
	}
	group, _, _ := strings.Cut(apiVersion, "/")
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
