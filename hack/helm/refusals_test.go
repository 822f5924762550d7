package main

import (
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	"helm.sh/helm/v3/pkg/strvals"
)

// TestLint: not even a warning.
func TestLint(t *testing.T) {
	for _, message := range lint.AllWithKubeVersionAndSchemaValidation(chartDirectory, nil, "default", nil, false).Messages {
		if message.Severity > support.InfoSev {
			t.Error(message)
		}
	}
}

// TestBadValues are refused with the place and the reason, before anything is rendered.
func TestBadValues(t *testing.T) {
	for set, want := range map[string]string{
		"unknown=1":                                   "additional properties 'unknown' not allowed",
		"namespace=":                                  "'/namespace'",
		"namespace=M2M":                               "'/namespace'",
		"namespace=a.b":                               "'/namespace'",
		"image.name=x":                                "additional properties 'name' not allowed",
		"image.repository=":                           "'/image/repository'",
		"image.repository=a/b:v1":                     "'/image/repository'",
		"image.repository=https://example.com/x":      "'/image/repository'",
		"image.tag=a:b":                               "'/image/tag'",
		"image.tag=1":                                 "'/image/tag': got number, want string",
		"image.digest=sha256:12":                      "'/image/digest'",
		"image.pullPolicy=Sometimes":                  "'/image/pullPolicy'",
		"manager.replicas=0":                          "'/manager/replicas': minimum: got 0, want 1",
		"manager.replicas=two":                        "'/manager/replicas': got string, want integer",
		"manager.replicas=1.5":                        "'/manager/replicas'",
		"manager.resources.request.cpu=1":             "additional properties 'request' not allowed",
		"manager.resources.limits.memory=lots":        "'/manager/resources/limits/memory'",
		"manager.resources.limits.memory=-1":          "'/manager/resources/limits/memory'",
		"tokenIssuer.create=maybe":                    "'/tokenIssuer/create': got string, want boolean",
		"tokenIssuer.spec.uri=https://x.example.com":  "additional properties 'uri' not allowed",
		"tokenIssuer.spec.url=http://x.example.com":   "'/tokenIssuer/spec/url'",
		"tokenIssuer.spec.signing.algorithms={HS256}": "'/tokenIssuer/spec/signing/algorithms/0'",
		"tokenIssuer.spec.deployment.replicas=0":      "'/tokenIssuer/spec/deployment/replicas'",
		"tokenIssuer.spec.deployment.affinity.x=1":    "additional properties 'x' not allowed",
		"tokenIssuer.spec.tls.secretName=":            "'/tokenIssuer/spec/tls/secretName'",
		"networkPolicies.enabled=1":                   "'/networkPolicies/enabled': got number, want boolean",
		"networkPolicies.disabled=true":               "additional properties 'disabled' not allowed",
		"serviceMonitor.enabled=on":                   "'/serviceMonitor/enabled': got string, want boolean",
		"serviceMonitor.labels.release=1":             "'/serviceMonitor/labels/release': got number, want string",
		"prometheusRule.labels.a b=x":                 "invalid propertyName 'a b'",
		"prometheusRule.labels.release=a b":           "'/prometheusRule/labels/release'",
		"dashboard.labels=grafana":                    "'/dashboard/labels': got string, want object",
	} {
		v, err := strvals.Parse(set)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := render(t, "default", v); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", set, err, want)
		}
	}
}

// TestGoodValues are those next to the bad ones.
func TestGoodValues(t *testing.T) {
	for _, set := range []string{
		"global.imageRegistry=registry.example.com", "namespace=a", "image.repository=m2m-operator",
		"image.repository=registry.example.com:5000/a_b/c--d/m2m-operator", "image.tag=v1.2.3-rc.1_x",
		"manager.replicas=1", "manager.resources.limits.memory=1073741824", "manager.resources=null",
		"manager.resources.requests.cpu=0.5", "tokenIssuer.create=false",
		"tokenIssuer.spec.url=https://tokens.example.com/m2m", "tokenIssuer.spec.signing.algorithms={RS256,EdDSA}",
		"serviceMonitor.labels.prometheus\\.io/instance=a.b-c_d", "dashboard.labels.a=",
	} {
		v, err := strvals.Parse(set)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := render(t, "default", v); err != nil {
			t.Errorf("%s: %v", set, err)
		}
	}
}

// TestImage: a digest goes before a tag, and a tag before the chart's appVersion.
func TestImage(t *testing.T) {
	digest := "sha256:" + strings.Repeat("0", 64)
	for set, want := range map[string]string{
		"image.tag=":                              "localhost/m2m-operator:dev",
		"image.tag=v1":                            "localhost/m2m-operator:v1",
		"image.tag=v1,image.digest=" + digest:     "localhost/m2m-operator@" + digest,
		"image.repository=registry.example.com/x": "registry.example.com/x:dev",
	} {
		v, err := strvals.Parse(set)
		if err != nil {
			t.Fatal(err)
		}
		deployment := rendered(t, "default", v)["Deployment m2m-system m2m-manager"]
		if text, err := deployment.MarshalJSON(); err != nil || !strings.Contains(string(text), `"image":"`+want+`"`) {
			t.Errorf("%s: the image is not %s (%v)", set, want, err)
		}
	}
}

// TestSpecKeepsItsDollars: Kubernetes would put a variable of the container in the place of $(NAME).
func TestSpecKeepsItsDollars(t *testing.T) {
	deployment := rendered(t, "default", values{"tokenIssuer": values{"spec": values{"url": "https://x/$(POD_NAME)"}}})["Deployment m2m-system m2m-manager"]
	if text, err := deployment.MarshalJSON(); err != nil || !strings.Contains(string(text), `https://x/$$(POD_NAME)`) {
		t.Errorf("%s (%v)", text, err)
	}
}

func TestTheChartIsWhole(t *testing.T) {
	c, err := loader.Load(chartDirectory)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err != nil || len(c.CRDObjects()) > 0 {
		t.Errorf("%v; definitions in crds/, which Helm never upgrades: %d", err, len(c.CRDObjects()))
	}
}
