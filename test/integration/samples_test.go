package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/m2m-operator/m2m-operator/hack/controlplane"
)

// TestSamplesAreAccepted: the API server takes every object of the samples, and knows each of their fields.
func TestSamplesAreAccepted(t *testing.T) {
	root, err := controlplane.RepoRoot()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(root, "config/samples/*/*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no samples: %v", err)
	}
	for _, file := range files {
		if filepath.Base(file) == "kustomization.yaml" {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, document := range strings.Split(string(text), "\n---\n") {
			object := &unstructured.Unstructured{}
			if err := yaml.Unmarshal([]byte(document), object); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			err := world.Admin.Create(ctx, object, client.DryRunAll, client.FieldValidation("Strict"))
			if err != nil && !apierrors.IsAlreadyExists(err) {
				t.Errorf("%s: %v", filepath.Base(file), err)
			}
		}
	}
}
