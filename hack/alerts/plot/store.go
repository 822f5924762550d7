package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/tsdb"
)

type target struct{ pod, url string }

// store is a Prometheus of three minutes.
type store struct {
	directory string
	db        *tsdb.DB
	engine    *promql.Engine
}

func openStore() (*store, error) {
	directory, err := os.MkdirTemp("", "plot-")
	if err != nil {
		return nil, err
	}
	db, err := tsdb.Open(directory, slog.New(slog.DiscardHandler), nil, tsdb.DefaultOptions(), nil)
	if err != nil {
		return nil, err
	}
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 1e7, Timeout: time.Minute, LookbackDelta: 10 * time.Second})
	return &store{directory, db, engine}, nil
}

func (s *store) close() {
	_ = s.db.Close()
	_ = os.RemoveAll(s.directory)
}

// scrape asks every target again and again.
func (s *store) scrape(ctx context.Context, o options) error {
	client := &http.Client{Timeout: o.every, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // as in the ServiceMonitor of the manager
	}}
	ticker := time.NewTicker(o.every)
	defer ticker.Stop()
	for end := time.Now().Add(o.duration); time.Now().Before(end); <-ticker.C {
		for _, t := range o.targets {
			if err := s.scrapeOne(ctx, client, t, o.token); err != nil {
				return fmt.Errorf("%s: %w", t.url, err)
			}
		}
	}
	return nil
}

func (s *store) scrapeOne(ctx context.Context, client *http.Client, t target, token string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, t.url, nil)
	if err != nil {
		return err
	}
	if token != "" && request.URL.Scheme == "https" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("it answers %s", response.Status)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(response.Body)
	if err != nil {
		return err
	}
	now := model.Now()
	appender := s.db.Appender(ctx)
	for _, family := range families {
		samples, err := expfmt.ExtractSamples(&expfmt.DecodeOptions{Timestamp: now}, family)
		if err != nil {
			return err
		}
		for _, sample := range samples {
			set := labels.NewBuilder(labels.EmptyLabels())
			for name, value := range sample.Metric {
				set.Set(string(name), string(value))
			}
			set.Set("pod", t.pod).Set("instance", request.URL.Host)
			if strings.HasPrefix(family.GetName(), "m2m_issuer_") {
				set.Set("token_issuer", "default")
			}
			if _, err := appender.Append(0, set.Labels(), int64(now), float64(sample.Value)); err != nil {
				return err
			}
		}
	}
	return appender.Commit()
}

// panel of the dashboard with what its queries give.
type panel struct {
	title, kind, unit string
	x, y, w, h        int
	queries           []query
	lines             []line
}

type query struct{ expr, legend string }

// line is a series with its name in the legend.
type line struct {
	name   string
	points []promql.FPoint
}

func readDashboard(path string) ([]panel, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var d struct {
		Panels []struct {
			Title, Type string
			GridPos     struct{ X, Y, W, H int }
			FieldConfig struct{ Defaults struct{ Unit string } }
			Targets     []struct{ Expr, LegendFormat string }
		}
	}
	if err := json.Unmarshal(text, &d); err != nil {
		return nil, err
	}
	var out []panel
	for _, p := range d.Panels {
		at := p.GridPos
		drawn := panel{title: p.Title, kind: p.Type, unit: p.FieldConfig.Defaults.Unit, x: at.X, y: at.Y, w: at.W, h: at.H}
		for _, t := range p.Targets {
			drawn.queries = append(drawn.queries, query{strings.ReplaceAll(t.Expr, "$__rate_interval", rateInterval), t.LegendFormat})
		}
		out = append(out, drawn)
	}
	return out, nil
}

// ask fills in a panel's lines.
func (s *store) ask(ctx context.Context, p *panel, start, end time.Time, step time.Duration) error {
	for _, q := range p.queries {
		asked, err := s.engine.NewRangeQuery(ctx, s.db, nil, q.expr, start, end, step)
		if err != nil {
			return err
		}
		matrix, err := asked.Exec(ctx).Matrix()
		if err != nil {
			return err
		}
		for _, series := range matrix {
			name := q.legend
			series.Metric.Range(func(l labels.Label) {
				name = strings.ReplaceAll(name, "{{"+l.Name+"}}", l.Value)
			})
			points := append([]promql.FPoint(nil), series.Floats...)
			p.lines = append(p.lines, line{name, points})
		}
		asked.Close()
	}
	return nil
}
