package files

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	yamlv2 "go.yaml.in/yaml/v2"
	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	k8syaml "sigs.k8s.io/yaml"
)

// local is the disk, as kustomize may see it: it would fetch what a kustomization names, by HTTP and by running git, and
// has no switch for that. Where manifests are a stranger's, that is no more wanted than his plugins, which are off.
type local struct {
	filesys.FileSystem
	top     string          // the kustomization that is built, without links
	linked  map[string]bool // what is read for a kustomization that is a link
	refused error           // kustomize takes a kustomization that cannot be read for one that is not there
}

// CleanedAbs follows links, and remembers where those lead that have the name of a kustomization.
func (l *local) CleanedAbs(path string) (filesys.ConfirmedDir, string, error) {
	folder, file, err := l.FileSystem.CleanedAbs(path)
	if err == nil && isKustomization(path) {
		l.linked[folder.Join(file)] = true
	}
	return folder, file, err
}

func isKustomization(path string) bool {
	return slices.Contains(konfig.RecognizedKustomizationFileNames(), filepath.Base(path))
}

// ReadFile reads a file, if it is one, and a kustomization only if it names nothing from elsewhere. To the one that is
// built it adds that it wants to know of each object which file it is from.
func (l *local) ReadFile(path string) ([]byte, error) {
	if info, err := os.Stat(path); err == nil && !info.IsDir() && (!info.Mode().IsRegular() || info.Size() > maxFile) {
		return nil, l.refuse(path, fmt.Errorf("it is no file of at most %d MiB", maxFile>>20))
	}
	text, err := l.FileSystem.ReadFile(path)
	if err == nil {
		if err := bomb(text); err != nil {
			return nil, l.refuse(path, err)
		}
	}
	if err != nil || (!isKustomization(path) && !l.linked[path] && path != l.top) {
		return text, err
	}
	converted, err := k8syaml.YAMLToJSON(text)
	fields := map[string]any{}
	if err != nil || json.Unmarshal(converted, &fields) != nil {
		return text, nil // kustomize says what is wrong with it
	}
	if err := foreign("", fields); err != nil {
		return nil, l.refuse(path, err)
	}
	if path == l.top {
		return traced(fields)
	}
	return text, nil
}

func (l *local) refuse(path string, err error) error {
	if path != l.top { // whose name stands before all mistakes
		err = fmt.Errorf("%s: %w", path, err)
	}
	if l.refused == nil {
		l.refused = err
	}
	return err
}

// traced is a kustomization that wants origins.
func traced(fields map[string]any) ([]byte, error) {
	metadata := []any{types.OriginAnnotations}
	for _, name := range slices.Collect(maps.Keys(fields)) {
		if strings.EqualFold(name, "buildMetadata") {
			items, _ := fields[name].([]any)
			metadata = append(metadata, items...)
			delete(fields, name)
		}
	}
	fields["buildMetadata"] = metadata
	return json.Marshal(fields)
}

// Fields of kustomizations. kustomize does not tell capitals from small letters.
var (
	pluginFields = []string{"generators", "transformers", "validators"}
	rootFields   = []string{"resources", "components", "bases"}
	// textFields hold what is written into objects, and no paths.
	textFields = []string{"commonAnnotations", "commonLabels", "labels", "literals", "patch", "images", "metadata"}
)

var (
	remoteFile = regexp.MustCompile(`(?i)^https?:`)
	remoteRoot = regexp.MustCompile(`(?i)^(git::|[a-z][a-z0-9+.-]*://|[a-z][a-z0-9-]*@|github\.com[/:])`)
)

// foreign says what part of a kustomization would be fetched, or would run a plugin. Those that are built in are not run
// either, since they fetch what their own manifests name.
func foreign(field string, value any) error {
	is := func(name string) bool { return strings.EqualFold(name, field) }
	if text, ok := value.(string); ok { // which may be a patch
		if err := bomb([]byte(text)); err != nil {
			return err
		}
	}
	if slices.ContainsFunc(textFields, is) {
		return nil
	}
	switch v := value.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			if err := foreign(name, v[name]); err != nil {
				return err
			}
		}
	case []any:
		if slices.ContainsFunc(pluginFields, is) && len(v) > 0 {
			return fmt.Errorf("%s are not run here%s", field, instead)
		}
		for _, item := range v {
			if err := foreign(field, item); err != nil {
				return err
			}
		}
	case string:
		_, file, _ := strings.Cut(v, "=") // name=path
		if remoteFile.MatchString(v) || remoteFile.MatchString(file) || slices.ContainsFunc(rootFields, is) && remoteRoot.MatchString(v) {
			return fmt.Errorf("%s names %q, and nothing is fetched here%s", field, v, instead)
		}
	}
	return nil
}

// bomb finds YAML that refers to itself so often that kustomize, which knows no bound, would never be done with it.
func bomb(text []byte) error {
	if bytes.IndexByte(text, '*') < 0 || bytes.IndexByte(text, '&') < 0 {
		return nil
	}
	decoder := yamlv2.NewDecoder(bytes.NewReader(text))
	for {
		var all any
		err := decoder.Decode(&all)
		switch {
		case err == nil:
		case strings.Contains(err.Error(), "excessive aliasing"):
			return err
		default: // the end, or a mistake, which kustomize finds too
			return nil
		}
	}
}

const instead = ": build it elsewhere, as with kubectl kustomize ... | kubectl m2m lint -f -"
