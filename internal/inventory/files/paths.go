package files

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/konfig"
)

// reader reads paths, each file once.
type reader struct {
	stdin     io.Reader
	roots     []string        // the folders that are named, as resolved gives them
	seen      map[string]bool // files and folders that were read, likewise
	documents []*Document
	mistakes  []error
}

// resolved is a path with the links in it followed, so that two names of one file are the same; itself where that cannot be.
func resolved(path string) string {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	if followed, err := filepath.EvalSymlinks(absolute); err == nil {
		return followed
	}
	return absolute
}

// again reports whether a file or folder was read before, and remembers it.
func (r *reader) again(path string) bool {
	key := path
	if path != Stdin {
		key = resolved(path)
	}
	was := r.seen[key]
	r.seen[key] = true
	return was
}

func (r *reader) take(documents []*Document, err error) {
	r.documents = append(r.documents, documents...)
	if err != nil {
		r.mistakes = append(r.mistakes, err)
	}
}

// path reads what somebody named.
func (r *reader) path(path string) {
	if path == Stdin {
		if !r.again(Stdin) {
			r.take(readAll(Stdin, r.stdin))
		}
		return
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		r.mistakes = append(r.mistakes, err)
	case info.IsDir():
		r.folder(filepath.Clean(path))
	case slices.Contains(konfig.RecognizedKustomizationFileNames(), filepath.Base(path)):
		r.folder(filepath.Dir(path))
	case !r.again(path):
		r.take(readFile(filepath.Clean(path))) // also a pipe, which a shell may put in the place of a command's output
	}
}

func (r *reader) folder(path string) {
	if r.again(path) {
		return
	}
	if kustomization(path) != "" {
		r.take(build(path))
		return
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		r.mistakes = append(r.mistakes, err)
	}
	for _, entry := range entries {
		r.entry(filepath.Join(path, entry.Name()), entry)
	}
}

// entry reads what is in a folder.
func (r *reader) entry(path string, entry os.DirEntry) {
	manifest := slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(path))
	info, err := os.Stat(path)
	switch {
	case err != nil && manifest:
		r.mistakes = append(r.mistakes, err)
	case err != nil: // a link to nowhere, that nobody takes for a manifest
	case info.IsDir() && entry.Name() == ".git": // nobody keeps manifests there, and branches may have such names
	case info.IsDir() && !entry.IsDir():
		r.link(path)
	case info.IsDir():
		r.folder(path)
	case !manifest:
	case !info.Mode().IsRegular():
		r.mistakes = append(r.mistakes, fmt.Errorf("%s: neither a file nor a folder: name it with -f if it is to be read", path))
	case !r.again(path):
		r.take(readFile(path))
	}
}

// link judges a link to a folder. Such a folder is read where it is, so that nothing is read that was not named.
func (r *reader) link(path string) {
	target := resolved(path)
	if slices.ContainsFunc(r.roots, func(root string) bool { return within(root, target) }) {
		return
	}
	r.mistakes = append(r.mistakes, errors.New(path+": a link to the folder "+target+", which is outside of what -f names: name that one too"))
}

// within reports whether a path is a folder or below it.
func within(folder, path string) bool {
	relative, err := filepath.Rel(folder, path)
	return err == nil && relative != ".." && !strings.HasPrefix(relative, ".."+string(filepath.Separator))
}
