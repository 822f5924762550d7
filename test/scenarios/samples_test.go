package scenarios

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/hack/controlplane"
)

// sample is a folder of config/samples and the test that plays its story.
type sample struct {
	folder string
	needs  []string // folders that it adds to
	story  func(*testing.T)
}

var samples = []sample{
	{folder: "archive-storage", story: archiveStorage},
	{folder: "big-screen-display", story: bigScreenDisplay},
	{folder: "cart-and-payment", story: cartAndPayment},
	{folder: "course-management", story: courseManagement},
	{folder: "gift-deliveries", story: giftDeliveries},
	{folder: "hooks", story: hooks},
	{folder: "iot-fleet", story: iotFleet},
	{folder: "management-api", story: managementAPI},
	{folder: "no-secret", needs: []string{"course-management"}, story: noSecret},
}

// TestSamples applies each folder as it is, waits until all of it is Ready, and plays its story.
func TestSamples(t *testing.T) {
	ready(t)
	for _, s := range samples {
		t.Run(s.folder, func(t *testing.T) {
			for _, folder := range append(s.needs, s.folder) {
				if err := world.Plane.InstallManifests(ctx, sampleDir(t, folder)); err != nil {
					t.Fatal(err)
				}
				awaitSample(t, folder)
			}
			s.story(t)
		})
	}
}

// TestEverySampleHasItsStory: what is in the folders is applied, told of and tested.
func TestEverySampleHasItsStory(t *testing.T) {
	entries, err := os.ReadDir(sampleDir(t, ""))
	if err != nil {
		t.Fatal(err)
	}
	var folders, told []string
	for _, entry := range entries {
		folders = append(folders, entry.Name())
	}
	for _, s := range samples {
		told = append(told, s.folder)
	}
	if !slices.Equal(folders, told) {
		t.Errorf("config/samples has %v, tested are %v", folders, told)
	}
	for _, folder := range folders {
		var kustomization struct {
			APIVersion string   `json:"apiVersion"`
			Kind       string   `json:"kind"`
			Resources  []string `json:"resources"`
		}
		// Nothing but a list of files: so they are applied here as kustomize applies them.
		if err := yaml.UnmarshalStrict(read(t, filepath.Join(sampleDir(t, folder), "kustomization.yaml")), &kustomization); err != nil {
			t.Errorf("%s: %v", folder, err)
		}
		listed := append(kustomization.Resources, "kustomization.yaml")
		slices.Sort(listed)
		var files []string
		for _, file := range manifestsOf(t, folder) {
			files = append(files, filepath.Base(file))
		}
		if !slices.Equal(listed, files) {
			t.Errorf("%s: kustomization.yaml lists %v, there are %v", folder, listed, files)
		}
		readme := string(read(t, filepath.Join(sampleDir(t, folder), "README.md")))
		if !strings.Contains(readme, "config/samples/"+folder) {
			t.Errorf("%s: README.md does not say how to apply it", folder)
		}
	}
}

// awaitSample waits until every object of ours in a folder is Ready.
func awaitSample(t *testing.T, folder string) {
	t.Helper()
	scheme := world.Admin.Scheme()
	for _, object := range objectsOf(t, folder) {
		if object.GroupVersionKind().Group != v1alpha1.GroupVersion.Group {
			continue
		}
		typed, err := scheme.New(object.GroupVersionKind())
		if err == nil {
			err = runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, typed)
		}
		if err != nil {
			t.Fatal(err)
		}
		awaitReady(t, typed.(v1alpha1.Conditioned))
	}
}

func sampleDir(t *testing.T, folder string) string {
	t.Helper()
	root, err := controlplane.RepoRoot()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(root, "config/samples", folder)
}

func manifestsOf(t *testing.T, folder string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(sampleDir(t, folder), "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// objectsOf reads the objects of a folder.
func objectsOf(t *testing.T, folder string) (objects []*unstructured.Unstructured) {
	t.Helper()
	for _, file := range manifestsOf(t, folder) {
		if filepath.Base(file) == "kustomization.yaml" {
			continue
		}
		decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(read(t, file)), 4096)
		for {
			object := &unstructured.Unstructured{}
			err := decoder.Decode(object)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			objects = append(objects, object)
		}
	}
	return objects
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
