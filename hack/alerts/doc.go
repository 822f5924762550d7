// Package alerts tests what config/prometheus tells Prometheus and Grafana: every alert fires when it should and does not
// otherwise, and every query is one and asks for metrics that exist. It is a module of its own because Prometheus' code is
// in no product's binaries.
package alerts
