package issuer

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const (
	resultGranted   = "granted"
	resultThrottled = "throttled"
)

// results are all values of the label result.
var results = []string{
	resultGranted, resultThrottled, codeInvalidRequest, codeInvalidClient, codeUnsupportedGrantType, codeInvalidScope,
	codeInvalidTarget, codeServerError, codeUnavailable,
}

// metrics of one server. No label value ever comes from a request.
type metrics struct {
	registry *prometheus.Registry
	tokens   *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

func newMetrics(state *State) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		tokens: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "m2m_issuer_token_requests_total",
			Help: "Token requests by result: granted, throttled, or the OAuth error.",
		}, []string{"result"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "m2m_issuer_request_duration_seconds",
			Help:    "Time from the end of a request's header to its answer, by endpoint.",
			Buckets: []float64{.00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"endpoint"}),
	}
	for _, result := range results {
		m.tokens.WithLabelValues(result)
	}
	m.registry.MustRegister(m.tokens, m.duration,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "m2m_issuer_synced",
			Help: "1 when all objects of the Kubernetes API have arrived, else 0.",
		}, func() float64 {
			if state.hasSynced() {
				return 1
			}
			return 0
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "m2m_issuer_certificate_expiry_timestamp_seconds",
			Help: "When the serving certificate ends, 0 while there is none.",
		}, func() float64 {
			if expiry := state.certificateExpiry(); !expiry.IsZero() {
				return float64(expiry.Unix())
			}
			return 0
		}),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// observe counts an answer.
func (m *metrics) observe(e endpoint, a reply, took time.Duration) {
	m.duration.WithLabelValues(string(e)).Observe(took.Seconds())
	if e != endpointToken {
		return
	}
	switch {
	case a.status == http.StatusTooManyRequests:
		m.tokens.WithLabelValues(resultThrottled).Inc()
	case a.errorCode != "":
		m.tokens.WithLabelValues(a.errorCode).Inc()
	default:
		m.tokens.WithLabelValues(resultGranted).Inc()
	}
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}
