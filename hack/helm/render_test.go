package main

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/release"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var chartDirectory = filepath.Join(config, "chart")

type values = map[string]any

func loadChart(t testing.TB) *chart.Chart {
	t.Helper()
	c, err := loader.Load(chartDirectory)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// render is what `helm template` does.
func render(t testing.TB, namespace string, v values) (*release.Release, error) {
	t.Helper()
	return renderChart(t, loadChart(t), namespace, v)
}

func renderChart(t testing.TB, c *chart.Chart, namespace string, v values) (*release.Release, error) {
	t.Helper()
	install := action.NewInstall(&action.Configuration{})
	install.DryRun, install.ClientOnly, install.ReleaseName, install.Namespace = true, true, "m2m-operator", namespace
	install.KubeVersion = &chartutil.KubeVersion{Version: "v1.31.0", Major: "1", Minor: "31"} // the oldest that will do
	return install.Run(c, v)
}

// objects of a manifest by kind, namespace and name.
func objects(t testing.TB, manifest []byte) map[string]*unstructured.Unstructured {
	t.Helper()
	out := map[string]*unstructured.Unstructured{}
	decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(manifest), 4096)
	for {
		object := &unstructured.Unstructured{}
		if err := decoder.Decode(&object.Object); errors.Is(err, io.EOF) {
			return out
		} else if err != nil {
			t.Fatal(err)
		}
		if len(object.Object) == 0 {
			continue
		}
		key := strings.Join([]string{object.GetKind(), object.GetNamespace(), object.GetName()}, " ")
		if out[key] != nil {
			t.Errorf("there are two %s", key)
		}
		out[key] = object
	}
}

func rendered(t testing.TB, namespace string, v values) map[string]*unstructured.Unstructured {
	t.Helper()
	r, err := render(t, namespace, v)
	if err != nil {
		t.Fatal(err)
	}
	return objects(t, []byte(r.Manifest))
}

// kustomized are the objects of a kustomization.
func kustomized(t testing.TB, directory string) map[string]*unstructured.Unstructured {
	t.Helper()
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), directory)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := resources.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	return objects(t, manifest)
}

// withoutKeeping takes out the annotation that only means something to Helm, and tells which objects had it.
func withoutKeeping(all map[string]*unstructured.Unstructured) (kept []string) {
	for key, object := range all {
		annotations := object.GetAnnotations()
		if annotations["helm.sh/resource-policy"] == "keep" {
			kept = append(kept, key)
			delete(annotations, "helm.sh/resource-policy")
			object.SetAnnotations(annotations)
			if len(annotations) == 0 {
				unstructured.RemoveNestedField(object.Object, "metadata", "annotations")
			}
		}
	}
	slices.Sort(kept)
	return kept
}

func compare(t *testing.T, chart, manifests map[string]*unstructured.Unstructured) {
	t.Helper()
	for key, want := range manifests {
		got := chart[key]
		if got == nil {
			t.Errorf("the chart has no %s", key)
		} else if !reflect.DeepEqual(got.Object, want.Object) {
			t.Errorf("%s is\n%v\nin the chart, and in config\n%v", key, got.Object, want.Object)
		}
	}
	for key := range chart {
		if manifests[key] == nil {
			t.Errorf("only the chart has %s", key)
		}
	}
}

// TestSameObjects: with no values of one's own the chart installs what config/default installs. What a release that is
// uninstalled leaves behind is what cannot be made anew, and what issuers need, which run on.
func TestSameObjects(t *testing.T) {
	chart, manifests := rendered(t, "default", nil), kustomized(t, filepath.Join(config, "default"))
	kept := withoutKeeping(chart)
	compare(t, chart, manifests)
	var want []string
	for key, object := range manifests {
		if kind := object.GetKind(); kind == "Namespace" || kind == "CustomResourceDefinition" || object.GetName() == "m2m-issuer" {
			want = append(want, key)
		}
	}
	slices.Sort(want)
	if len(want) != 10 || !slices.Equal(kept, want) {
		t.Errorf("Helm keeps %q, want %q", kept, want)
	}
}

