package controllers

import (
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/m2m-operator/m2m-operator/internal/keyring"
)

var (
	keyRotationOverdue = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "m2m_manager_key_rotation_overdue_seconds",
		Help: "For how long the rotation of a TokenIssuer's signing key has been due, by algorithm; 0 where none is.",
	}, []string{"token_issuer", "algorithm"})
	signingKeys = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "m2m_manager_signing_keys",
		Help: "Signing keys of a TokenIssuer, by algorithm and state: Announced, Active or Retired.",
	}, []string{"token_issuer", "algorithm", "state"})
)

func init() { metrics.Registry.MustRegister(keyRotationOverdue, signingKeys) }

// observeKeys tells of an issuer's keys, and of nothing that there was before.
func observeKeys(issuer string, result keyring.Result) {
	forgetKeys(issuer)
	for _, key := range result.Ring.Keys {
		signingKeys.WithLabelValues(issuer, string(key.Algorithm), string(key.State)).Inc()
		keyRotationOverdue.WithLabelValues(issuer, string(key.Algorithm)).Set(result.Overdue[key.Algorithm].Seconds())
	}
}

func forgetKeys(issuer string) {
	keyRotationOverdue.DeletePartialMatch(prometheus.Labels{"token_issuer": issuer})
	signingKeys.DeletePartialMatch(prometheus.Labels{"token_issuer": issuer})
}
