package alerts

import (
	"encoding/json"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// panel of a dashboard.
type panel struct {
	Title   string
	Type    string
	ID      int
	GridPos struct{ X, Y, W, H int }
	Targets []struct{ Expr, LegendFormat string }
}

func dashboard(t testing.TB) []panel {
	t.Helper()
	var d struct{ Panels []panel }
	if err := json.Unmarshal([]byte(read(t, filepath.Join(monitoring, "dashboard.json"))), &d); err != nil {
		t.Fatal(err)
	}
	return d.Panels
}

// query is an expression of the dashboard as Prometheus gets it from Grafana.
func query(expr string) string { return strings.ReplaceAll(expr, "$__rate_interval", "5m") }

// documented are the metrics that docs/operating/metrics.md names. That these are those that exist is tested where they
// are made.
func documented(t testing.TB) []string {
	t.Helper()
	var names []string
	for _, match := range regexp.MustCompile("`([a-z0-9_]+_[a-z0-9_]+)`").FindAllStringSubmatch(read(t, filepath.Join(documents, "metrics.md")), -1) {
		names = append(names, match[1])
	}
	return names
}

// checkQuery parses an expression and looks for the metrics that it asks for.
func checkQuery(t *testing.T, where, text string, names []string) {
	t.Helper()
	expr, err := promql.ParseExpr(text)
	if err != nil {
		t.Errorf("%s: %v in %s", where, err, text)
		return
	}
	asked := 0
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if selector, ok := node.(*parser.VectorSelector); ok {
			asked++
			if name := strings.TrimSuffix(selector.Name, "_bucket"); !slices.Contains(names, name) {
				t.Errorf("%s asks for %s, which docs/operating/metrics.md does not have", where, selector.Name)
			}
		}
		return nil
	})
	if asked == 0 {
		t.Errorf("%s asks for no metric", where)
	}
}

// TestQueriesAskForOurs: other operators and programs have metrics of the same name, which ours are told from by a label of
// their own, or by metrics that only we have, at the same instance.
func TestQueriesAskForOurs(t *testing.T) {
	for _, rule := range alertRules(t) {
		checkOurs(t, rule.Alert, rule.Expr)
	}
	for _, p := range dashboard(t) {
		for _, target := range p.Targets {
			checkOurs(t, p.Title, query(target.Expr))
		}
	}
	for _, everybodys := range []string{
		"workqueue_depth", "sum(m2m_issuer_synced) / sum(rate(process_cpu_seconds_total[5m]))",
		`workqueue_depth{name="tokenissuer"}`, "workqueue_depth and on (job) m2m_issuer_synced",
	} {
		expr, err := promql.ParseExpr(everybodys)
		if err != nil {
			t.Fatal(err)
		}
		if len(strangers(expr)) == 0 {
			t.Errorf("%s is taken for ours", everybodys)
		}
	}
}

func checkOurs(t *testing.T, where, text string) {
	t.Helper()
	expr, err := promql.ParseExpr(text)
	if err != nil {
		t.Errorf("%s: %v in %s", where, err, text)
		return
	}
	for _, name := range strangers(expr) {
		t.Errorf("%s asks for everybody's %s in %s", where, name, text)
	}
}

// strangers are the metrics in an expression that are not ours alone, and are not made so.
func strangers(expr parser.Expr) (names []string) {
	parser.Inspect(expr, func(node parser.Node, path []parser.Node) error {
		selector, ok := node.(*parser.VectorSelector)
		if !ok || strings.HasPrefix(selector.Name, "m2m_") {
			return nil
		}
		named := slices.ContainsFunc(selector.LabelMatchers, func(m *labels.Matcher) bool {
			return m.Name == "name" && m.Type == labels.MatchEqual && m.Value == "m2m-manager" // the lease
		})
		joined := slices.ContainsFunc(path, joinsOurs)
		if !named && !joined {
			names = append(names, selector.Name)
		}
		return nil
	})
	return names
}

// joinsOurs reports whether an expression leaves of its left side what is at the instances of a metric of ours.
func joinsOurs(node parser.Node) bool {
	binary, ok := node.(*parser.BinaryExpr)
	if !ok || binary.Op != parser.LAND || !slices.Equal(binary.VectorMatching.MatchingLabels, []string{"instance"}) {
		return false
	}
	ours, ok := binary.RHS.(*parser.VectorSelector)
	return ok && strings.HasPrefix(ours.Name, "m2m_")
}

func TestEveryQueryNamesAnExistingMetric(t *testing.T) {
	names := documented(t)
	rules, panels := alertRules(t), dashboard(t)
	for _, rule := range rules {
		checkQuery(t, rule.Alert, rule.Expr, names)
	}
	queries := 0
	for _, p := range panels {
		for _, target := range p.Targets {
			queries++
			checkQuery(t, p.Title, query(target.Expr), names)
		}
	}
	if len(rules) < 10 || queries < 20 {
		t.Errorf("there are %d alerts and %d queries", len(rules), queries)
	}
}

// TestDashboardLayout: Grafana moves panels that lie on each other, and mixes up those of one id.
func TestDashboardLayout(t *testing.T) {
	taken, ids := map[[2]int]string{}, map[int]string{}
	for _, p := range dashboard(t) {
		if other, there := ids[p.ID]; there {
			t.Errorf("%q and %q have the id %d", p.Title, other, p.ID)
		}
		ids[p.ID] = p.Title
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other, there := taken[[2]int{x, y}]; there || x >= 24 {
					t.Fatalf("%q lies on %q, or outside", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("%q shows nothing", p.Title)
		}
	}
}
