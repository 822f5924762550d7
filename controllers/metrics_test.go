package controllers_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/controllers"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

// gathered are the samples of our metrics by name and labels, as Prometheus writes them.
func gathered(t testing.TB, registry prometheus.Gatherer) (samples map[string]float64, families []*dto.MetricFamily) {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	samples = map[string]float64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			var labels []string
			for _, label := range metric.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", label.GetName(), label.GetValue()))
			}
			samples[family.GetName()+"{"+strings.Join(labels, ",")+"}"] = metric.GetGauge().GetValue()
		}
	}
	return samples, families
}

func statusMetrics(now func() time.Time) *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(&controllers.Metrics{Reader: admin, Now: now})
	return registry
}

// TestMetricsOfStatuses: what waits and what is in the way is counted, and what is gone is not.
func TestMetricsOfStatuses(t *testing.T) {
	newIssuer(t, "measured", nil)
	namespace := newNamespace(t)
	registry := statusMetrics(time.Now)
	sample := func(format string, args ...any) (float64, bool) {
		samples, _ := gathered(t, registry)
		value, ok := samples[fmt.Sprintf(format, args...)]
		return value, ok
	}
	if got, _ := sample(`m2m_manager_token_issuer_ready{token_issuer="measured"}`); got != 1 {
		t.Errorf("the TokenIssuer is ready, and the metric is %v", got)
	}
	const conflicts = `m2m_manager_objects{kind="ApiResource",ready="False",reason="Conflicted"}`
	before, _ := sample(conflicts)
	api := newAPI(t, namespace, "api", "measured", "https://measured.example.com/api", "read")
	awaitReady(t, api)
	second := newAPI(t, namespace, "second", "measured", "https://measured.example.com/api", "read")
	awaitCondition(t, second, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonConflicted)
	if got, _ := sample(conflicts); got != before+1 {
		t.Errorf("one more conflict, and the metric goes from %v to %v", before, got)
	}

	nowhere, _ := sample(`m2m_manager_pending_requests{api=""}`)
	started := time.Now().Truncate(time.Second)
	newClient(t, namespace, "job", "measured", func(c *v1alpha1.M2MClient) {
		for _, name := range []string{"api", "nowhere"} {
			wish := v1alpha1.AccessRequest{Scopes: []v1alpha1.ScopeName{"read"}}
			wish.ApiResource = v1alpha1.NamespacedReference{Namespace: v1alpha1.NamespaceName(namespace), Name: v1alpha1.ObjectName(name)}
			c.Spec.Requests = append(c.Spec.Requests, wish)
		}
	})
	label := fmt.Sprintf(`{api="%s/api"}`, namespace)
	suite.Eventually(t, func() string {
		if got, _ := sample("m2m_manager_pending_requests%s", label); got != 1 {
			return fmt.Sprintf("there is a wish, and the metric is %v", got)
		}
		return ""
	})
	since, _ := sample("m2m_manager_oldest_pending_request_timestamp_seconds%s", label)
	if since < float64(started.Unix()) || since > float64(time.Now().Unix()) {
		t.Errorf("the wish was made after %v and waits since %v", started.Unix(), since)
	}
	if got, _ := sample(`m2m_manager_pending_requests{api=""}`); got != nowhere+1 {
		t.Errorf("one more wish for what is not there, and the metric goes from %v to %v", nowhere, got)
	}
	newGrant(t, namespace, "grant", "api", named(namespace, "job"), nil, "read")
	suite.Eventually(t, func() string {
		if got, there := sample("m2m_manager_pending_requests%s", label); there {
			return fmt.Sprintf("the wish is granted, and the metric is %v", got)
		}
		return ""
	})
}

