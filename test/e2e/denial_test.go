//go:build e2e

package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

// caller asks token servers from outside of the cluster, under the Service's name, each at its own address.
type caller struct {
	id, secret string
	authority  *x509.CertPool
}

func newCaller(t *testing.T) *caller {
	t.Helper()
	secret := &corev1.Secret{}
	if err := kube.Get(t.Context(), client.ObjectKey{Namespace: "e2e", Name: "loader-credentials"}, secret); err != nil {
		t.Fatal(err)
	}
	return &caller{id: string(secret.Data["client_id"]), secret: string(secret.Data["client_secret"]), authority: poolOf(t, secret.Data["ca.crt"])}
}

// at is a client that finds the Service's name at an address.
func (c *caller) at(address string) *http.Client {
	return &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		Proxy:           nil,
		TLSClientConfig: &tls.Config{RootCAs: c.authority, MinVersion: tls.VersionTLS12},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, address)
		},
	}}
}

// ask returns "granted", the error code, or what went wrong.
func (c *caller) ask(ctx context.Context, at *http.Client) string {
	form := url.Values{"grant_type": {"client_credentials"}, "audience": {"https://loader.example.com"}}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+host+"/oauth2/token", strings.NewReader(form.Encode()))
	if err != nil {
		return err.Error()
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(url.QueryEscape(c.id), url.QueryEscape(c.secret))
	response, err := at.Do(request)
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	var answer struct{ Error string }
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return fmt.Sprintf("%s: %v", response.Status, err)
	}
	if response.StatusCode == http.StatusOK {
		return "granted"
	}
	return answer.Error
}

// doors are the addresses of the Service and of each of its pods.
func doors(t *testing.T) map[string]string {
	t.Helper()
	service := &corev1.Service{}
	if err := kube.Get(t.Context(), client.ObjectKey{Namespace: system, Name: issuerName}, service); err != nil {
		t.Fatal(err)
	}
	addresses := map[string]string{"Service": net.JoinHostPort(service.Spec.ClusterIP, "443")}
	for _, pod := range issuerPods(t) {
		addresses[pod.Name] = net.JoinHostPort(pod.Status.PodIP, "8443")
	}
	return addresses
}

// slowestToSay makes a change and measures how long after its acceptance every door has answered so.
func (c *caller) slowestToSay(t *testing.T, want string, clients map[string]*http.Client, change func()) time.Duration {
	t.Helper()
	change()
	accepted := time.Now()
	var wait sync.WaitGroup
	var lock sync.Mutex
	var slowest time.Duration
	for door, at := range clients {
		wait.Go(func() {
			for {
				got := c.ask(t.Context(), at)
				took := time.Since(accepted)
				if got == want {
					lock.Lock()
					slowest = max(slowest, took)
					lock.Unlock()
					return
				}
				if took > 10*time.Second {
					t.Errorf("%s answers %q after %s, want %q", door, got, took, want)
					return
				}
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	wait.Wait()
	return slowest
}

// testDenial: nobody but the issuers is needed to refuse.
func testDenial(t *testing.T) {
	install(t, image)
	ensureCaller(t)
	scaleManagers(t, 0)
	defer scaleManagers(t, 2)
	c := newCaller(t)
	clients := map[string]*http.Client{}
	for door, address := range doors(t) {
		clients[door] = c.at(address)
	}
	if len(clients) != 3 {
		t.Fatalf("%d doors", len(clients))
	}
	in := metav1.ObjectMeta{Namespace: "e2e", Name: "loader"}
	grant := &v1alpha1.ScopeGrant{ObjectMeta: in}
	if err := kube.Get(t.Context(), client.ObjectKeyFromObject(grant), grant); err != nil {
		t.Fatal(err)
	}
	again := &v1alpha1.ScopeGrant{ObjectMeta: in, Spec: grant.Spec}
	slowest := map[string]time.Duration{}
	step := func(what, want string, change func() error) {
		t.Helper()
		took := c.slowestToSay(t, want, clients, func() {
			if err := change(); err != nil {
				t.Fatal(err)
			}
		})
		slowest[what] = max(slowest[what], took)
		if took > time.Second {
			t.Errorf("%s: counted after %s", what, took)
		}
	}
	suspend := func(suspended bool) func() error {
		patch := client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"spec":{"suspend":%t}}`, suspended))
		return func() error { return kube.Patch(t.Context(), &v1alpha1.M2MClient{ObjectMeta: in}, patch) }
	}
	step("ready", "granted", func() error { return nil })
	for range 5 {
		step("grant removed", "invalid_target", func() error { return kube.Delete(t.Context(), &v1alpha1.ScopeGrant{ObjectMeta: in}) })
		step("grant given", "granted", func() error { return kube.Create(t.Context(), again.DeepCopy()) })
		step("client suspended", "invalid_client", suspend(true))
		step("client resumed", "granted", suspend(false))
	}
	for what, took := range slowest {
		say("without a manager, %s: counts everywhere within %s", what, took.Round(time.Millisecond))
	}
	c.revoke(t, "without a manager, signing key revoked", signingKey(t, v1alpha1.KeyActive))
}

func scaleManagers(t *testing.T, replicas int32) {
	t.Helper()
	kubectl(t, "scale", "-n", system, "deployment/"+managers, fmt.Sprintf("--replicas=%d", replicas))
	awaitRollout(t, managers, replicas)
}

func poolOf(t *testing.T, certificates []byte) *x509.CertPool {
	t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(certificates) {
		t.Fatal("no certificate")
	}
	return pool
}
