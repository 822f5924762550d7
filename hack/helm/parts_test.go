package main

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// TestConditionalSubchart: a chart that has this one as a part says with a value whether it is there.
func TestConditionalSubchart(t *testing.T) {
	for _, enabled := range []bool{true, false} {
		umbrella := &chart.Chart{Metadata: &chart.Metadata{
			APIVersion: "v2", Name: "umbrella", Version: "0.1.0",
			Dependencies: []*chart.Dependency{{Name: "m2m-operator", Version: "0.0.0-dev", Condition: "m2m-operator.enabled"}},
		}}
		umbrella.AddDependency(loadChart(t))
		r, err := renderChart(t, umbrella, "default", values{"m2m-operator": values{"enabled": enabled}})
		if err != nil {
			t.Fatal(err)
		}
		if _, there := objects(t, []byte(r.Manifest))["Deployment m2m-system m2m-manager"]; there != enabled {
			t.Errorf("enabled=%t: the manager is there: %t", enabled, there)
		}
	}
}

// TestNamespaceOfDigits: YAML would take it for a number.
func TestNamespaceOfDigits(t *testing.T) {
	all := rendered(t, "default", values{"namespace": "0123", "serviceMonitor": values{"enabled": true}, "dashboard": values{"enabled": true}})
	if all["Deployment 0123 m2m-manager"] == nil || all["Namespace  0123"] == nil || all["ConfigMap 0123 m2m-operator-dashboard"] == nil {
		t.Errorf("there are %q", slices.Sorted(maps.Keys(all)))
	}
}

// TestNetworkPoliciesAreForOurPods: a namespace can be shared with pods of other people.
func TestNetworkPoliciesAreForOurPods(t *testing.T) {
	policies := 0
	for key, object := range rendered(t, "default", nil) {
		if object.GetKind() != "NetworkPolicy" {
			continue
		}
		policies++
		labels, _, _ := unstructured.NestedStringMap(object.Object, "spec", "podSelector", "matchLabels")
		expressions, _, _ := unstructured.NestedSlice(object.Object, "spec", "podSelector", "matchExpressions")
		selects := labels["app.kubernetes.io/name"] != ""
		for _, expression := range expressions {
			members := expression.(map[string]any)
			selects = selects || members["key"] == "app.kubernetes.io/name" && members["operator"] == "In"
		}
		if !selects {
			t.Errorf("%s selects pods of others", key)
		}
	}
	if policies != 5 {
		t.Errorf("there are %d policies", policies)
	}
}

// TestDashboardLabels: a label of the values may be one that the chart has too.
func TestDashboardLabels(t *testing.T) {
	r, err := render(t, "default", values{"dashboard": values{"enabled": true, "labels": values{"app.kubernetes.io/part-of": "monitoring"}}})
	if err != nil {
		t.Fatal(err)
	}
	for document := range strings.SplitSeq(r.Manifest, "\n---\n") {
		if !strings.Contains(document, "name: m2m-operator-dashboard") {
			continue
		}
		var object unstructured.Unstructured
		if err := yaml.UnmarshalStrict([]byte(document), &object.Object); err != nil {
			t.Fatal(err)
		}
		if got := object.GetLabels()["app.kubernetes.io/part-of"]; got != "monitoring" {
			t.Errorf("the label is %q", got)
		}
		return
	}
	t.Error("there is no dashboard")
}

// overlay is a directory beside config with a kustomization in it, and other files.
func overlay(t *testing.T, files map[string]string) string {
	t.Helper()
	directory, err := os.MkdirTemp("testdata", "overlay-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(directory) })
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(directory, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return directory
}

// TestOtherNamespace: a kustomization over config/default moves all of it.
func TestOtherNamespace(t *testing.T) {
	directory := overlay(t, map[string]string{"kustomization.yaml": "namespace: tokens\nresources: [../../../../config/default]\n"})
	for key, object := range kustomized(t, directory) {
		text, err := object.MarshalJSON()
		if err != nil || bytes.Contains(text, []byte("m2m-system")) && object.GetKind() != "CustomResourceDefinition" {
			t.Errorf("%s names m2m-system (%v)", key, err)
		}
	}
}

// TestArgoCDHealthChecks: the component goes over a kustomization that has Argo CD's settings, and leaves what is there.
func TestArgoCDHealthChecks(t *testing.T) {
	directory := overlay(t, map[string]string{
		"kustomization.yaml": "namespace: argocd\nresources: [argocd-cm.yaml]\ncomponents: [../../../../config/gitops/argocd]\n",
		"argocd-cm.yaml":     "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: argocd-cm}\ndata: {url: https://argocd.example.com}\n",
	})
	settings := kustomized(t, directory)["ConfigMap argocd argocd-cm"]
	if settings == nil {
		t.Fatal("there is no argocd-cm")
	}
	data, _, err := unstructured.NestedStringMap(settings.Object, "data")
	if err != nil || data["url"] != "https://argocd.example.com" || len(data) != 5 {
		t.Errorf("it has %q (%v)", slices.Sorted(maps.Keys(data)), err)
	}
	for _, kind := range []string{"TokenIssuer", "ApiResource", "M2MClient", "ScopeGrant"} {
		if check := data["resource.customizations.health.m2m-operator.io_"+kind]; !strings.Contains(check, "Degraded") {
			t.Errorf("%s has the health check %q", kind, check)
		}
	}
}

// TestArgoCDKeeps: with the kustomization that the page on GitOps shows, Argo CD deletes nothing that cannot be made anew.
func TestArgoCDKeeps(t *testing.T) {
	page, err := os.ReadFile("../../docs/gitops.md")
	if err != nil {
		t.Fatal(err)
	}
	const from = "https://github.com/m2m-operator/m2m-operator//config/default?ref=main"
	for block := range strings.SplitSeq(string(page), "```yaml\n") {
		block, _, _ = strings.Cut(block, "```")
		if !strings.Contains(block, from) {
			continue
		}
		all := kustomized(t, overlay(t, map[string]string{"kustomization.yaml": strings.ReplaceAll(block, from, "../../../../config/default")}))
		kept := 0
		for key, object := range all {
			keeps := object.GetAnnotations()["argocd.argoproj.io/sync-options"] == "Prune=false,Delete=false"
			must := object.GetKind() == "Namespace" || object.GetKind() == "CustomResourceDefinition" || object.GetName() == "m2m-issuer"
			if keeps != must {
				t.Errorf("%s is kept: %t, want %t", key, keeps, must)
			}
			if must {
				kept++
			}
		}
		if kept != 10 {
			t.Errorf("%d objects are kept", kept)
		}
		return
	}
	t.Error("the page shows no kustomization")
}
