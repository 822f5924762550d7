package files

import (
	"encoding/json"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resource"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	k8syaml "sigs.k8s.io/yaml"
)

// partSize is how many resources of a kustomization are built at a time. For each object kustomize looks at all others, so
// that a thousand in twenty parts take a tenth of the time.
const partSize = 50

// eachFields do the same to each object, whichever others there are: a kustomization that has only these can be built in
// parts. That two objects have the same name is found when all are read.
var eachFields = []string{
	"apiversion", "kind", "metadata", "buildmetadata", "resources", "namespace", "nameprefix", "namesuffix", "commonannotations", "commonlabels", "labels",
}

// run builds the kustomization of a folder, of which top is the file.
func run(disk filesys.FileSystem, top, folder string) ([]*resource.Resource, error) {
	var out []*resource.Resource
	count := countable(disk, top)
	for from := 0; from == 0 || from < count; from += partSize {
		source := disk
		if count > partSize {
			source = portion{disk, top, from}
		}
		built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(source, folder)
		if err != nil {
			return nil, err
		}
		out = append(out, built.Resources()...)
	}
	return out, nil
}

// countable counts the resources of a kustomization that can be built in parts; it is 0 for another one.
func countable(disk filesys.FileSystem, top string) int {
	text, err := disk.ReadFile(top)
	if err != nil {
		return 0
	}
	fields := map[string]any{}
	if k8syaml.Unmarshal(text, &fields) != nil {
		return 0 // kustomize says what is wrong with it
	}
	for name := range fields {
		if !slices.Contains(eachFields, strings.ToLower(name)) {
			return 0
		}
	}
	resources, _ := fields["resources"].([]any)
	return len(resources)
}

// portion has a kustomization with some of its resources only.
type portion struct {
	filesys.FileSystem
	top  string
	from int
}

func (p portion) ReadFile(path string) ([]byte, error) {
	text, err := p.FileSystem.ReadFile(path)
	if err != nil || path != p.top {
		return text, err
	}
	fields := map[string]any{}
	if err := k8syaml.Unmarshal(text, &fields); err != nil {
		return nil, err
	}
	if resources, ok := fields["resources"].([]any); ok {
		fields["resources"] = resources[min(p.from, len(resources)):min(p.from+partSize, len(resources))]
	}
	return json.Marshal(fields)
}
