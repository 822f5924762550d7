package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	"helm.sh/helm/v3/pkg/strvals"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
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
		"unknown=1":                                                       "additional properties 'unknown' not allowed",
		"namespace=":                                                      "'/namespace'",
		"namespace=M2M":                                                   "'/namespace'",
		"namespace=a.b":                                                   "'/namespace'",
		"image.name=x":                                                    "additional properties 'name' not allowed",
		"image.repository=":                                               "'/image/repository'",
		"image.repository=a/b:v1":                                         "'/image/repository'",
		"image.repository=https://example.com/x":                          "'/image/repository'",
		"image.tag=a:b":                                                   "'/image/tag'",
		"image.tag=1":                                                     "'/image/tag': got number, want string",
		"image.digest=sha256:12":                                          "'/image/digest'",
		"image.pullPolicy=Sometimes":                                      "'/image/pullPolicy'",
		"manager.replicas=0":                                              "'/manager/replicas': minimum: got 0, want 1",
		"manager.replicas=two":                                            "'/manager/replicas': got string, want integer",
		"manager.replicas=1.5":                                            "'/manager/replicas'",
		"manager.resources.request.cpu=1":                                 "additional properties 'request' not allowed",
		"manager.resources.limits.memory=lots":                            "'/manager/resources/limits/memory'",
		"manager.resources.limits.memory=-1":                              "'/manager/resources/limits/memory'",
		"manager.resources.limits.memroy=1Gi":                             "invalid propertyName 'memroy'",
		"manager.nodeSelector.a=1":                                        "'/manager/nodeSelector/a': got number, want string",
		"manager.tolerations[0].keys=x":                                   "additional properties 'keys' not allowed",
		"manager.affinity.podAfinity=x":                                   "additional properties 'podAfinity' not allowed",
		"manager.priorityClassName=A":                                     "'/manager/priorityClassName'",
		"image.pullSecrets={A}":                                           "'/image/pullSecrets/0'",
		"enabled=maybe":                                                   "'/enabled': got string, want boolean",
		"networkPolicies.apiServerPorts={https}":                          "'/networkPolicies/apiServerPorts/0': got string, want integer",
		"networkPolicies.apiServerPorts={0}":                              "'/networkPolicies/apiServerPorts/0': minimum: got 0, want 1",
		"serviceMonitor.authorization.credentials.name=x":                 "'/serviceMonitor/authorization/credentials': missing property 'key'",
		"tokenIssuer.create=maybe":                                        "'/tokenIssuer/create': got string, want boolean",
		"tokenIssuer.spec.uri=https://x.example.com":                      "additional properties 'uri' not allowed",
		"tokenIssuer.spec.url=http://x.example.com":                       "'/tokenIssuer/spec/url'",
		"tokenIssuer.spec.signing.algorithms={HS256}":                     "'/tokenIssuer/spec/signing/algorithms/0'",
		"tokenIssuer.spec.deployment.replicas=0":                          "'/tokenIssuer/spec/deployment/replicas'",
		"tokenIssuer.spec.deployment.affinity.x=1":                        "additional properties 'x' not allowed",
		"tokenIssuer.spec.deployment.resources.limits.memroy=1Gi":         "invalid propertyName 'memroy'",
		"tokenIssuer.create=false,tokenIssuer.spec.tokens.maxLifetime=1h": "tokenIssuer.spec is what tokenIssuer.create=true makes",
		"tokenIssuer.spec.tokens.maxLifetime=1h,tokenIssuer.spec.tokens.defaultLifetime=2h": "tokenIssuer.spec.tokens.defaultLifetime: 2h is longer than 1h",
		"tokenIssuer.spec.tokens.maxLifetime=2x":                                            "'/tokenIssuer/spec/tokens/maxLifetime'",
		"tokenIssuer.spec.tls.secretName=":                                                  "'/tokenIssuer/spec/tls/secretName'",
		"networkPolicies.enabled=1":                                                         "'/networkPolicies/enabled': got number, want boolean",
		"networkPolicies.disabled=true":                                                     "additional properties 'disabled' not allowed",
		"serviceMonitor.enabled=on":                                                         "'/serviceMonitor/enabled': got string, want boolean",
		"serviceMonitor.labels.release=1":                                                   "'/serviceMonitor/labels/release': got number, want string",
		"prometheusRule.labels.a b=x":                                                       "invalid propertyName 'a b'",
		"prometheusRule.labels.release=a b":                                                 "'/prometheusRule/labels/release'",
		"dashboard.labels=grafana":                                                          "'/dashboard/labels': got string, want object",
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
		"manager.resources.requests.cpu=0.5", "tokenIssuer.create=false", "enabled=true",
		"manager.resources.limits.hugepages-2Mi=4Mi", "manager.resources.limits.example\\.com/gpu=1",
		"manager.nodeSelector.kubernetes\\.io/arch=amd64", "manager.tolerations[0].operator=Exists",
		"image.pullSecrets={a,b.c}", "networkPolicies.apiServerPorts={443,8443}",
		"tokenIssuer.spec.tokens.maxLifetime=90m,tokenIssuer.spec.tokens.defaultLifetime=1h30m",
		"tokenIssuer.spec.deployment.resources.requests.cpu=500m",
		"serviceMonitor.authorization.credentials.name=x,serviceMonitor.authorization.credentials.key=token",
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

// TestDurationRules: a duration that the definition would refuse is refused by the chart.
func TestDurationRules(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(config, "crd/bases/m2m-operator.io_tokenissuers.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var definition map[string]any
	if err := yaml.Unmarshal(text, &definition); err != nil {
		t.Fatal(err)
	}
	versions, _, err := unstructured.NestedSlice(definition, "spec", "versions")
	if err != nil {
		t.Fatal(err)
	}
	spec, _, err := unstructured.NestedMap(versions[0].(map[string]any), "schema", "openAPIV3Schema", "properties", "spec")
	if err != nil {
		t.Fatal(err)
	}
	bounds := map[string]string{}
	boundsOf(spec, "tokenIssuer.spec", bounds)
	for path, bound := range bounds {
		field, longest := strings.CutSuffix(path, "<")
		limit, err := time.ParseDuration(bound)
		if err != nil {
			t.Fatal(err)
		}
		beyond := limit - time.Second
		if longest {
			beyond = limit + time.Second
		}
		for value, want := range map[string]string{bound: "", beyond.String(): field + ": "} {
			v, err := strvals.Parse(field + "=" + value)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := render(t, "default", v); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%s=%s: %v", field, value, err)
			}
		}
	}
	if len(bounds) != 7 {
		t.Errorf("the definition bounds %v", bounds)
	}
}

var boundRule = regexp.MustCompile(`duration\(self\)\s*([<>])=\s*duration\('([0-9a-z]+)'\)`)

// boundsOf are the bounds of durations in a schema, by the path of the field and, for the longest, a <.
func boundsOf(schema map[string]any, path string, bounds map[string]string) {
	rules, _ := schema["x-kubernetes-validations"].([]any)
	for _, rule := range rules {
		text, _ := rule.(map[string]any)["rule"].(string)
		for _, match := range boundRule.FindAllStringSubmatch(text, -1) {
			bounds[path+strings.TrimPrefix(match[1], ">")] = match[2]
		}
	}
	properties, _ := schema["properties"].(map[string]any)
	for name, property := range properties {
		boundsOf(property.(map[string]any), path+"."+name, bounds)
	}
}
