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
	seen map[requestSeries]prometheus.Counter
}

// requestSeries is of requests to an ApiResource that came to the same; the empty name is that of none.
type requestSeries struct {
	api    types.NamespacedName
	result string
}

func newPerAPI(index *access.Index) *perAPI {
	return &perAPI{index: index, seen: map[requestSeries]prometheus.Counter{}, CounterVec: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "m2m_issuer_token_requests_total",
		Help: "Token requests by ApiResource (namespace/name, or nothing where the request came to none) and result: " +
			"issued, throttled, or the OAuth error.",
	}, []string{"api", "result"})}
}

// count a request that came to an ApiResource, or to none.
func (p *perAPI) count(api types.NamespacedName, result string) {
	p.mu.Lock()
	defer p.mu.Unlock() // a series that is made while Collect drops some must be remembered
	counter, known := p.seen[requestSeries{api, result}]
	if !known {
		name := ""
		if api.Name != "" {
			name = api.String()
		}
		counter = p.WithLabelValues(name, result)
		p.seen[requestSeries{api, result}] = counter
	}
	counter.Inc()
}

// Collect implements prometheus.Collector.
func (p *perAPI) Collect(metrics chan<- prometheus.Metric) {
	p.prune()
	p.CounterVec.Collect(metrics)
}

func (p *perAPI) prune() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for a := range p.seen {
		if a.api.Name != "" && !p.index.HasApiResource(a.api) {
			delete(p.seen, a)
			p.DeleteLabelValues(a.api.String(), a.result)
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
	watchTooStale = prometheus.NewDesc("m2m_issuer_too_stale",
		"1 while tokens are refused because that is longer than the TokenIssuer's spec.maxStaleness, else 0.", nil, nil)
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
	descriptions <- watchTooStale
}

// Collect implements prometheus.Collector.
func (c watchCollector) Collect(metrics chan<- prometheus.Metric) {
	now := c.now()
	for kind, at := range c.state.watchHeard() {
		metrics <- prometheus.MustNewConstMetric(watchHeard, prometheus.GaugeValue, timestamp(at), kind)
	}
	metrics <- prometheus.MustNewConstMetric(watchStaleness, prometheus.GaugeValue, c.state.staleness(now, c.started).Seconds())
	issuer, _ := c.state.issuer()
	metrics <- prometheus.MustNewConstMetric(watchTooStale, prometheus.GaugeValue, indicator(c.state.tooStale(issuer, now, c.started)))
}

var (
	servingFromSnapshot = prometheus.NewDesc("m2m_issuer_serving_from_snapshot",
		"1 while what is served is, at least in part, what a snapshot says, because the API server has not listed everything since the start, else 0.", nil, nil)
	snapshotBytes = prometheus.NewDesc("m2m_issuer_snapshot_bytes",
		"Size of the snapshot that is written, 0 while none is.", nil, nil)
	snapshotFailures = prometheus.NewDesc("m2m_issuer_snapshot_failures_total",
		"How often writing the snapshot failed. It was removed then, and is begun anew.", nil, nil)
	olderLists = prometheus.NewDesc("m2m_issuer_older_lists_total",
		"Lists of a kind that were older than what was known: the API server was restored from a backup, or lags behind.", []string{"kind"}, nil)
)

// knowledgeCollector tells where what the server knows comes from.
type knowledgeCollector struct{ state *State }

// Describe implements prometheus.Collector.
func (c knowledgeCollector) Describe(descriptions chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{servingFromSnapshot, snapshotBytes, snapshotFailures, olderLists} {
		descriptions <- d
	}
}

// Collect implements prometheus.Collector.
func (c knowledgeCollector) Collect(metrics chan<- prometheus.Metric) {
	k := c.state.getKnowledge()
	metrics <- prometheus.MustNewConstMetric(servingFromSnapshot, prometheus.GaugeValue, indicator(k.fromSnapshot()))
	metrics <- prometheus.MustNewConstMetric(snapshotBytes, prometheus.GaugeValue, float64(k.SnapshotBytes))
	metrics <- prometheus.MustNewConstMetric(snapshotFailures, prometheus.CounterValue, float64(k.SnapshotFailures))
	for kind, older := range k.OlderLists {
		metrics <- prometheus.MustNewConstMetric(olderLists, prometheus.CounterValue, float64(older.Count), kind)
	}
}

// indicator is 1 for what is so, else 0.
func indicator(so bool) float64 {
	if so {
		return 1
	}
	return 0
}
