//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// createLoader runs the loader, with the caller's credential Secret mounted and nothing else configured.
func createLoader(t *testing.T, name string, args ...string) {
	t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "e2e", Name: name},
		Spec: corev1.PodSpec{
			RestartPolicy:                 corev1.RestartPolicyNever,
			AutomountServiceAccountToken:  ptr.To(false),
			TerminationGracePeriodSeconds: ptr.To(int64(10)),
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot: ptr.To(true), SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			Containers: []corev1.Container{{
				Name: "loader", Image: "localhost/loader:e2e", Args: args,
				SecurityContext: &corev1.SecurityContext{
					AllowPrivilegeEscalation: ptr.To(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
				},
				VolumeMounts: []corev1.VolumeMount{{Name: "credentials", MountPath: "/etc/loader/credentials", ReadOnly: true}},
			}},
			Volumes: []corev1.Volume{{Name: "credentials", VolumeSource: corev1.VolumeSource{
				Secret: &corev1.SecretVolumeSource{SecretName: "loader-credentials"},
			}}},
		},
	}
	remove(t, pod.DeepCopy())
	if err := kube.Create(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
}

// summary is what the loader prints every half second.
type summary struct {
	NewConnections, KeepAlive1, KeepAlive2, Failures, SlowestMillis int
	Authorities                                                     []string
	Secret                                                          string         // its fingerprint
	Signed, Refused                                                 map[string]int // by kid: tokens, and refusals by verifiers
	Fetched, Checked                                                int            // JWKS, of which all tokens were verified by the latter
}

func (s summary) String() string {
	return fmt.Sprintf("%d requests with new connections, %d over HTTP/1.1 and %d over HTTP/2 connections that stay; %d failed; the slowest took %d ms",
		s.NewConnections, s.KeepAlive1, s.KeepAlive2, s.Failures, s.SlowestMillis)
}

// load is constant until the test ends.
type load struct{ begin time.Time }

const loaderPod = "loader"

func startLoad(t *testing.T, args ...string) *load {
	t.Helper()
	createLoader(t, loaderPod, args...)
	await(t, time.Minute, "the loader", func(ctx context.Context) string {
		pod := &corev1.Pod{}
		if err := kube.Get(ctx, client.ObjectKey{Namespace: "e2e", Name: loaderPod}, pod); err != nil {
			return err.Error()
		}
		if pod.Status.Phase != corev1.PodRunning {
			return string(pod.Status.Phase)
		}
		return ""
	})
	l := &load{begin: time.Now()}
	l.goOn(t)
	t.Cleanup(func() {
		_ = kube.Delete(context.Background(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "e2e", Name: loaderPod}})
	})
	return l
}

func (l *load) now(t *testing.T) (summary, bool) {
	t.Helper()
	lines := strings.Split(logs(t, "e2e", loaderPod, 50), "\n")
	slices.Reverse(lines)
	for _, line := range lines {
		var s summary
		if strings.Contains(line, "newConnections") && json.Unmarshal([]byte(line), &s) == nil {
			return s, true
		}
	}
	return summary{}, false
}

// goOn waits until 25 more requests of each kind were answered, after what has just been done took effect.
func (l *load) goOn(t *testing.T) {
	t.Helper()
	before, _ := l.now(t)
	await(t, 30*time.Second, "more requests", func(context.Context) string {
		now, ok := l.now(t)
		if !ok || min(now.NewConnections-before.NewConnections, now.KeepAlive1-before.KeepAlive1, now.KeepAlive2-before.KeepAlive2) < 25 {
			return now.String()
		}
		return ""
	})
}

// phase does something under load and fails if a request failed.
func (l *load) phase(t *testing.T, name string, do func(t *testing.T)) {
	t.Helper()
	before, _ := l.now(t)
	begin := time.Now()
	do(t)
	l.goOn(t)
	after, _ := l.now(t)
	requests := func(s summary) int { return s.NewConnections + s.KeepAlive1 + s.KeepAlive2 }
	say("%s: %.1f s, %d requests, %d failed", name, time.Since(begin).Seconds(), requests(after)-requests(before), after.Failures-before.Failures)
	if after.Failures > before.Failures {
		t.Errorf("%s: %d requests failed:\n%s", name, after.Failures-before.Failures, l.failures(t))
	}
}

func (l *load) failures(t *testing.T) string {
	var failures bytes.Buffer
	for _, line := range strings.Split(logs(t, "e2e", loaderPod, 10000), "\n") {
		if strings.Contains(line, `"failure"`) {
			fmt.Fprintln(&failures, line)
		}
	}
	return failures.String()
}
