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

// sitting is a round of a probe: its requests, and the connections that they go over.
type sitting struct {
	probe
	all  [][]byte
	over pool
	sum  usage
}

// turns that a round is cut into: what is compared takes turns, so that whatever else the machine is doing for a while
// is part of both.
const turns = 20

// sit opens connections, and sends some requests that do not count.
func (p probe) sit(round int, scale float64) (*sitting, error) {
	n := max(int(float64(p.n)*scale), connections*turns)
	warm := n / 10
	all := p.of(round, warm+n)
	over, err := open(p.server, p.secure, connections)
	if err != nil {
		return nil, err
	}
	s := &sitting{probe: p, all: all[warm:], over: over}
	if err := over.send(all[:warm], p.status); err != nil {
		over.close()
		return nil, fmt.Errorf("%s: %w", p.name, err)
	}
	return s, nil
}

// turn sends the requests of a turn.
func (s *sitting) turn(i int) error {
	part := s.all[len(s.all)*i/turns : len(s.all)*(i+1)/turns]
	before, err := s.server.order(commandUsage)
	if err != nil {
		return err
	}
	if err := s.over.send(part, s.status); err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	after, err := s.server.atRest()
	s.sum.CPU += after.CPU - before.CPU
	s.sum.Allocations += after.Allocations - before.Allocations
	return err
}

// cost of a request.
func (s *sitting) cost() cost {
	sent := float64(len(s.all))
	return cost{micros: float64(s.sum.CPU.Nanoseconds()) / 1000 / sent, allocations: float64(s.sum.Allocations) / sent}
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

// measure does a part of the work of a round.
func (r raw) measure(part float64) (micros float64, err error) {
	n := max(int(float64(r.n)*part), 1)
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

// round measures the limit and each probe, in turn.
func (g *group) round(round int, scale float64) error {
	probes := g.probes
	if g.bare != nil {
		probes = append([]probe{*g.bare}, probes...)
	}
	var sittings []*sitting
	defer func() {
		for _, s := range sittings {
			s.over.close()
		}
	}()
	for _, p := range probes {
		s, err := p.sit(round, scale)
		if err != nil {
			return err
		}
		sittings = append(sittings, s)
	}
	var limit cost
	for i := range turns {
		if g.raw != nil {
			micros, err := g.raw.measure(scale / turns)
			if err != nil {
				return fmt.Errorf("%s: %w", g.raw.name, err)
			}
			limit.micros += micros / turns
		}
		for _, s := range sittings {
			if err := s.turn(i); err != nil {
				return err
			}
		}
	}
	g.take(limit, sittings)
	return nil
}

// take the costs of a round, in which the limit is of raw work so far.
func (g *group) take(limit cost, sittings []*sitting) {
	if g.bare != nil {
		bare := sittings[0].cost()
		limit.micros += bare.micros
		limit.allocations = bare.allocations
		sittings = sittings[1:]
	}
	g.limits = append(g.limits, limit)
	g.measured = append(g.measured, make([][]cost, len(g.probes)-len(g.measured))...)
	for i, s := range sittings {
		g.measured[i] = append(g.measured[i], s.cost())
	}
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
	divided, err := divide()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, divided.reunite()) }()
	s, err := newSetup(ctx, divided)
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
