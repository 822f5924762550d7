package tokens

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/test/bench/report"
)

// Options of a measurement.
type Options struct {
	// Rounds in which everything is measured once, in turn.
	Rounds int
	// Scale is how many requests a probe sends, as a factor of the ordinary number.
	Scale float64
	// Only, if not "", is the one section to measure.
	Only string
	// Profiles is the directory that profiles are written to.
	Profiles string
	// Progress is told of each round.
	Progress io.Writer
}

// probe is something whose cost is measured: requests of one sort to one server.
type probe struct {
	name   string
	server *process
	secure bool
	status int
	of     requests
	n      int
}

// cost of one request, in CPU time of the server and in allocations.
type cost struct {
	micros, allocations float64
}

// measure sends a round of requests.
func (p probe) measure(round int, scale float64) (cost, error) {
	n := max(int(float64(p.n)*scale), connections)
	all := p.of(round, n)
	over, err := open(p.server, p.secure, connections)
	if err != nil {
		return cost{}, err
	}
	defer over.close()
	warm := n / 10
	if err := over.send(all[:warm], p.status); err != nil {
		return cost{}, fmt.Errorf("%s: %w", p.name, err)
	}
	before, err := p.server.order(commandUsage)
	if err != nil {
		return cost{}, err
	}
	if err := over.send(all[warm:], p.status); err != nil {
		return cost{}, fmt.Errorf("%s: %w", p.name, err)
	}
	after, err := p.server.order(commandUsage)
	sent := float64(n - warm)
	return cost{
		micros:      float64((after.CPU - before.CPU).Nanoseconds()) / 1000 / sent,
		allocations: float64(after.Allocations-before.Allocations) / sent,
	}, err
}

func (p pool) close() {
	for _, c := range p {
		_ = c.conn.Close()
	}
}

// raw is work that is measured in this process.
type raw struct {
	name string
	n    int
	work func() error
}

func (r raw) measure(scale float64) (micros float64, err error) {
	n := max(int(float64(r.n)*scale), 1)
	before, err := cpuTime()
	if err != nil {
		return 0, err
	}
	for range n {
		if err := r.work(); err != nil {
			return 0, err
		}
	}
	after, err := cpuTime()
	return float64((after - before).Nanoseconds()) / 1000 / float64(n), err
}

func cpuTime() (time.Duration, error) {
	spent, err := used()
	return spent.CPU, err
}

// group is probes that have one limit: a bare server, some raw work, or both, one after the other.
type group struct {
	section   string
	algorithm v1alpha1.SigningAlgorithm // of tokens, where there is one
	limit     string
	bare      *probe
	raw       *raw
	goal      float64
	probes    []probe

	limits   []cost
	measured [][]cost // by probe
}

// round measures the limit and then each probe.
func (g *group) round(round int, scale float64) error {
	var limit cost
	if g.bare != nil {
		c, err := g.bare.measure(round, scale)
		if err != nil {
			return fmt.Errorf("%s: %w", g.limit, err)
		}
		limit = c
	}
	if g.raw != nil {
		micros, err := g.raw.measure(scale)
		if err != nil {
			return fmt.Errorf("%s: %w", g.raw.name, err)
		}
		limit.micros += micros
	}
	g.limits = append(g.limits, limit)
	g.measured = append(g.measured, make([][]cost, len(g.probes)-len(g.measured))...)
	for i, p := range g.probes {
		c, err := p.measure(round, scale)
		if err != nil {
			return err
		}
		g.measured[i] = append(g.measured[i], c)
	}
	return nil
}

// rows of the table.
func (g *group) rows() []report.Row {
	micros := func(costs []cost) (out []float64) {
		for _, c := range costs {
			out = append(out, c.micros)
		}
		return out
	}
	var rows []report.Row
	for i, p := range g.probes {
		rows = append(rows, report.NewRow(g.section, p.name, "µs", micros(g.measured[i]), g.limit, micros(g.limits), g.goal))
	}
	return rows
}

// Measure measures everything.
func Measure(ctx context.Context, o Options) (rows []report.Row, err error) {
	s, err := newSetup(ctx)
	defer func() { err = errors.Join(err, s.stop()) }()
	if err != nil {
		return nil, err
	}
	groups, err := s.groups()
	if err != nil {
		return nil, err
	}
	for round := range o.Rounds {
		started := time.Now()
		for _, g := range groups {
			if o.Only != "" && o.Only != g.section {
				continue
			}
			if err := g.round(round, o.Scale); err != nil {
				return nil, fmt.Errorf("%s: %w", g.section, err)
			}
		}
		_, _ = fmt.Fprintf(o.Progress, "round %d of %d: %v\n", round+1, o.Rounds, time.Since(started).Round(time.Second))
	}
	for _, g := range groups {
		if len(g.limits) > 0 {
			rows = append(rows, g.rows()...)
		}
	}
	counted, err := s.allocations(groups)
	if err != nil {
		return nil, err
	}
	rows = append(rows, counted...)
	if o.Only == "" || o.Only == sectionLatency {
		latency, err := s.latency(o)
		if err != nil {
			return nil, err
		}
		rows = append(rows, latency...)
	}
	return rows, s.profile(o)
}
