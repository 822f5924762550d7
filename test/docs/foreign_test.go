package docs

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

// definitions are CustomResourceDefinitions of other projects, as their Go modules have them.
var definitions = []struct {
	module, version string
	// sum of the module, as in go.sum.
	sum   string
	files []string
}{
	{"sigs.k8s.io/gateway-api", "v1.6.3", "h1:lKpJa5bGlraC/QeACvCpsHLdmO6y0iKfzVl6gzaFEYc=", []string{
		"config/crd/standard/gateway.networking.k8s.io_gateways.yaml",
		"config/crd/standard/gateway.networking.k8s.io_httproutes.yaml",
		"config/crd/standard/gateway.networking.k8s.io_tlsroutes.yaml",
		"config/crd/standard/gateway.networking.k8s.io_backendtlspolicies.yaml",
		"config/crd/standard/gateway.networking.k8s.io_referencegrants.yaml",
	}},
	{"github.com/envoyproxy/gateway", "v1.9.1", "h1:vAVp6/AlBXJ1aOhp1mxL7fNEzVEfjADUguUhm2wzxQY=", []string{
		"charts/gateway-helm/charts/crds/crds/generated/gateway.envoyproxy.io_securitypolicies.yaml",
		"charts/gateway-helm/charts/crds/crds/generated/gateway.envoyproxy.io_backends.yaml",
	}},
	{"istio.io/api", "v1.31.1", "h1:5Yb5ihcz4YQsCkciusK7DnFpBMwRB6EFWeUKH1Atuyk=", []string{
		"kubernetes/customresourcedefinitions.gen.yaml",
	}},
	{"github.com/external-secrets/external-secrets", "v1.3.2", "h1:u2J8RjlHIeF0oZCqtl92adI/uZWUwOesJIDkfql6LqQ=", []string{
		"config/crds/bases/external-secrets.io_pushsecrets.yaml",
		"config/crds/bases/external-secrets.io_secretstores.yaml",
	}},
	{"github.com/fluxcd/kustomize-controller", "v1.9.6", "h1:XB+G3A0mky0j5uVHZWv4oSlS2RvZBoNIUhstIvY0JKE=", []string{
		"config/crd/bases/kustomize.toolkit.fluxcd.io_kustomizations.yaml",
	}},
	{"github.com/fluxcd/source-controller", "v1.9.6", "h1:nG534/bI6nVpyHra7ONAk6xDB3xPsVT+EOLHZHXPrrc=", []string{
		"config/crd/bases/source.toolkit.fluxcd.io_gitrepositories.yaml",
	}},
}

// notServed are groups that no API server serves: of files that a program reads, and of a manifest that a page moves away
// from.
var notServed = []string{"kustomize.config.k8s.io", "apiserver.config.k8s.io", "hydra.ory.sh"}

