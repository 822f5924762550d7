package controlplane

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// fieldOwner of everything that InstallManifests applies.
const fieldOwner = client.FieldOwner("m2m-controlplane")

// crdTimeout bounds the wait for a definition to be served: well under a second on an idle machine.
const crdTimeout = time.Minute

// InstallManifests applies, server side, the YAML files, and the YAML files in the directories, that paths name. It
// applies Namespaces first and CustomResourceDefinitions next, whatever file they are in, and goes on and returns only
// when the definitions are served. Applying the same again changes nothing.
func (cp *ControlPlane) InstallManifests(ctx context.Context, paths ...string) error {
	objects, err := readManifests(paths)
	if err != nil {
		return err
	}
	sort.SliceStable(objects, func(i, j int) bool { return order(objects[i]) < order(objects[j]) })
	var pending []*unstructured.Unstructured
	for _, object := range objects {
		if order(object) > orderDefinition && len(pending) > 0 {
			if err := cp.awaitDefinitions(ctx, pending); err != nil {
				return err
			}
			pending = nil
		}
		err := cp.client.Apply(ctx, client.ApplyConfigurationFromUnstructured(object), fieldOwner, client.ForceOwnership)
		if err != nil {
			return fmt.Errorf("apply %s %s: %w", object.GetKind(), client.ObjectKeyFromObject(object), err)
		}
		if order(object) == orderDefinition {
			pending = append(pending, object)
		}
	}
	return cp.awaitDefinitions(ctx, pending)
}

const (
	orderNamespace = iota
	orderDefinition
	orderRest
)

func order(object *unstructured.Unstructured) int {
	switch object.GroupVersionKind().GroupKind() {
	case schema.GroupKind{Kind: "Namespace"}:
		return orderNamespace
	case schema.GroupKind{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}:
		return orderDefinition
	}
	return orderRest
}

// readManifests reads files in the order of paths, and in a directory in the order of names; subdirectories are not
// descended into, as with kubectl apply.
func readManifests(paths []string) ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured
	for _, path := range paths {
		files := []string{path}
		info, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("read manifests: %w", err)
		}
		if info.IsDir() {
			if files, err = filepath.Glob(filepath.Join(path, "*.yaml")); err != nil {
				return nil, err
			}
			files = slices.DeleteFunc(files, func(f string) bool { return filepath.Base(f) == "kustomization.yaml" })
			if len(files) == 0 {
				return nil, fmt.Errorf("read manifests: %s holds no YAML file", path)
			}
		}
		for _, file := range files {
			objects, err := readFile(file)
			if err != nil {
				return nil, fmt.Errorf("read %s: %w", file, err)
			}
			out = append(out, objects...)
		}
	}
	return out, nil
}

func readFile(path string) ([]*unstructured.Unstructured, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var out []*unstructured.Unstructured
	decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	for {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(&object.Object)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		if len(object.Object) > 0 { // a comment between two separators
			out = append(out, object)
		}
	}
}

// awaitDefinitions waits until each version of each definition is in discovery, where clients look for it, and lists.
// A definition says Established a moment before either is true.
func (cp *ControlPlane) awaitDefinitions(ctx context.Context, definitions []*unstructured.Unstructured) error {
	if len(definitions) == 0 {
		return nil
	}
	disco, err := discovery.NewDiscoveryClientForConfig(cp.admin)
	if err != nil {
		return fmt.Errorf("make a discovery client: %w", err)
	}
	for _, definition := range definitions {
		for _, gvk := range servedKinds(definition) {
			var last error
			err := wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, crdTimeout, true,
				func(ctx context.Context) (bool, error) {
					last = cp.served(ctx, disco, definition, gvk)
					return last == nil, nil
				})
			if err != nil {
				return fmt.Errorf("wait until %s is served: %w: %w", gvk, err, last)
			}
		}
	}
	return nil
}

func servedKinds(definition *unstructured.Unstructured) []schema.GroupVersionKind {
	group, _, _ := unstructured.NestedString(definition.Object, "spec", "group")
	kind, _, _ := unstructured.NestedString(definition.Object, "spec", "names", "kind")
	versions, _, _ := unstructured.NestedSlice(definition.Object, "spec", "versions")
	var out []schema.GroupVersionKind
	for _, v := range versions {
		version, _ := v.(map[string]any)
		name, _, _ := unstructured.NestedString(version, "name")
		if served, _, _ := unstructured.NestedBool(version, "served"); served {
			out = append(out, schema.GroupVersionKind{Group: group, Version: name, Kind: kind})
		}
	}
	return out
}

// served is nil when the kind can be used, and says why not otherwise.
func (cp *ControlPlane) served(
	ctx context.Context, disco discovery.DiscoveryInterface, definition *unstructured.Unstructured, gvk schema.GroupVersionKind,
) error {
	current := &unstructured.Unstructured{}
	current.SetGroupVersionKind(definition.GroupVersionKind())
	if err := cp.client.Get(ctx, client.ObjectKeyFromObject(definition), current); err != nil {
		return err
	}
	if message, established := conditionTrue(current, "Established"); !established {
		return fmt.Errorf("not Established: %s", message)
	}
	resources, err := disco.ServerResourcesForGroupVersion(gvk.GroupVersion().String())
	if err != nil {
		return err
	}
	for _, resource := range resources.APIResources {
		if resource.Kind != gvk.Kind {
			continue
		}
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(gvk.GroupVersion().WithKind(gvk.Kind + "List"))
		return cp.client.List(ctx, list, client.Limit(1))
	}
	return apierrors.NewNotFound(schema.GroupResource{Group: gvk.Group, Resource: gvk.Kind}, "discovery")
}

// conditionTrue also gives the messages of the conditions that are not True, which say why a definition is refused.
func conditionTrue(object *unstructured.Unstructured, conditionType string) (messages string, isTrue bool) {
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	for _, c := range conditions {
		condition, _ := c.(map[string]any)
		name, _, _ := unstructured.NestedString(condition, "type")
		status, _, _ := unstructured.NestedString(condition, "status")
		message, _, _ := unstructured.NestedString(condition, "message")
		switch {
		case name == conditionType && status == "True":
			return "", true
		case status != "True":
			messages += name + ": " + message + "; "
		}
	}
	return messages, false
}
