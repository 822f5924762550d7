package main

import (
	"context"
	"io"
	"log"
	"os"
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
	"sigs.k8s.io/yaml"
)

var (
	definitionsResource = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	namespacesResource  = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	issuersResource     = schema.GroupVersionResource{Group: "m2m-operator.io", Version: "v1alpha1", Resource: "tokenissuers"}
	accountsResource    = schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}
	reviewsResource     = schema.GroupVersionResource{Group: "authorization.k8s.io", Version: "v1", Resource: "subjectaccessreviews"}
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
// upgrade that brings new definitions, the end, which keeps what cannot be made anew and what running issuers need, and a second
// beginning, also under another name.
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

	c.deploy(t, "default")
	c.uninstall(t, "default")
	if got := c.names(t, definitionsResource); len(got) != 4 {
		t.Errorf("the end leaves the definitions %q", got)
	}
	if got := c.names(t, namespacesResource); !slices.Contains(got, "m2m-system") {
		t.Errorf("the end leaves the namespaces %q", got)
	}
	if got := c.names(t, deploymentsResource); !slices.Equal(got, []string{"m2m-issuer-default"}) {
		t.Errorf("the end leaves the Deployments %q", got)
	}
	c.wantIssuersRights(t)
	c.install(t, "default", false, loadChart(t), nil)
	c.uninstall(t, "default")

	other := action.NewInstall(c.helm(t, "default"))
	other.ReleaseName, other.Namespace = "another-name", "default"
	if _, err := other.Run(loadChart(t), nil); err == nil || !strings.Contains(err.Error(), "invalid ownership metadata") {
		t.Errorf("what another release has left is taken without a word: %v", err)
	}
	other.TakeOwnership = true
	if _, err := other.Run(loadChart(t), nil); err != nil {
		t.Error(err)
	}
}

// deploy plays the manager: a TokenIssuer and the Deployment that belongs to it.
func (c cluster) deploy(t *testing.T, name string) {
	t.Helper()
	ctx := context.Background()
	issuer, err := c.objects.Resource(issuersResource).Create(ctx, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "m2m-operator.io/v1alpha1", "kind": "TokenIssuer", "metadata": map[string]any{"name": name}, "spec": map[string]any{},
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	golden, err := os.ReadFile("../../internal/manifests/workload/testdata/deployment.yaml")
	if err != nil {
		t.Fatal(err)
	}
	deployment := &unstructured.Unstructured{}
	if err := yaml.Unmarshal(golden, &deployment.Object); err != nil {
		t.Fatal(err)
	}
	deployment.SetName("m2m-issuer-" + name)
	deployment.SetNamespace("m2m-system")
	deployment.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: issuer.GetAPIVersion(), Kind: issuer.GetKind(), Name: name, UID: issuer.GetUID()}})
	if _, err := c.objects.Resource(deploymentsResource).Namespace("m2m-system").Create(ctx, deployment, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// wantIssuersRights: issuers that run see what is taken away, and may do what they could before.
func (c cluster) wantIssuersRights(t *testing.T) {
	t.Helper()
	ctx := context.Background()
	if _, err := c.objects.Resource(accountsResource).Namespace("m2m-system").Get(ctx, "m2m-issuer", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
	for _, want := range []map[string]any{
		{"verb": "watch", "group": "m2m-operator.io", "resource": "m2mclients"},
		{"verb": "watch", "group": "m2m-operator.io", "resource": "scopegrants"},
		{"verb": "watch", "resource": "namespaces"},
		{"verb": "watch", "resource": "secrets", "namespace": "m2m-system"},
	} {
		review, err := c.objects.Resource(reviewsResource).Create(ctx, &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
			"spec": map[string]any{"user": "system:serviceaccount:m2m-system:m2m-issuer", "resourceAttributes": want},
		}}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if allowed, _, _ := unstructured.NestedBool(review.Object, "status", "allowed"); !allowed {
			t.Errorf("issuers may not %v any more", want)
		}
	}
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
