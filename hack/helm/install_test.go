package main

import (
	"context"
	"io"
	"log"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

var (
	definitionsResource = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	namespacesResource  = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	deploymentsResource = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
)

// cluster is a real API server that nothing of ours is installed in.
type cluster struct {
	config  *rest.Config
	objects dynamic.Interface
}

func newCluster(t *testing.T) cluster {
	t.Helper()
	environment := &envtest.Environment{}
	config, err := environment.Start()
	if err != nil {
		t.Fatalf("start a kube-apiserver (KUBEBUILDER_ASSETS=$(hack/kubernetes/assets.sh) says where it is): %v", err)
	}
	t.Cleanup(func() {
		if err := environment.Stop(); err != nil {
			t.Error(err)
		}
	})
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return cluster{config, objects}
}

// helm is Helm's configuration for releases in a namespace, fresh as for each command.
func (c cluster) helm(t *testing.T, namespace string) *action.Configuration {
	t.Helper()
	flags := genericclioptions.NewConfigFlags(false)
	flags.Namespace = &namespace
	flags.WrapConfigFn = func(*rest.Config) *rest.Config { return rest.CopyConfig(c.config) }
	configuration := &action.Configuration{}
	if err := configuration.Init(flags, namespace, "secret", log.New(io.Discard, "", 0).Printf); err != nil {
		t.Fatal(err)
	}
	return configuration
}

func (c cluster) install(t *testing.T, namespace string, createNamespace bool, chart *chart.Chart, v values) {
	t.Helper()
	install := action.NewInstall(c.helm(t, namespace))
	install.ReleaseName, install.Namespace, install.CreateNamespace = "m2m-operator", namespace, createNamespace
	if _, err := install.Run(chart, v); err != nil {
		t.Fatal(err)
	}
}

func (c cluster) uninstall(t *testing.T, namespace string) {
	t.Helper()
	if _, err := action.NewUninstall(c.helm(t, namespace)).Run("m2m-operator"); err != nil {
		t.Fatal(err)
	}
}

func (c cluster) names(t *testing.T, resource schema.GroupVersionResource) []string {
	t.Helper()
	list, err := c.objects.Resource(resource).List(context.Background(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, item := range list.Items {
		names = append(names, item.GetName())
	}
	return names
}

// olderChart is the chart with definitions that differ, as those of an earlier version could.
func olderChart(t *testing.T) *chart.Chart {
	t.Helper()
	c, err := loader.Load(filepath.Join(config, "chart"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range c.Templates {
		if strings.HasSuffix(file.Name, "m2mclients.yaml") {
			file.Data = []byte(strings.Replace(string(file.Data), "    shortNames:\n", "    shortNames:\n    - older\n", 1))
		}
	}
	return c
}

// TestInstall plays an installation's life on a real API server: in one namespace with the release kept in another, an
// upgrade that brings new definitions, the end, which keeps what cannot be made anew, and a second beginning.
func TestInstall(t *testing.T) {
	c := newCluster(t)
	c.install(t, "default", false, olderChart(t), nil)
	if got := c.shortNames(t); !slices.Contains(got, "older") {
		t.Fatalf("the older definition has the short names %q", got)
	}
	upgrade := action.NewUpgrade(c.helm(t, "default"))
	upgrade.Namespace = "default"
	if _, err := upgrade.Run("m2m-operator", loadChart(t), values{"manager": values{"replicas": 3}}); err != nil {
		t.Fatal(err)
	}
	if got := c.shortNames(t); slices.Contains(got, "older") {
		t.Errorf("after the upgrade the definition has the short names %q", got)
	}
	deployment, err := c.objects.Resource(deploymentsResource).Namespace("m2m-system").Get(context.Background(), "m2m-manager", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if replicas, _, _ := unstructured.NestedInt64(deployment.Object, "spec", "replicas"); replicas != 3 {
		t.Errorf("after the upgrade there are %d replicas", replicas)
	}

	c.uninstall(t, "default")
	if got := c.names(t, definitionsResource); len(got) != 4 {
		t.Errorf("the end leaves the definitions %q", got)
	}
	if got := c.names(t, namespacesResource); !slices.Contains(got, "m2m-system") {
		t.Errorf("the end leaves the namespaces %q", got)
	}
	if got := c.names(t, deploymentsResource); len(got) > 0 {
		t.Errorf("the end leaves the Deployments %q", got)
	}
	c.install(t, "default", false, loadChart(t), nil)
}

// TestInstallInTheReleasesNamespace is what `helm install -n m2m-system --create-namespace` does.
func TestInstallInTheReleasesNamespace(t *testing.T) {
	c := newCluster(t)
	c.install(t, "m2m-system", true, loadChart(t), nil)
	if got := c.names(t, deploymentsResource); !slices.Equal(got, []string{"m2m-manager"}) {
		t.Errorf("there are the Deployments %q", got)
	}
	c.uninstall(t, "m2m-system")
	if got := c.names(t, namespacesResource); !slices.Contains(got, "m2m-system") {
		t.Errorf("the end leaves the namespaces %q", got)
	}
}

// shortNames of M2MClients.
func (c cluster) shortNames(t *testing.T) []string {
	t.Helper()
	definition, err := c.objects.Resource(definitionsResource).Get(context.Background(), "m2mclients.m2m-operator.io", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	names, _, err := unstructured.NestedStringSlice(definition.Object, "spec", "names", "shortNames")
	if err != nil {
		t.Fatal(err)
	}
	return names
}
