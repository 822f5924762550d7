package controllers

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
)

var (
	objectsDesc = prometheus.NewDesc("m2m_manager_objects",
		"How many objects there are, by kind, and by status and reason of their condition Ready.",
		[]string{"kind", "ready", "reason"}, nil)
	issuerReadyDesc = prometheus.NewDesc("m2m_manager_token_issuer_ready",
		"1 when the TokenIssuer is Ready, else 0.", []string{"token_issuer"}, nil)
	pendingDesc = prometheus.NewDesc("m2m_manager_pending_requests",
		"Wishes of M2MClients that are not granted in full, by namespace/name of the ApiResource; empty for those that do not exist.",
		[]string{"api"}, nil)
	oldestPendingDesc = prometheus.NewDesc("m2m_manager_oldest_pending_request_timestamp_seconds",
		"Since when the oldest of these wishes has been waiting.", []string{"api"}, nil)
	credentialOverdueDesc = prometheus.NewDesc("m2m_manager_credential_rotation_overdue_seconds",
		"For how long the rotation of a client secret has been due, of the one that has waited longest; 0 where none is.", nil, nil)
)

// scrapeTimeout bounds how long a scrape waits for a cache that has not filled yet.
const scrapeTimeout = 5 * time.Second

// Metrics of what the objects' statuses say. They are read at each scrape, so that the series of a deleted object are gone
// at the next, and every replica says the same, whether or not it leads. Label values name objects that exist, or are
// reasons.
type Metrics struct {
	// Reader of the manager's cache.
	Reader client.Reader
	// Now is the clock.
	Now func() time.Time
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(descriptions chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{objectsDesc, issuerReadyDesc, pendingDesc, oldestPendingDesc, credentialOverdueDesc} {
		descriptions <- d
	}
}

// Collect implements prometheus.Collector. Where the cache cannot be read there are no series, which is not the same as
// zero.
func (m *Metrics) Collect(metrics chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	var issuers v1alpha1.TokenIssuerList
	var apis v1alpha1.ApiResourceList
	var clients v1alpha1.M2MClientList
	var grants v1alpha1.ScopeGrantList
	for _, list := range []client.ObjectList{&issuers, &apis, &clients, &grants} {
		if err := m.Reader.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
			return
		}
	}
	counts := objectCounts{}
	for i := range issuers.Items {
		issuer := &issuers.Items[i]
		gauge(metrics, issuerReadyDesc, counts.add(access.KindTokenIssuer, issuer), issuer.Name)
	}
	existing := map[types.NamespacedName]bool{}
	for i := range apis.Items {
		counts.add(access.KindApiResource, &apis.Items[i])
		existing[client.ObjectKeyFromObject(&apis.Items[i])] = true
	}
	for i := range clients.Items {
		counts.add(access.KindM2MClient, &clients.Items[i])
	}
	for i := range grants.Items {
		counts.add(access.KindScopeGrant, &grants.Items[i])
	}
	for labels, count := range counts {
		gauge(metrics, objectsDesc, count, labels[:]...)
	}
	collectPending(metrics, clients.Items, existing)
	gauge(metrics, credentialOverdueDesc, m.overdue(clients.Items).Seconds())
}

func gauge(metrics chan<- prometheus.Metric, desc *prometheus.Desc, value float64, labels ...string) {
	metrics <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
}

// objectCounts by kind, and status and reason of the condition Ready.
type objectCounts map[[3]string]float64

// add counts an object and returns 1 if it is Ready, else 0.
func (c objectCounts) add(kind access.Kind, object v1alpha1.Conditioned) float64 {
	status, reason := metav1.ConditionUnknown, v1alpha1.ReasonPending
	if ready := meta.FindStatusCondition(*object.StatusConditions(), v1alpha1.ConditionReady); ready != nil {
		status, reason = ready.Status, ready.Reason
	}
	c[[3]string{string(kind), string(status), reason}]++
	if status == metav1.ConditionTrue {
		return 1
	}
	return 0
}

// collectPending tells of the wishes by ApiResource. Strangers may wish for what does not exist without making series.
func collectPending(metrics chan<- prometheus.Metric, clients []v1alpha1.M2MClient, existing map[types.NamespacedName]bool) {
	pending, oldest := map[string]float64{"": 0}, map[string]time.Time{}
	for i := range clients {
		for _, r := range clients[i].Status.Requests {
			if r.State == v1alpha1.AccessRequestGranted {
				continue
			}
			label, key := "", types.NamespacedName{Namespace: string(r.ApiResource.Namespace), Name: string(r.ApiResource.Name)}
			if existing[key] {
				label = key.String()
			}
			pending[label]++
			if since := r.SinceTime.Time; !since.IsZero() && (oldest[label].IsZero() || since.Before(oldest[label])) {
				oldest[label] = since
			}
		}
	}
	for label, count := range pending {
		gauge(metrics, pendingDesc, count, label)
	}
	for label, since := range oldest {
		gauge(metrics, oldestPendingDesc, float64(since.Unix()), label)
	}
}

// overdue is for how long the rotation that has waited longest has been due.
func (m *Metrics) overdue(clients []v1alpha1.M2MClient) time.Duration {
	longest, now := time.Duration(0), m.Now()
	for i := range clients {
		if next := clients[i].Status.NextRotationTime; next != nil {
			longest = max(longest, now.Sub(next.Time))
		}
	}
	return longest
}
