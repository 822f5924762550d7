package issuer

import (
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/clientauth"
)

// reasonOther is counted for a reason that failures does not list, so that no mistake can make a series of its own.
const reasonOther = "Other"

// unauthenticated are the reasons why a client is not known, whether it is told so or throttled.
var unauthenticated = []string{
	clientauth.ReasonNoCredentials, clientauth.ReasonUnsupported, clientauth.ReasonMalformed, clientauth.ReasonUnknownClient,
	clientauth.ReasonOtherIssuer, clientauth.ReasonSuspended, clientauth.ReasonMethodNotAllowed, clientauth.ReasonWrongSecret,
	clientauth.ReasonWrongAssertionType, clientauth.ReasonWrongType, clientauth.ReasonWrongAlgorithm,
	clientauth.ReasonWrongAudience, clientauth.ReasonExpired, clientauth.ReasonNotYetValid, clientauth.ReasonTooLongLived,
	clientauth.ReasonNoID, clientauth.ReasonWrongSubject, clientauth.ReasonUnknownKey, clientauth.ReasonWrongSignature,
	clientauth.ReasonReplayed, clientauth.ReasonTooManyAssertions,
}

// failures are the reasons of each error, by the outcome that names it.
var failures = map[string][]string{
	codeInvalidRequest: {
		reasonHeaderTooLarge, reasonMethod, reasonBodyTooLarge, reasonBodyUnreadable, reasonQuery, reasonContentType,
		reasonMalformedBody, reasonTooManyParameters, reasonRepeatedParameter, reasonNoGrantType, reasonNoToken,
		clientauth.ReasonSeveralHeaders, clientauth.ReasonSeveralMethods, clientauth.ReasonOtherClientID,
		clientauth.ReasonHalfAssertion,
	},
	codeInvalidClient:        unauthenticated,
	outcomeThrottled:         unauthenticated,
	codeUnsupportedGrantType: {reasonUnsupportedGrantType},
	codeInvalidTarget: {
		reasonSeveralAudiences, access.ReasonNoAudience, access.ReasonNotGranted, access.ReasonClientNotFound,
		access.ReasonClientOfOtherIssuer, v1alpha1.ReasonIssuerNotFound, v1alpha1.ReasonSuspended,
		v1alpha1.ReasonApiResourceNotFound, v1alpha1.ReasonApiResourceNotAccepted,
	},
	codeInvalidScope: {reasonMalformedScope, access.ReasonNotGranted, access.ReasonPartialRefused, reasonTokenTooLarge},
	codeAccessDenied: {access.ReasonConditionNotMet, access.ReasonRuleNotMet, access.ReasonExpressionFailed},
	codeServerError:  {reasonInternal},
	codeUnavailable:  {reasonNotIssuing, reasonTooStale, reasonBusy},
}

// timed are the endpoints whose requests are.
var timed = []endpoint{
	endpointToken, endpointIntrospection, endpointJWKS, endpointMetadata, endpointDiscovery, endpointLive, endpointReady,
	endpointUnknown,
}

// introspectionResults are the values of the label result of introspections.
var introspectionResults = []string{
	outcomeActive, outcomeInactive, outcomeThrottled, codeInvalidRequest, codeInvalidClient, codeServerError, codeUnavailable,
}

// metrics of one server. Label values name objects that exist, or are fixed: none ever comes from a request.
type metrics struct {
	registry       *prometheus.Registry
	tokens         *perAPI
	introspections *prometheus.CounterVec
	failures       *prometheus.CounterVec
	duration       *prometheus.HistogramVec
	auditFailures  prometheus.Counter

	// Where requests count, found once.
	introspected map[string]prometheus.Counter
	failed       map[failure]prometheus.Counter
	took         map[endpoint]prometheus.Observer
}

// failure is an error with its reason, by the outcome that names it.
type failure struct{ outcome, reason string }

func newMetrics(state *State, now func() time.Time) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		tokens:   newPerAPI(state.index),
		introspections: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "m2m_issuer_introspections_total",
			Help: "Introspections by result: active, inactive, throttled, or the OAuth error.",
		}, []string{"result"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "m2m_issuer_failures_total",
			Help: "Token requests and introspections that failed, by error (throttled, or the OAuth error) and reason.",
		}, []string{"error", "reason"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "m2m_issuer_request_duration_seconds",
			Help:    "Time from the end of a request's header to its answer, by endpoint.",
			Buckets: []float64{.00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"endpoint"}),
		auditFailures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "m2m_issuer_audit_log_failures_total",
			Help: "Lines of the audit log that could not be written.",
		}),
		introspected: map[string]prometheus.Counter{},
		failed:       map[failure]prometheus.Counter{},
		took:         map[endpoint]prometheus.Observer{},
	}
	m.begin()
	m.registry.MustRegister(m.tokens, m.introspections, m.failures, m.duration, m.auditFailures,
		keyCollector{state}, watchCollector{state: state, now: now, started: now()}, knowledgeCollector{state},
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "m2m_issuer_synced",
			Help: "1 when all objects of the Kubernetes API have arrived, else 0.",
		}, func() float64 { return indicator(state.hasSynced()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "m2m_issuer_certificate_expiry_timestamp_seconds",
			Help: "When the serving certificate ends, 0 while there is none.",
		}, func() float64 { return timestamp(state.certificateExpiry()) }),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// begin makes every series that requests may count in, but for those of ApiResources, so that each begins at zero and
// no request makes one.
func (m *metrics) begin() {
	for outcome, reasons := range failures {
		m.tokens.WithLabelValues("", outcome)
		for _, reason := range append(slices.Clip(reasons), reasonOther) {
			m.failed[failure{outcome, reason}] = m.failures.WithLabelValues(outcome, reason)
		}
	}
	for _, result := range introspectionResults {
		m.introspected[result] = m.introspections.WithLabelValues(result)
	}
	for _, e := range timed {
		m.took[e] = m.duration.WithLabelValues(string(e))
	}
}

// observe counts an answer.
func (m *metrics) observe(e endpoint, a *reply, rec *record, took time.Duration) {
	found(m.took, e, func() prometheus.Observer { return m.duration.WithLabelValues(string(e)) }).Observe(took.Seconds())
	if _, decides := auditBeginnings[e]; !decides {
		return
	}
	outcome := rec.outcome(e, a)
	if e == endpointToken {
		m.tokens.count(rec.decision.ApiResource, outcome)
	} else {
		found(m.introspected, outcome, func() prometheus.Counter { return m.introspections.WithLabelValues(outcome) }).Inc()
	}
	if a.errorCode != "" {
		found(m.failed, failure{outcome, rec.why(a)}, func() prometheus.Counter {
			return m.failures.WithLabelValues(outcome, reasonOther)
		}).Inc()
	}
}

// found is where a request counts: what begin has found or, where it did not know of it, otherwise does.
func found[K comparable, V any](begun map[K]V, key K, otherwise func() V) V {
	if v, ok := begun[key]; ok {
		return v
	}
	return otherwise()
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{DisableCompression: true})
}

// timestamp in seconds since 1970, 0 for no time.
func timestamp(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}
