package files

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/resource"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	k8syaml "sigs.k8s.io/yaml"
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

// contents are what kustomize quotes in its errors, be it of Secrets.
var contents = regexp.MustCompile("(?s)(with config: )`.*`|(node contents:).*|(literal sources ).*")

// build builds a kustomization as `kubectl kustomize` does.
func build(folder string) (out []*Document, err error) {
	file := kustomization(folder)
	defer func() {
		if broken := recover(); broken != nil { // kustomize gives up so on some mistakes, such as in a schema
			out, err = nil, &Error{File: file, Line: 1, Message: fmt.Sprint(broken)}
		}
	}()
	absolute := resolved(folder)
	disk := &local{FileSystem: filesys.MakeFsOnDisk(), top: resolved(filepath.Join(absolute, filepath.Base(file))), linked: map[string]bool{}}
	resources, err := run(disk, disk.top, absolute)
	if disk.refused != nil {
		err = disk.refused
	}
	if err != nil {
		return nil, &Error{File: file, Line: 1, Message: contents.ReplaceAllString(err.Error(), "$1$2$3...")}
	}
	origins := origins{folder: folder, read: map[string][]*Document{}}
	var mistakes []error
	for _, r := range resources {
		documents, err := origins.documents(file, r)
		out = append(out, documents...)
		if err != nil {
			mistakes = append(mistakes, err)
		}
	}
	return out, errors.Join(mistakes...)
}

const originAnnotation = "config.kubernetes.io/origin"

func withoutOrigin(annotations map[string]string) map[string]string {
	delete(annotations, originAnnotation)
	return annotations
}

// origins finds where the objects of a kustomization were written.
type origins struct {
	folder string
	read   map[string][]*Document
}

// documents are those that kubectl would apply of what a kustomization gives.
func (o origins) documents(file string, r *resource.Resource) ([]*Document, error) {
	written, line := o.find(r)
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
	for _, d := range documents {
		d.by = file
		if written != nil {
			d.node = written.node
		}
	}
	return documents, err
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
