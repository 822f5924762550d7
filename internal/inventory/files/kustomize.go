package files

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resource"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	k8syaml "sigs.k8s.io/yaml"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

// kustomization is the path of a folder's kustomization file, "" if it has none.
func kustomization(folder string) string {
	for _, name := range konfig.RecognizedKustomizationFileNames() {
		path := filepath.Join(folder, name)
		if info, err := os.Stat(path); err == nil && !info.IsDir() {
			return path
		}
	}
	return ""
}

// build builds a kustomization as `kubectl kustomize` does.
func build(folder string) ([]*Document, error) {
	file := kustomization(folder)
	absolute, err := filepath.EvalSymlinks(folder)
	if err == nil {
		absolute, err = filepath.Abs(absolute)
	}
	if err != nil {
		return nil, err
	}
	disk := tracing{FileSystem: filesys.MakeFsOnDisk(), file: filepath.Join(absolute, filepath.Base(file))}
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(disk, absolute)
	if err != nil {
		return nil, &Error{File: file, Line: 1, Message: err.Error()}
	}
	origins := origins{folder: folder, read: map[string][]*Document{}}
	var out []*Document
	for _, r := range resources.Resources() {
		if r.GetGvk().Group != v1alpha1.GroupVersion.Group {
			continue
		}
		written, line := origins.find(r)
		err := r.SetAnnotations(withoutOrigin(r.GetAnnotations()))
		var object map[string]any
		if err == nil {
			object, err = r.Map()
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		at := file
		if written != nil {
			at = written.File
		}
		documents, err := documentsOf(at, line, object, nil)
		if err != nil {
			return nil, err
		}
		for _, d := range documents {
			if written != nil {
				d.node = written.node
			}
		}
		out = append(out, documents...)
	}
	return out, nil
}

const originAnnotation = "config.kubernetes.io/origin"

func withoutOrigin(annotations map[string]string) map[string]string {
	delete(annotations, originAnnotation)
	return annotations
}

// tracing lets kustomize say of each object which file it is from, as if the kustomization asked for it.
type tracing struct {
	filesys.FileSystem
	file string
}

// ReadFile reads a file, and adds to the kustomization what it does not say of the origin of objects.
func (t tracing) ReadFile(path string) ([]byte, error) {
	text, err := t.FileSystem.ReadFile(path)
	if err == nil && path == t.file && !bytes.Contains(text, []byte("buildMetadata")) {
		text = append(slices.Clip(text), "\nbuildMetadata: [originAnnotations]\n"...)
	}
	return text, err
}

// origins finds where the objects of a kustomization were written.
type origins struct {
	folder string
	read   map[string][]*Document
}

// find is the document that became the object, if one did as a whole, and its line; else the first line of the
// kustomization.
func (o origins) find(r *resource.Resource) (*Document, int) {
	var origin struct {
		Path string `json:"path"`
		Repo string `json:"repo"`
	}
	if k8syaml.Unmarshal([]byte(r.GetAnnotations()[originAnnotation]), &origin) != nil || origin.Path == "" || origin.Repo != "" {
		return nil, 1
	}
	path := filepath.Join(o.folder, origin.Path)
	documents, known := o.read[path]
	if !known {
		documents, _ = readFile(path) // kustomize has read it; if it cannot be read now, nothing but its lines is lost
		o.read[path] = documents
	}
	// A kustomization may have put something before and after the name.
	var best *Document
	for _, d := range documents {
		name := d.Metadata("name")
		if string(d.Kind) != r.GetKind() || name == "" || !strings.Contains(r.GetName(), name) {
			continue
		}
		if best == nil || len(name) > len(best.Metadata("name")) {
			best = d
		}
	}
	if best == nil {
		return nil, 1
	}
	return best, best.Line
}
