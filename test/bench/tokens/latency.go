package tokens

import (
	"fmt"
	"sync"
	"time"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/test/bench/report"
)

const (
	// latencyConnections is how many requests may be on their way at once while latency is measured.
	latencyConnections = 32
	latencyNumber      = 10000
)

// latency measures the 99th percentile while requests come at half the rate at which issuer and load, on one machine,
// have no time left.
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
	for round := range o.Rounds {
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
		report.NewRow(sectionLatency, floor.name, "µs", measured[0], sign.name, limits, 0),
		report.NewRow(sectionLatency, token.name, "µs", measured[1], sign.name, limits, 10),
	}, nil
}

// percentile of the latency at half of saturation.
func (p probe) percentile(round int, scale, q float64) (float64, error) {
	all := p.of(round, int(latencyNumber*scale))
	over, err := open(p.server, p.secure, latencyConnections)
	if err != nil {
		return 0, err
	}
	defer over.close()
	started := time.Now()
	if err := over.send(all, p.status); err != nil {
		return 0, err
	}
	interval := 2 * time.Since(started) / time.Duration(len(all))
	latencies, err := over.pace(all, interval, p.status)
	return report.Quantile(latencies, q), err
}

// pace sends requests at a rate, whether or not those before have been answered, and returns how many microseconds each
// took from when it was due to be sent. One that finds no free connection waits, and that counts.
func (p pool) pace(requests [][]byte, interval time.Duration, want int) ([]float64, error) {
	type due struct {
		at      int
		instant time.Time
	}
	queue := make(chan due, len(requests))
	latencies := make([]float64, len(requests))
	var failure error
	var once sync.Once
	var done sync.WaitGroup
	for _, c := range p {
		done.Go(func() {
			for d := range queue {
				status, body, err := c.ask(requests[d.at])
				latencies[d.at] = float64(time.Since(d.instant).Nanoseconds()) / 1000
				if err == nil && status != want {
					err = fmt.Errorf("answered %d, not %d: %s", status, want, body)
				}
				if err != nil {
					once.Do(func() { failure = err })
				}
			}
		})
	}
	started := time.Now()
	for i := range requests {
		time.Sleep(time.Until(started.Add(time.Duration(i) * interval)))
		queue <- due{i, time.Now()} // when the timer was late, the issuer was not
	}
	close(queue)
	done.Wait()
	return latencies, failure
}
