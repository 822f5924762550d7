package main

import (
	"bytes"
	_ "embed" // valuesSchema
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"sigs.k8s.io/yaml"
)

// source is a file of config that the chart has too.
type source struct {
	from, to string
	// condition under which it is rendered; "": always.
	condition string
	// kept by Helm when a release ends.
	kept bool
	// valued is a piece of it, which it has once, and what the values make of that.
	valued [2]string
}

// pullSecrets of a ServiceAccount are those of its pods. The manager applies that of issuers too, and leaves them alone.
var pullSecrets = [2]string{"automountServiceAccountToken: false\n", `automountServiceAccountToken: false
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
`}

var apiServerPorts = [2]string{`
        - {port: 443, protocol: TCP}
        - {port: 6443, protocol: TCP}
`, `
        {{- range .Values.networkPolicies.apiServerPorts }}
        - {port: {{ int . }}, protocol: TCP}
        {{- end }}
`}

var templates = []source{
	{from: "rbac/manager.yaml", to: "rbac-manager.yaml", valued: pullSecrets},
	// Issuers run on when a release ends: without their rights nobody could take anything away from whom they serve.
	{from: "rbac/issuer.yaml", to: "rbac-issuer.yaml", kept: true, valued: pullSecrets},
	{from: "rbac/tenants.yaml", to: "rbac-tenants.yaml"},
	{from: "network/network.yaml", to: "network.yaml", condition: ".Values.networkPolicies.enabled", valued: apiServerPorts},
}

// files are what templates read as they are: their braces are Prometheus' and Grafana's.
var files = []string{"monitors.yaml", "rules.yaml", "dashboard.json"}

// generate writes the parts of the chart that say what config says elsewhere.
func generate(config, chart string) error {
	outputs := map[string][]byte{}
	for _, s := range templates {
		text, err := os.ReadFile(filepath.Join(config, s.from))
		if err != nil {
			return err
		}
		if outputs["templates/"+s.to], err = template(s, text); err != nil {
			return err
		}
	}
	definitions, err := filepath.Glob(filepath.Join(config, "crd/bases/*.yaml"))
	if err != nil || len(definitions) == 0 {
		return fmt.Errorf("there are no definitions in %s: %w", config, err)
	}
	for _, definition := range definitions {
		text, err := os.ReadFile(definition)
		if err != nil {
			return err
		}
		// With a definition all its objects would go.
		s := source{from: "crd/bases/" + filepath.Base(definition), kept: true}
		if outputs["templates/crd-"+filepath.Base(definition)], err = template(s, text); err != nil {
			return err
		}
	}
	for _, name := range files {
		if outputs["files/"+name], err = os.ReadFile(filepath.Join(config, "prometheus", name)); err != nil {
			return err
		}
	}
	if outputs["values.schema.json"], err = schemaOfValues(config); err != nil {
		return err
	}
	for name, text := range outputs {
		path := filepath.Join(chart, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// template makes a template of a manifest: what is in the install namespace is in the values' namespace.
func template(s source, text []byte) ([]byte, error) {
	if bytes.Contains(text, []byte("{{")) {
		return nil, fmt.Errorf("%s holds {{, which a template cannot", s.from)
	}
	if s.kept {
		text = kept(text)
	}
	if piece := []byte(s.valued[0]); len(piece) > 0 {
		if found := bytes.Count(text, piece); found != 1 {
			return nil, fmt.Errorf("%s has %d times what the values change:\n%s", s.from, found, piece)
		}
		text = bytes.Replace(text, piece, []byte(s.valued[1]), 1)
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, "{{- /* Made from config/%s by `make chart-generate`: change that one. */}}\n", s.from)
	if s.condition != "" {
		fmt.Fprintf(&out, "{{- if %s }}\n", s.condition)
	}
	out.Write(bytes.ReplaceAll(text, []byte("namespace: m2m-system\n"), []byte("namespace: {{ .Values.namespace | quote }}\n")))
	if s.condition != "" {
		out.WriteString("{{- end }}\n")
	}
	return out.Bytes(), nil
}

var metadataLines = regexp.MustCompile(`(?m)^metadata:\n(  annotations:\n)?`)

// kept has Helm upgrade what is in a manifest, and never delete it.
func kept(manifest []byte) []byte {
	return metadataLines.ReplaceAllLiteral(manifest, []byte("metadata:\n  annotations:\n    helm.sh/resource-policy: keep\n"))
}

// valuesSchema is the chart's schema but for the spec of a TokenIssuer.
//
//go:embed values.schema.json
var valuesSchema []byte

// schemaOfValues is the chart's with the definition's for spec of a TokenIssuer, so that a bad spec is refused before anything
// is installed.
func schemaOfValues(config string) ([]byte, error) {
	var values map[string]any
	if err := json.Unmarshal(valuesSchema, &values); err != nil {
		return nil, fmt.Errorf("values.schema.json: %w", err)
	}
	definition, err := os.ReadFile(filepath.Join(config, "crd/bases/m2m-operator.io_tokenissuers.yaml"))
	if err != nil {
		return nil, err
	}
	var crd struct {
		Spec struct {
			Versions []struct {
				Schema struct {
					OpenAPIV3Schema struct {
						Properties map[string]map[string]any `json:"properties"`
					} `json:"openAPIV3Schema"`
				} `json:"schema"`
			} `json:"versions"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal(definition, &crd); err != nil {
		return nil, err
	}
	if len(crd.Spec.Versions) != 1 {
		return nil, fmt.Errorf("the TokenIssuer has %d versions: choose one for the chart's values", len(crd.Spec.Versions))
	}
	spec := crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"]
	closeSchema(spec)
	values["$defs"].(map[string]any)["tokenIssuerSpec"] = spec
	out := &bytes.Buffer{}
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	err = encoder.Encode(values)
	return out.Bytes(), err
}

// closeSchema leaves of a definition's schema what a JSON schema says, and refuses properties that it does not name, which
// an API server would drop.
func closeSchema(node map[string]any) {
	if values, ok := node["additionalProperties"].(map[string]any); ok && values["x-kubernetes-int-or-string"] == true {
		node["propertyNames"] = map[string]any{"$ref": "#/$defs/resourceName"} // a map of quantities
	}
	for key := range node {
		if key == "description" || key == "default" || key == "format" || strings.HasPrefix(key, "x-kubernetes-") {
			delete(node, key)
		}
	}
	properties, named := node["properties"].(map[string]any)
	if _, open := node["additionalProperties"]; named && !open {
		node["additionalProperties"] = false
	}
	for _, property := range properties {
		closeSchema(property.(map[string]any))
	}
	for _, key := range []string{"items", "additionalProperties"} {
		if child, ok := node[key].(map[string]any); ok {
			closeSchema(child)
		}
	}
	for _, key := range []string{"allOf", "anyOf", "oneOf"} {
		alternatives, _ := node[key].([]any)
		for _, alternative := range alternatives {
			if child, ok := alternative.(map[string]any); ok {
				closeAlternative(child)
			}
		}
	}
}

// closeAlternative is for a schema that applies beside another one, which names the properties.
func closeAlternative(node map[string]any) {
	_, named := node["properties"]
	closeSchema(node)
	if named {
		delete(node, "additionalProperties")
	}
}
