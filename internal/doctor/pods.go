package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/manifests"
)

const (
	// stale is when a watch is silent for too long: an API server sends a bookmark about once a minute.
	stale = 3 * time.Minute
	// maxAnswer bounds what a pod may answer, in bytes.
	maxAnswer = 4 << 20
	// podTimeout bounds one question to a pod.
	podTimeout = 10 * time.Second
)

// pods asks every pod of an issuer, through the API server, for its keys and what it hears.
func (e *examination) pods(ctx context.Context, issuer *v1alpha1.TokenIssuer) error {
	object := "TokenIssuer " + issuer.Name
	list := &corev1.PodList{}
	err := e.Client.List(ctx, list, client.InNamespace(e.InstallNamespace), client.MatchingLabels{manifests.LabelIssuer: issuer.Name})
	if apierrors.IsForbidden(err) {
		e.notLooked("watches", object, err, askAdministrator)
		return nil
	} else if err != nil {
		return fmt.Errorf("list Pods: %w", err)
	}
	var running []corev1.Pod
	for _, pod := range list.Items {
		if pod.DeletionTimestamp == nil && pod.Status.PodIP != "" {
			running = append(running, pod)
		}
	}
	if len(running) == 0 {
		e.add(Unknown, "watches", object, "it has no pod to ask", "if issuers run in pods of this cluster: kubectl get pods -n "+e.InstallNamespace)
		return nil
	}
	answers := map[string][]string{} // pods by the kids that they publish
	for _, pod := range running {
		kids, err := e.podKeys(ctx, pod)
		if err != nil {
			e.podSilent("jwks", pod, err)
		} else {
			answers[strings.Join(kids, ", ")] = append(answers[strings.Join(kids, ", ")], pod.Name)
		}
		e.podMetrics(ctx, pod)
	}
	wanted := strings.Join(published(issuer), ", ")
	_, current := answers[wanted]
	switch {
	case len(answers) == 0: // said already
	case len(answers) == 1 && current:
		e.ok("jwks", object, "its pods all publish the keys of its status")
	default:
		e.add(Problem, "jwks", object, fmt.Sprintf("its pods do not all publish the keys of its status (%s): %v", wanted, answers),
			"a pod does not hear the API server: look at its log; deleting it helps")
	}
	return nil
}

func (e *examination) podKeys(ctx context.Context, pod corev1.Pod) ([]string, error) {
	before := e.Now()
	body, header, err := e.ask(ctx, pod, "https", v1alpha1.PathJWKS)
	if err != nil {
		return nil, err
	}
	e.pace.take("Pod "+pod.Namespace+"/"+pod.Name, header, before, e.Now())
	set := jose.JSONWebKeySet{}
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, errNoKeys
	}
	var kids []string
	for _, key := range set.Keys {
		kids = append(kids, key.KeyID)
	}
	slices.Sort(kids)
	return kids, nil
}

func (e *examination) podMetrics(ctx context.Context, pod corev1.Pod) {
	object := "Pod " + pod.Namespace + "/" + pod.Name
	body, _, err := e.ask(ctx, pod, "ops", "/metrics")
	if err != nil {
		e.podSilent("watches", pod, err)
		return
	}
	const look = "compare its log with others'; deleting the pod makes it read everything anew"
	silence, known := metric(body, "m2m_issuer_watch_staleness_seconds")
	synced, _ := metric(body, "m2m_issuer_synced")
	switch {
	case !known:
		e.add(Unknown, "watches", object, "its metrics do not say how old what it knows is",
			"is its port ops that of an issuer of this version? "+installAgain)
	case synced == 0:
		e.add(Problem, "watches", object, "it has not read all objects since it started, and issues nothing", look)
	case silence > stale.Seconds():
		e.add(Problem, "watches", object, fmt.Sprintf("it has not heard the API server for %.0f seconds: what is taken away meanwhile counts there still", silence), look)
	default:
		e.ok("watches", object, "it heard the API server within the last %.0f seconds", silence+1)
	}
}

var (
	errNoProxy = errors.New("you may not ask pods through the API server")
	errNoKeys  = errors.New("its answer is no JWK Set")
)

// podSilent adds that a pod did not answer what it was asked.
func (e *examination) podSilent(check string, pod corev1.Pod, err error) {
	object := "Pod " + pod.Namespace + "/" + pod.Name
	switch {
	case errors.Is(err, errNoProxy):
		e.notLooked(check, object, err, "have somebody with the right to get pods/proxy in "+pod.Namespace+" run it")
	case errors.Is(err, errNoKeys):
		e.add(Problem, check, object, err.Error(), "is it an issuer of this version? Look at its log; deleting it helps")
	default:
		e.notLooked(check, object, err, fmt.Sprintf("kubectl describe pod -n %s %s, and its log; the API server must be able to reach it", pod.Namespace, pod.Name))
	}
}

// metric finds a metric without labels in the text format of Prometheus.
func metric(text []byte, name string) (float64, bool) {
	for line := range bytes.Lines(text) {
		if value, ok := bytes.CutPrefix(line, []byte(name+" ")); ok {
			number, err := strconv.ParseFloat(string(bytes.TrimSpace(value)), 64)
			return number, err == nil
		}
	}
	return 0, false
}

// ask sends a GET to a pod, to the port of that name, through the API server.
func (e *examination) ask(ctx context.Context, pod corev1.Pod, port, path string) ([]byte, http.Header, error) {
	number, scheme := portOf(pod, port), "http"
	if number == 0 {
		return nil, nil, fmt.Errorf("it has no port %s", port)
	}
	if port == "https" {
		scheme = "https"
	}
	c, err := rest.HTTPClientFor(e.Config)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, podTimeout)
	defer cancel()
	base, _, err := rest.DefaultServerUrlFor(e.Config)
	if err != nil {
		return nil, nil, err
	}
	at := base.JoinPath("api/v1/namespaces", pod.Namespace, "pods", fmt.Sprintf("%s:%s:%d", scheme, pod.Name, number), "proxy", path)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, nil, err
	}
	response, err := c.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = response.Body.Close() }() // it was read
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	switch {
	case err != nil:
		return nil, nil, err
	case response.StatusCode == http.StatusForbidden:
		return nil, nil, errNoProxy
	case response.StatusCode != http.StatusOK:
		return nil, nil, fmt.Errorf("GET %s at port %d: %s", path, number, response.Status)
	}
	return body, response.Header, nil
}

func portOf(pod corev1.Pod, name string) int32 {
	for _, container := range pod.Spec.Containers {
		for _, port := range container.Ports {
			if port.Name == name {
				return port.ContainerPort
			}
		}
	}
	return 0
}