// TestSameMonitoring: nor do the switches for Prometheus and Grafana bring anything else than config/prometheus.
func TestSameMonitoring(t *testing.T) {
	on := values{"enabled": true}
	chart := rendered(t, "default", values{"serviceMonitor": on, "prometheusRule": on, "dashboard": on})
	withoutKeeping(chart)
	compare(t, chart, kustomized(t, "testdata/monitored"))
}

// everything is every value changed.
var everything = values{
	"namespace": "tokens",
	"image": values{
		"repository": "registry.example.com/m2m-operator", "tag": "ignored",
		"digest": "sha256:" + strings.Repeat("0123456789abcdef", 4), "pullPolicy": "Always", "pullSecrets": []any{"registry"},
	},
	"manager": values{
		"replicas": 3, "resources": values{
			"requests": values{"cpu": 1, "memory": "128Mi"}, "limits": values{"memory": "1Gi"},
		},
		"podAnnotations": values{"example.com/team": "platform"}, "nodeSelector": values{"kubernetes.io/os": "linux"},
		"tolerations": []any{values{"key": "dedicated", "operator": "Exists"}}, "priorityClassName": "system-cluster-critical",
		"affinity": values{"nodeAffinity": values{"requiredDuringSchedulingIgnoredDuringExecution": values{"nodeSelectorTerms": []any{
			values{"matchExpressions": []any{values{"key": "example.com/pool", "operator": "In", "values": []any{"infra"}}}},
		}}}},
	},
	"tokenIssuer": values{"spec": values{
		"url": "https://tokens.example.com", "tls": values{"secretName": "tokens"}, "deployment": values{"replicas": 3},
	}},
	"networkPolicies": values{"enabled": true, "apiServerPorts": []any{16443}},
	"serviceMonitor": values{
		"enabled": true, "labels": values{"release": "prometheus"},
		"authorization": values{"credentials": values{"name": "prometheus-token", "key": "token"}},
	},
	"prometheusRule": values{"enabled": true, "labels": values{"release": "prometheus"}},
	"dashboard":      values{"enabled": true, "labels": values{"grafana_dashboard": "yes"}},
}

// TestGoldens: what is rendered, but for the definitions, and the notes.
func TestGoldens(t *testing.T) {
	for name, test := range map[string]struct {
		namespace string
		values    values
	}{
		"default":           {"default", nil},
		"release-namespace": {"m2m-system", values{"tokenIssuer": values{"create": false}, "networkPolicies": values{"enabled": false}}},
		"everything":        {"default", everything},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := render(t, test.namespace, test.values)
			if err != nil {
				t.Fatal(err)
			}
			text := "# Notes\n" + r.Info.Notes + "\n"
			for _, document := range strings.Split(r.Manifest, "---\n# Source: ")[1:] {
				if !strings.Contains(document, "kind: CustomResourceDefinition") {
					text += "---\n# Source: " + document
				}
			}
			golden := filepath.Join("testdata", name+".txt")
			if *update {
				if err := os.WriteFile(golden, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if text != string(want) {
				t.Errorf("what is rendered is not as in %s (see it with: go -C hack/helm test -update ./... && git diff)", golden)
			}
		})
	}
}

// TestNamespace: everything that is in a namespace is in that of the values, and nothing else names the default one.
func TestNamespace(t *testing.T) {
	all := rendered(t, "default", everything)
	for key, object := range all {
		if namespace := object.GetNamespace(); namespace != "" && namespace != "tokens" {
			t.Errorf("%s is in %s", key, namespace)
		}
		if text, err := object.MarshalJSON(); err != nil || bytes.Contains(text, []byte("m2m-system")) && object.GetKind() != "CustomResourceDefinition" {
			t.Errorf("%s names m2m-system (%v)", key, err)
		}
	}
	if all["Namespace  tokens"] == nil {
		t.Errorf("there is no Namespace among %q", slices.Sorted(maps.Keys(all)))
	}
}
