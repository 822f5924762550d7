package tokens

import (
	"fmt"
	"slices"
	"time"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/test/bench/report"
)

const (
	// latencyConnections is how many requests may be on their way at once while latency is measured.
	latencyConnections = 32
	latencyNumber      = 20000
	// leastAbsence is more than what the load does between two looks.
	leastAbsence = 200 * time.Microsecond
)

// latency measures the 99th percentile while requests come at half the rate at which the issuer's processors have no time
// left.
func (s *setup) latency(o Options) ([]report.Row, error) {
	signers, err := newSigners(s.world)
	if err != nil {
		return nil, err
	}
	input := make([]byte, signedSize)
	sign := raw{name: "raw ES256", n: ordinaryNumber, work: func() error { return signers[v1alpha1.ES256](input) }}
	token := s.token("token, ES256, p99", special(string(v1alpha1.ES256), "read"))
	floor := named("of the floor, p99", *s.floor(v1alpha1.ES256, false))
	probes := []probe{floor, token}
	var limits []float64
	measured := make([][]float64, len(probes))
	absences := make([][]float64, len(probes))
	for round := range o.Rounds {
		limit, err := sign.measure(o.Scale)
		if err != nil {
			return nil, err
		}
		limits = append(limits, limit)
		for i, p := range probes {
			all, err := p.latencies(round, o.Scale)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", p.name, err)
			}
			measured[i] = append(measured[i], report.Quantile(all.micros, 0.99))
			absences[i] = append(absences[i], all.absence(0.99))
		}
	}
	const absence = "of the load's own processor meanwhile"
	return []report.Row{
		report.NewRow(sectionLatency, floor.name, "µs", measured[0], sign.name, limits, 0),
		report.NewRow(sectionLatency, absence, "µs", absences[0], sign.name, limits, 0),
		report.NewRow(sectionLatency, token.name, "µs", measured[1], sign.name, limits, 10),
		report.NewRow(sectionLatency, absence, "µs", absences[1], sign.name, limits, 0),
	}, nil
}

// paced is what came of requests that were sent at a rate.
type paced struct {
	// micros that each took.
	micros []float64
	// took is how long it all took, and gaps are how long the load, which looks all the time, was kept from looking.
	took time.Duration
	gaps []time.Duration
}

// absence is how many microseconds something that takes no time at all would have waited, in this part of all cases, for
// the load's processor to be there: so long the kernel gave it to others, or a hypervisor to other machines.
func (p paced) absence(q float64) float64 {
	slices.Sort(p.gaps)
	// Who comes at a random instant waits longer than w if it falls into a gap, more than w before its end. As w becomes
	// less there are ever more such instants.
	left := time.Duration((1 - q) * float64(p.took))
	var longer, sum time.Duration // how many gaps are longer, and how long all of them are
	for _, gap := range slices.Backward(p.gaps) {
		if sum-longer*gap > left {
			break
		}
		longer, sum = longer+1, sum+gap
	}
	return float64(max(0, (sum-left)/max(longer, 1)).Nanoseconds()) / 1000
}

// latencies at half of saturation.
func (p probe) latencies(round int, scale float64) (paced, error) {
	all := p.of(round, int(latencyNumber*scale))
	over, err := open(p.server, p.secure, latencyConnections)
	if err != nil {
		return paced{}, err
	}
	defer over.close()
	started := time.Now()
	if err := over.send(all, p.status); err != nil {
		return paced{}, err
	}
	return over.pace(all, 2*time.Since(started)/time.Duration(len(all)), p.status)
}

// pace sends requests at a rate, whether or not those before have been answered. Each counts from when it was due: one that
// finds no free connection waits, and that counts.
//
// It never waits itself but looks again and again: to be woken up takes time, which would be the load's and look like the
// server's.
func (p pool) pace(requests [][]byte, interval time.Duration, want int) (paced, error) {
	free := make([]*exchange, 0, len(p))
	for _, c := range p {
		x, err := newExchange(c)
		if err != nil {
			return paced{}, err
		}
		free = append(free, x)
	}
	var out paced
	var busy []*exchange
	started := time.Now()
	last := started
	for sent := 0; len(out.micros) < len(requests); {
		now := time.Now()
		if gap := now.Sub(last); gap > leastAbsence {
			out.gaps = append(out.gaps, gap)
		}
		last = now
		if due := started.Add(time.Duration(sent) * interval); sent < len(requests) && len(free) > 0 && !now.Before(due) {
			x := free[len(free)-1]
			if err := x.begin(requests[sent], due); err != nil {
				return paced{}, err
			}
			free, busy = free[:len(free)-1], append(busy, x)
			sent++
		}
		waiting := busy[:0]
		for _, x := range busy {
			done, err := x.poll(want)
			if err != nil {
				return paced{}, err
			}
			if !done {
				waiting = append(waiting, x)
				continue
			}
			out.micros = append(out.micros, float64(time.Since(x.due).Nanoseconds())/1000)
			free = append(free, x)
		}
		busy = waiting
	}
	out.took = time.Since(started)
	return out, nil
}
