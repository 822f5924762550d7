package alerts

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"sigs.k8s.io/yaml"
)

const (
	monitoring = "../../config/prometheus"
	documents  = "../../docs/operating"
)

var promql = parser.NewParser(parser.Options{})

func read(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// alertRules are those of config/prometheus, as Prometheus reads them.
func alertRules(t testing.TB) []rulefmt.Rule {
	t.Helper()
	var object monitoringv1.PrometheusRule
	if err := yaml.UnmarshalStrict([]byte(read(t, filepath.Join(monitoring, "rules.yaml"))), &object); err != nil {
		t.Fatal(err)
	}
	spec, err := yaml.Marshal(object.Spec)
	if err != nil {
		t.Fatal(err)
	}
	groups, problems := rulefmt.Parse(spec, false, model.UTF8Validation, promql, slog.New(slog.DiscardHandler))
	for _, problem := range problems {
		t.Fatal(problem)
	}
	var rules []rulefmt.Rule
	for _, group := range groups.Groups {
		rules = append(rules, group.Rules...)
	}
	return rules
}

// TestMonitors: they are what the Prometheus Operator takes, and select the Services beside them.
func TestMonitors(t *testing.T) {
	services, monitors := map[string]map[string]string{}, 0
	for document := range strings.SplitSeq(read(t, filepath.Join(monitoring, "monitors.yaml")), "\n---\n") {
		switch {
		case strings.Contains(document, "kind: Service\n"):
			var service struct {
				Metadata struct{ Labels map[string]string }
				Spec     struct{ Ports []struct{ Name string } }
			}
			if err := yaml.Unmarshal([]byte(document), &service); err != nil {
				t.Fatal(err)
			}
			services[service.Spec.Ports[0].Name] = service.Metadata.Labels
		case strings.Contains(document, "kind: ServiceMonitor\n"):
			monitors++
			var monitor monitoringv1.ServiceMonitor
			if err := yaml.UnmarshalStrict([]byte(document), &monitor); err != nil {
				t.Fatal(err)
			}
			for _, endpoint := range monitor.Spec.Endpoints {
				labels, known := services[endpoint.Port]
				if !known {
					t.Errorf("%s: no Service has a port %s", monitor.Name, endpoint.Port)
				}
				for key, value := range monitor.Spec.Selector.MatchLabels {
					if labels[key] != value {
						t.Errorf("%s selects %s=%s, and its Service has %q", monitor.Name, key, value, labels[key])
					}
				}
			}
		}
	}
	if monitors != 2 {
		t.Errorf("there are %d ServiceMonitors", monitors)
	}
}

// TestRunbooks: each alert says how bad it is and what it is about, and has a section of the page that says what to do.
func TestRunbooks(t *testing.T) {
	page := read(t, filepath.Join(documents, "alerts.md"))
	for _, rule := range alertRules(t) {
		if !slices.Contains([]string{"critical", "warning", "info"}, rule.Labels["severity"]) {
			t.Errorf("%s has the severity %q", rule.Alert, rule.Labels["severity"])
		}
		if rule.Annotations["summary"] == "" || rule.Annotations["description"] == "" {
			t.Errorf("%s does not say what it is about", rule.Alert)
		}
		url, anchor, _ := strings.Cut(rule.Annotations["runbook_url"], "#")
		if !strings.HasSuffix(url, "/docs/operating/alerts.md") {
			t.Errorf("%s has the runbook %q", rule.Alert, url)
		}
		section := sectionOf(page, anchor)
		if section == "" {
			t.Errorf("%s: the page has no section %q", rule.Alert, anchor)
		} else if !strings.Contains(section, "`"+rule.Alert+"`") {
			t.Errorf("the section %q does not name %s", anchor, rule.Alert)
		}
	}
	for _, name := range regexp.MustCompile("`(M2M[A-Z][A-Za-z]+)`").FindAllStringSubmatch(page, -1) {
		known := name[1] == "M2MClient"
		for _, rule := range alertRules(t) {
			known = known || rule.Alert == name[1]
		}
		if !known {
			t.Errorf("the page tells of %s, which is no alert", name[1])
		}
	}
}

// sectionOf is the text below the heading with the anchor, "" if there is none.
func sectionOf(page, anchor string) string {
	var section bytes.Buffer
	inside := false
	for line := range strings.Lines(page) {
		if heading, ok := strings.CutPrefix(line, "## "); ok {
			inside = strings.ReplaceAll(strings.ToLower(strings.TrimSpace(heading)), " ", "-") == anchor
			continue
		}
		if inside {
			section.WriteString(line)
		}
	}
	return section.String()
}