// ensureDefinitions makes the API server serve the kinds of other projects, once.
func ensureDefinitions(t *testing.T) {
	t.Helper()
	ensureAPI(t)
	if foreign {
		return
	}
	foreign = true
	for _, d := range definitions {
		directory := module(t, d.module+"@"+d.version, d.sum)
		for _, file := range d.files {
			if err := plane.InstallManifests(ctx, filepath.Join(directory, file)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

var foreign bool

// module is the directory of a Go module, which is downloaded if need be.
func module(t *testing.T, version, sum string) string {
	t.Helper()
	var stderr bytes.Buffer
	command := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", version)
	command.Dir = t.TempDir() // outside of any module, so that nothing but the version counts
	command.Stderr = &stderr
	out, err := command.Output()
	var downloaded struct{ Dir, Sum, Error string }
	if err := errors.Join(err, json.Unmarshal(out, &downloaded)); err != nil || downloaded.Sum != sum {
		t.Fatalf("%s: %v, %s, and its sum is %s\n%s", version, err, downloaded.Error, downloaded.Sum, stderr.String())
	}
	return downloaded.Dir
}

// tryForeign has the API server take an object of another project's kind, or of Kubernetes, and says whether there is
// anything to try.
func tryForeign(t *testing.T, object *unstructured.Unstructured) bool {
	t.Helper()
	group := object.GroupVersionKind().Group
	if object.GetKind() == "" || group == v1alpha1.GroupVersion.Group || slices.Contains(notServed, group) {
		return false
	}
	ensureDefinitions(t)
	ensureNamespace(t, object.GetNamespace())
	err := api.Create(ctx, object, client.DryRunAll, client.FieldValidation(metav1.FieldValidationStrict))
	if err != nil && !apierrors.IsAlreadyExists(err) { // a namespace, which is there by now
		t.Errorf("%s %s: %v", object.GroupVersionKind(), object.GetName(), err)
	}
	return true
}

// TestForeignManifests: what the documents show of other projects' kinds, those projects' own definitions accept.
func TestForeignManifests(t *testing.T) {
	groups := map[string]bool{}
	for _, document := range documents(t) {
		t.Run(strings.TrimPrefix(document, root+"/"), func(t *testing.T) {
			for _, block := range blocks(t, document, "yaml") {
				for text := range strings.SplitSeq(block, "\n---\n") {
					object := &unstructured.Unstructured{}
					if !strings.Contains(text, "apiVersion: ") || strings.HasPrefix(strings.TrimSpace(text), "- ") {
						continue
					}
					if err := yaml.UnmarshalStrict([]byte(text), &object.Object); err != nil {
						t.Fatalf("%v in\n%s", err, text)
					}
					if tryForeign(t, object) {
						groups[object.GroupVersionKind().Group] = true
					}
				}
			}
		})
	}
	for _, group := range []string{"gateway.networking.k8s.io", "gateway.envoyproxy.io", "security.istio.io", "external-secrets.io"} {
		if !groups[group] {
			t.Errorf("no document shows a manifest of %s", group)
		}
	}
}

// TestFlux: Flux takes config/gitops/flux, and everything that one object there names is there, or in the files that the
// documents put into the repository.
func TestFlux(t *testing.T) {
	sample := objectsIn(t, "config/samples/course-management")
	known := append(objectsIn(t, "config/manager", "config/crd/bases", "config/rbac"), sample...)
	known = append(known, &unstructured.Unstructured{Object: map[string]any{ // the manager makes it
		"apiVersion": v1alpha1.GroupVersion.String(), "kind": "TokenIssuer", "metadata": map[string]any{"name": "default"}}})
	objects := objectsIn(t, "config/gitops/flux")
	known = append(known, objects...)
	kustomizations := 0
	for _, object := range objects {
		if !tryForeign(t, object.DeepCopy()) {
			t.Errorf("%s %s is not tried", object.GetKind(), object.GetName())
		}
		if object.GetKind() != "Kustomization" {
			continue
		}
		kustomizations++
		prune, _, _ := unstructured.NestedBool(object.Object, "spec", "prune")
		if platform := object.GetNamespace() == "flux-system"; prune == platform {
			t.Errorf("Kustomization %s prunes: %t. Of the platform nothing may be, it cannot be made anew; what teams have follows the repository", object.GetName(), prune)
		}
		for _, named := range namedBy(t, object) {
			found := slices.ContainsFunc(known, func(o *unstructured.Unstructured) bool {
				return o.GroupVersionKind().GroupKind() == named.GroupVersionKind().GroupKind() && o.GetNamespace() == named.GetNamespace() && o.GetName() == named.GetName()
			})
			if !found {
				t.Errorf("Kustomization %s names %s %s/%s, which there is not", object.GetName(), named.GetKind(), named.GetNamespace(), named.GetName())
			}
		}
	}
	if kustomizations != 4 {
		t.Errorf("there are %d Kustomizations", kustomizations)
	}
}

// namedBy are the objects that a Kustomization of Flux names: what it waits for, where it is from, and whose health it
// looks at.
func namedBy(t *testing.T, kustomization *unstructured.Unstructured) (out []*unstructured.Unstructured) {
	t.Helper()
	spec, _, _ := unstructured.NestedMap(kustomization.Object, "spec")
	reference := func(gvk schema.GroupVersionKind, fields any, namespace string) {
		object := &unstructured.Unstructured{Object: map[string]any{}}
		members, _ := fields.(map[string]any)
		object.SetGroupVersionKind(gvk)
		name, _ := members["name"].(string)
		if own, ok := members["namespace"].(string); ok {
			namespace = own
		}
		object.SetName(name)
		object.SetNamespace(namespace)
		out = append(out, object)
	}
	own := kustomization.GroupVersionKind()
	dependencies, _ := spec["dependsOn"].([]any)
	for _, dependency := range dependencies {
		reference(own, dependency, kustomization.GetNamespace())
	}
	reference(schema.GroupVersionKind{Group: "source.toolkit.fluxcd.io", Version: "v1", Kind: "GitRepository"}, spec["sourceRef"], kustomization.GetNamespace())
	if account, ok := spec["serviceAccountName"]; ok {
		reference(schema.GroupVersionKind{Version: "v1", Kind: "ServiceAccount"}, map[string]any{"name": account}, kustomization.GetNamespace())
	}
	checks, _ := spec["healthChecks"].([]any)
	for _, check := range checks {
		members, _ := check.(map[string]any)
		version, _ := members["apiVersion"].(string)
		kind, _ := members["kind"].(string)
		reference(schema.FromAPIVersionAndKind(version, kind), members, "")
	}
	if len(checks) == 0 {
		t.Errorf("Kustomization %s looks at nobody's health", kustomization.GetName())
	}
	return out
}

// objectsIn are those of the YAML files in directories of the repository, but for what kustomize reads.
func objectsIn(t *testing.T, directories ...string) (out []*unstructured.Unstructured) {
	t.Helper()
	for _, directory := range directories {
		files, err := filepath.Glob(filepath.Join(root, directory, "*.yaml"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s has %d files: %v", directory, len(files), err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
			for {
				document, err := reader.Read()
				if errors.Is(err, io.EOF) {
					break
				}
				object := &unstructured.Unstructured{}
				if err := errors.Join(err, yaml.UnmarshalStrict(document, &object.Object)); err != nil {
					t.Fatalf("%s: %v", file, err)
				}
				if len(object.Object) > 0 && object.GroupVersionKind().Group != "kustomize.config.k8s.io" {
					out = append(out, object)
				}
			}
		}
	}
	return out
}