// TestWaitingTimeOfAWish: it is from the change of its state and from no later look at it.
func TestWaitingTimeOfAWish(t *testing.T) {
	newIssuer(t, "patient", nil)
	namespace := newNamespace(t)
	awaitReady(t, newAPI(t, namespace, "api", "patient", "https://patient.example.com/api", "read", "write"))
	client := newClient(t, namespace, "job", "patient", func(c *v1alpha1.M2MClient) {
		c.Spec.Requests = []v1alpha1.AccessRequest{{Scopes: []v1alpha1.ScopeName{"read", "write"}, ApiResource: v1alpha1.NamespacedReference{
			Namespace: v1alpha1.NamespaceName(namespace), Name: "api"}}}
	})
	awaitReady(t, client)
	first := client.Status.Requests[0]
	if first.State != v1alpha1.AccessRequestPending || first.SinceTime.IsZero() {
		t.Fatalf("the wish is %+v", first)
	}
	first.SinceTime = metav1.NewTime(first.SinceTime.Add(-48 * time.Hour))
	client.Status.Requests[0] = first
	if err := admin.Status().Update(context.Background(), client); err != nil {
		t.Fatal(err)
	}
	client.Spec.DisplayName = "Changed"
	suite.Save(t, admin, client)
	awaitReady(t, client)
	if got := client.Status.Requests[0].SinceTime; !got.Equal(&first.SinceTime) {
		t.Errorf("it waits since %v, and after a change of the name since %v", first.SinceTime, got)
	}
	newGrant(t, namespace, "grant", "api", named(namespace, "job"), nil, "read")
	suite.Eventually(t, func() string {
		got := get(t, &v1alpha1.M2MClient{}, namespace, "job").Status.Requests[0]
		if got.State != v1alpha1.AccessRequestPartial || !got.SinceTime.After(first.SinceTime.Time) {
			return fmt.Sprintf("granted in part, it is %+v", got)
		}
		return ""
	})
}

func TestMetricOfAnOverdueRotation(t *testing.T) {
	newIssuer(t, "tardy", nil)
	namespace := newNamespace(t)
	client := newClient(t, namespace, "job", "tardy", func(c *v1alpha1.M2MClient) {
		c.Spec.Credential.Rotation = &v1alpha1.CredentialRotation{Interval: metav1.Duration{Duration: 720 * time.Hour}}
	})
	awaitReady(t, client)
	at := client.Status.NextRotationTime.Time
	for late, want := range map[time.Duration]float64{-time.Hour: 0, 2 * time.Hour: 7200} {
		samples, _ := gathered(t, statusMetrics(func() time.Time { return at.Add(late) }))
		if got := samples["m2m_manager_credential_rotation_overdue_seconds{}"]; got < want || want == 0 && got > 0 {
			t.Errorf("%v after the time that is planned: %v, want %v", late, got, want)
		}
	}
}

// TestEveryMetricIsDocumented: the manager's table has every metric of ours, with its type and labels, and no other.
func TestEveryMetricIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/operating/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	newIssuer(t, "documented", nil)
	namespace := newNamespace(t)
	awaitReady(t, newClient(t, namespace, "job", "documented", func(c *v1alpha1.M2MClient) {
		c.Spec.Requests = []v1alpha1.AccessRequest{{Scopes: []v1alpha1.ScopeName{"read"}, ApiResource: v1alpha1.NamespacedReference{
			Namespace: v1alpha1.NamespaceName(namespace), Name: "api"}}}
	}))
	documented := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(m2m_manager_[a-z_]+)` \\| ([a-z]+) \\| (.*?) ?\\| ").FindAllStringSubmatch(string(text), -1) {
		labels := regexp.MustCompile(`[a-z_]+`).FindAllString(row[3], -1)
		documented[row[1]] = row[2] + " " + strings.Join(slices.Sorted(slices.Values(labels)), " ")
	}
	_, families := gathered(t, prometheus.Gatherers{ctrlmetrics.Registry, statusMetrics(time.Now)})
	existing := map[string]string{}
	for _, family := range families {
		if !strings.HasPrefix(family.GetName(), "m2m_") {
			continue
		}
		var labels []string
		for _, label := range family.GetMetric()[0].GetLabel() {
			labels = append(labels, label.GetName())
		}
		existing[family.GetName()] = strings.ToLower(family.GetType().String()) + " " + strings.Join(slices.Sorted(slices.Values(labels)), " ")
	}
	if !maps.Equal(documented, existing) {
		t.Errorf("documented are\n%v\nand there are\n%v", documented, existing)
	}
}
