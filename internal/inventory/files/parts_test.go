package files_test

import (
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/m2m-operator/m2m-operator/internal/inventory/files"
)

// TestLargeKustomizations are built in parts, unless they have a field that may look at all objects at once; what comes of
// them is the same.
func TestLargeKustomizations(t *testing.T) {
	texts := map[string]string{}
	var names []string
	for i := range 120 {
		name := fmt.Sprintf("f%d.yaml", i)
		names, texts[name] = append(names, name), client(fmt.Sprintf("c%d", i))
	}
	const look = "namespace: there\nnamePrefix: x-\nlabels: [{pairs: {a: b}}]\ncommonAnnotations: {c: d}\nresources: ["
	texts["kustomization.yaml"] = look + strings.Join(names, ", ") + "]\n"
	inParts := read(t, write(t, texts))
	texts["kustomization.yaml"] += "images: []\n"
	whole := read(t, write(t, texts))
	if len(inParts) != 120 || len(whole) != 120 {
		t.Fatalf("%d objects in parts, %d as a whole", len(inParts), len(whole))
	}
	for i, d := range inParts {
		if !reflect.DeepEqual(d.Object, whole[i].Object) || d.Line != whole[i].Line || d.LineOf("spec") != whole[i].LineOf("spec") {
			t.Errorf("in parts %s:%d %v, as a whole %s:%d %v", d.File, d.Line, d.Object, whole[i].File, whole[i].Line, whole[i].Object)
		}
	}
	texts["named.yaml"] = look + strings.Join(names, ", ") + "]\n"
	delete(texts, "kustomization.yaml")
	folder := write(t, texts)
	link(t, "named.yaml", filepath.Join(folder, "kustomization.yaml"))
	if linked := read(t, folder); len(linked) != 120 || filepath.Base(linked[7].File) != filepath.Base(inParts[7].File) || linked[7].Line != inParts[7].Line {
		t.Errorf("by a link %d objects, the eighth in %s:%d", len(linked), linked[7].File, linked[7].Line)
	}
	texts["f119.yaml"] = client("c0")
	texts["kustomization.yaml"] = look + strings.Join(names, ", ") + "]\n"
	_, err := files.Source{Paths: []string{write(t, texts)}}.Read()
	if err == nil || !strings.Contains(err.Error(), "M2MClient there/x-c0 is in ") {
		t.Errorf("the same object in two parts: %v", err)
	}
	texts["f119.yaml"] = "kind: ["
	if _, err := (files.Source{Paths: []string{write(t, texts)}}).Read(); err == nil || !strings.Contains(err.Error(), "f119.yaml") {
		t.Errorf("a mistake in the last part: %v", err)
	}
}
