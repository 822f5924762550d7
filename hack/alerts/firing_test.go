package alerts

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/rules"
)

// horizon is for how long each test of an alert lasts: longer than any alert waits.
const horizon = 60

// play evaluates an alert every minute over series in the notation of promtool. It returns the minute in which the alert
// first fires, -1 if it never does, and the annotations of then, by the alert's labels.
func play(t *testing.T, rule rulefmt.Rule, series []string) (int, map[string]string) {
	t.Helper()
	storage := promqltest.LoadedStorage(t, "load 1m\n  "+strings.Join(series, "\n  "))
	engine := promqltest.NewTestEngine(t, false, 5*time.Minute, promqltest.DefaultMaxSamplesPerQuery)
	expr, err := promql.ParseExpr(rule.Expr)
	if err != nil {
		t.Fatal(err)
	}
	alert := rules.NewAlertingRule(rule.Alert, expr, time.Duration(rule.For), 0, labels.FromMap(rule.Labels),
		labels.FromMap(rule.Annotations), labels.EmptyLabels(), "", false, slog.New(slog.DiscardHandler))
	for minute := range horizon {
		at := time.Unix(0, 0).Add(time.Duration(minute) * time.Minute)
		if _, err := alert.Eval(context.Background(), 0, at, rules.EngineQueryFunc(engine, storage), &url.URL{}, 0); err != nil {
			t.Fatal(err)
		}
		said := map[string]string{}
		for _, active := range alert.ActiveAlerts() {
			if active.State == rules.StateFiring {
				said[active.Annotations.Get("summary")] = active.Annotations.Get("description")
			}
		}
		if len(said) > 0 {
			return minute, said
		}
	}
	return -1, nil
}

func TestAlerts(t *testing.T) {
	tested := map[string]bool{}
	all := map[string]rulefmt.Rule{}
	for _, rule := range alertRules(t) {
		all[rule.Alert] = rule
	}
	for _, test := range alertTests {
		rule, known := all[test.alert]
		if !known {
			t.Errorf("there is no alert %s", test.alert)
			continue
		}
		tested[test.alert] = true
		t.Run(test.alert, func(t *testing.T) {
			minute, said := play(t, rule, test.fires)
			if minute != test.minute {
				t.Errorf("it fires in minute %d, want %d", minute, test.minute)
			}
			description, found := said[test.summary]
			if !found {
				t.Errorf("it says %q, want %q", said, test.summary)
			}
			for text := range said {
				if strings.Contains(text+description, "<no value>") || strings.Contains(text+description, "error expanding") {
					t.Errorf("it says %q: %q", text, description)
				}
			}
			for i, quiet := range test.silent {
				if minute, said := play(t, rule, quiet); minute != -1 {
					t.Errorf("silent %d: it fires in minute %d: %v", i, minute, said)
				}
			}
			if len(test.silent) == 0 {
				t.Error("nothing shows when it does not fire")
			}
		})
	}
	for name := range all {
		if !tested[name] {
			t.Errorf("%s has no test", name)
		}
	}
}

const week, day = 7 * 24 * 3600, 24 * 3600

func certificate(ends int) string {
	return fmt.Sprintf(`m2m_issuer_certificate_expiry_timestamp_seconds{token_issuer="default"} %dx%d`, ends, horizon)
}
