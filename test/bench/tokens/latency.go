package tokens

import (
	"errors"
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
	// absenceTime is how long the machine is watched for whether it lets a program run that wants to.
	absenceTime = time.Second
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
	var absences []float64
	for round := range o.Rounds {
		absences = append(absences, absence(0.99))
		limit, err := sign.measure(o.Scale)
		if err != nil {
			return nil, err
		}
		limits = append(limits, limit)
		for i, p := range probes {
			micros, err := p.percentile(round, o.Scale, 0.99)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", p.name, err)
			}
			measured[i] = append(measured[i], micros)
		}
	}
	return []report.Row{
		report.NewRow(sectionLatency, "of what takes no time, p99", "µs", absences, sign.name, limits, 0),
		report.NewRow(sectionLatency, floor.name, "µs", measured[0], sign.name, limits, 0),
		report.NewRow(sectionLatency, token.name, "µs", measured[1], sign.name, limits, 10),
	}, nil
}

// absence is how many microseconds something that takes no time at all would wait, in this part of all cases, for the
// processor to be there: what is below it, the kernel takes for others, or a hypervisor for other machines.
func absence(q float64) float64 {
	var gaps []time.Duration
	began := time.Now()
	for last := began; last.Sub(began) < absenceTime; {
		now := time.Now()
		if gap := now.Sub(last); gap > time.Microsecond {
			gaps = append(gaps, gap)
		}
		last = now
	}
	slices.Sort(gaps)
	// Who comes at a random instant waits longer than w if it falls into a gap, more than w before its end. As w becomes
	// less there are ever more such instants.
	left := time.Duration((1 - q) * float64(absenceTime))
	var longer, sum time.Duration // how many gaps are longer, and how long all of them are
	for _, gap := range slices.Backward(gaps) {
		if sum-longer*gap > left {
			break
		}
		longer, sum = longer+1, sum+gap
	}
	return float64(max(0, (sum-left)/max(longer, 1)).Nanoseconds()) / 1000
}

// percentile of the latency at half of saturation.
func (p probe) percentile(round int, scale, q float64) (micros float64, err error) {
	all := p.of(round, int(latencyNumber*scale))
	over, err := open(p.server, p.secure, latencyConnections)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, over.close()) }()
	started := time.Now()
	if err := over.send(all, p.status); err != nil {
		return 0, err
	}
	interval := 2 * time.Since(started) / time.Duration(len(all))
	latencies, err := over.pace(all, interval, p.status)
	return report.Quantile(latencies, q), err
}

// pace sends requests at a rate, whether or not those before have been answered, and returns how many microseconds each
// took from when it was due. One that finds no free connection waits, and that counts.
//
// It never waits itself but looks again and again, on a processor of its own: to be woken up takes time, which would be
// the load's and look like the server's.
func (p pool) pace(requests [][]byte, interval time.Duration, want int) ([]float64, error) {
	free := make([]*exchange, 0, len(p))
	for _, c := range p {
		x, err := newExchange(c)
		if err != nil {
			return nil, err
		}
		free = append(free, x)
	}
	latencies := make([]float64, 0, len(requests))
	var busy []*exchange
	started := time.Now()
	for sent := 0; len(latencies) < len(requests); {
		if due := started.Add(time.Duration(sent) * interval); sent < len(requests) && len(free) > 0 && !time.Now().Before(due) {
			x := free[len(free)-1]
			if err := x.begin(requests[sent], due); err != nil {
				return nil, err
			}
			free, busy = free[:len(free)-1], append(busy, x)
			sent++
		}
		waiting := busy[:0]
		for _, x := range busy {
			done, err := x.poll(want)
			if err != nil {
				return nil, err
			}
			if !done {
				waiting = append(waiting, x)
				continue
			}
			latencies = append(latencies, float64(time.Since(x.due).Nanoseconds())/1000)
			free = append(free, x)
		}
		busy = waiting
	}
	return latencies, nil
}
