package issuer

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"

	"github.com/m2m-operator/m2m-operator/internal/access"
)

// perAPI counts token requests by ApiResource and result. The series of an ApiResource that is gone are dropped when
// they would be collected the next time, so that there never are many more than there are ApiResources.
type perAPI struct {
	*prometheus.CounterVec
	index *access.Index

	mu   sync.Mutex
	seen map[types.NamespacedName]struct{}
}

func newPerAPI(index *access.Index) *perAPI {
	return &perAPI{index: index, seen: map[types.NamespacedName]struct{}{}, CounterVec: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "m2m_issuer_token_requests_total",
		Help: "Token requests by ApiResource (namespace/name, or nothing where the request came to none) and result: " +
			"issued, throttled, or the OAuth error.",
	}, []string{"api", "result"})}
}

// count a request that came to an ApiResource, or to none.
func (p *perAPI) count(api types.NamespacedName, result string) {
	if api.Name == "" {
		p.WithLabelValues("", result).Inc()
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock() // a series that is made while Collect drops some must be remembered
	p.seen[api] = struct{}{}
	p.WithLabelValues(api.String(), result).Inc()
}

// Collect implements prometheus.Collector.
func (p *perAPI) Collect(metrics chan<- prometheus.Metric) {
	p.prune()
	p.CounterVec.Collect(metrics)
}

func (p *perAPI) prune() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for api := range p.seen {
		if !p.index.HasApiResource(api) {
			delete(p.seen, api)
			p.DeletePartialMatch(prometheus.Labels{"api": api.String()})
		}
	}
}

var keySince = prometheus.NewDesc("m2m_issuer_signing_key_since_timestamp_seconds",
	"Since when a published signing key has been in its state: Announced, Active or Retired.", []string{"kid", "algorithm", "state"}, nil)

// keyCollector tells of the keys that are published now.
type keyCollector struct{ state *State }

// Describe implements prometheus.Collector.
func (c keyCollector) Describe(descriptions chan<- *prometheus.Desc) { descriptions <- keySince }

// Collect implements prometheus.Collector.
func (c keyCollector) Collect(metrics chan<- prometheus.Metric) {
	keys := c.state.keys.Load()
	if keys == nil {
		return
	}
	for _, key := range keys.Keys() {
		metrics <- prometheus.MustNewConstMetric(keySince, prometheus.GaugeValue, timestamp(key.Since),
			key.KID, string(key.Algorithm), string(key.State))
	}
}

var (
	watchHeard = prometheus.NewDesc("m2m_issuer_watch_heard_timestamp_seconds",
		"When the API server was last heard of objects of a kind, 0 if never. It speaks about once a minute even when nothing changes.",
		[]string{"kind"}, nil)
	watchStaleness = prometheus.NewDesc("m2m_issuer_watch_staleness_seconds",
		"How long ago the API server was last heard of the kind that it was heard of the longest ago; since the start, if never.", nil, nil)
)

// watchCollector tells how old what the server knows may be.
type watchCollector struct {
	state   *State
	now     func() time.Time
	started time.Time
}

// Describe implements prometheus.Collector.
func (c watchCollector) Describe(descriptions chan<- *prometheus.Desc) {
	descriptions <- watchHeard
	descriptions <- watchStaleness
}

// Collect implements prometheus.Collector.
func (c watchCollector) Collect(metrics chan<- prometheus.Metric) {
	now := c.now()
	heard := c.state.watchHeard()
	oldest := now
	if len(heard) == 0 {
		oldest = c.started
	}
	for kind, at := range heard {
		metrics <- prometheus.MustNewConstMetric(watchHeard, prometheus.GaugeValue, timestamp(at), kind)
		if at.Before(c.started) {
			at = c.started
		}
		if at.Before(oldest) {
			oldest = at
		}
	}
	metrics <- prometheus.MustNewConstMetric(watchStaleness, prometheus.GaugeValue, now.Sub(oldest).Seconds())
}
