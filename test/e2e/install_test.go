//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

const (
	system     = "m2m-system"
	issuerName = "m2m-issuer-default" // of the Deployment and its friends
	managers   = "m2m-manager"
	host       = issuerName + "." + system + ".svc"
)

// overlay is a kustomization of config/default with another image.
func overlay(t *testing.T, image string) string {
	t.Helper()
	colon := strings.LastIndex(image, ":")
	name, tag := image[:colon], image[colon+1:]
	directory := filepath.Join(root, "bin/e2e", tag)
	if err := os.MkdirAll(directory, 0o755); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("resources: [../../../config/default]\nimages:\n  - {name: localhost/m2m-operator, newName: %q, newTag: %q}\n", name, tag)
	if err := os.WriteFile(filepath.Join(directory, "kustomization.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return directory
}

// install applies config/default, as often as one likes, and waits for what its user waits for.
func install(t *testing.T, image string) {
	t.Helper()
	t.Cleanup(func() {
		if t.Failed() {
			diagnose(t)
		}
	})
	kubectl(t, "apply", "-k", overlay(t, image))
	awaitReady(t, &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "default"}})
	awaitRollout(t, managers, 2)
	awaitRollout(t, issuerName, 2)
}

type conditioned interface {
	client.Object
	v1alpha1.Conditioned
}

// awaitReady waits until the operator has looked at the object as it is now and says Ready.
func awaitReady(t *testing.T, object conditioned) {
	t.Helper()
	await(t, time.Minute, fmt.Sprintf("%T %s Ready", object, object.GetName()), func(ctx context.Context) string {
		if err := kube.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
			return err.Error()
		}
		ready := meta.FindStatusCondition(*object.StatusConditions(), v1alpha1.ConditionReady)
		if ready == nil || ready.Status != metav1.ConditionTrue || *object.ObservedGeneration() != object.GetGeneration() {
			return fmt.Sprintf("%+v", ready)
		}
		return ""
	})
}

// awaitRollout waits until exactly so many pods of a Deployment of the install namespace run, all as it says now.
func awaitRollout(t *testing.T, name string, replicas int32) time.Duration {
	t.Helper()
	return await(t, 2*time.Minute, "rollout of "+name, func(ctx context.Context) string {
		d := &appsv1.Deployment{}
		if err := kube.Get(ctx, client.ObjectKey{Namespace: system, Name: name}, d); err != nil {
			return err.Error()
		}
		s := d.Status
		if s.ObservedGeneration != d.Generation || *d.Spec.Replicas != replicas || s.UpdatedReplicas != replicas || s.AvailableReplicas != replicas || s.Replicas != replicas {
			return fmt.Sprintf("%+v", s)
		}
		var pods corev1.PodList
		if err := kube.List(ctx, &pods, client.InNamespace(system), client.MatchingLabels(d.Spec.Selector.MatchLabels)); err != nil {
			return err.Error()
		}
		if len(pods.Items) != int(replicas) {
			return fmt.Sprintf("%d pods", len(pods.Items))
		}
		return ""
	})
}

// issuerPods are the pods that answer token requests, those that are going excepted.
func issuerPods(t *testing.T) []corev1.Pod {
	t.Helper()
	var all corev1.PodList
	if err := kube.List(t.Context(), &all, client.InNamespace(system), client.MatchingLabels{"app.kubernetes.io/name": "m2m-issuer"}); err != nil {
		t.Fatal(err)
	}
	var pods []corev1.Pod
	for _, pod := range all.Items {
		if pod.DeletionTimestamp == nil {
			pods = append(pods, pod)
		}
	}
	return pods
}

// diagnose tells what somebody who looks for a fault would ask the cluster.
func diagnose(t *testing.T) {
	t.Helper()
	for _, args := range [][]string{
		{"get", "pods", "-A", "-o", "wide"},
		{"get", "events", "-n", system, "--sort-by=.lastTimestamp"},
		{"get", "tokenissuers,apiresources,m2mclients,scopegrants", "-A"},
		{"logs", "-n", system, "-l", "app.kubernetes.io/name=m2m-manager", "--prefix", "--tail=30"},
		{"logs", "-n", system, "-l", "app.kubernetes.io/name=m2m-issuer", "--prefix", "--tail=30"},
	} {
		output, err := command(root, kubectlBin, append([]string{"--kubeconfig", kubeconfig}, args...)...)
		if err != nil {
			output = err.Error()
		}
		t.Logf("kubectl %s\n%s", strings.Join(args, " "), output)
	}
}

// testInstall: one command on an empty cluster, and nothing else to do.
func testInstall(t *testing.T) {
	uninstallLeftovers(t)
	begin := time.Now()
	install(t, image)
	say("install: Ready after %.1f s", time.Since(begin).Seconds())
	namespace := &corev1.Namespace{}
	if err := kube.Get(t.Context(), client.ObjectKey{Name: system}, namespace); err != nil || namespace.Labels["pod-security.kubernetes.io/enforce"] != "restricted" {
		t.Errorf("the install namespace does not enforce restricted Pod Security: %v %v", namespace.Labels, err)
	}
	pods := issuerPods(t)
	if len(pods) != 2 {
		t.Errorf("%d issuer pods", len(pods))
	}
	for _, pod := range pods {
		if got := pod.Spec.Containers[0].Image; got != image {
			t.Errorf("image %s, not the managers' %s", got, image)
		}
	}
	ensureCaller(t)
	output := podOutput(t, "once", "--once")
	var claims struct{ Iss, Scope string }
	if err := json.Unmarshal([]byte(output), &claims); err != nil || claims.Iss != "https://"+host || claims.Scope != "loader:load" {
		t.Errorf("a pod got %s: %v", output, err)
	}
}

// uninstallLeftovers of an earlier run.
func uninstallLeftovers(t *testing.T) {
	t.Helper()
	for _, namespace := range []string{"e2e", "jobs", "courses"} {
		kubectl(t, "delete", "namespace", namespace, "--ignore-not-found", "--timeout=60s")
	}
	kubectl(t, "delete", "-k", overlay(t, image), "--ignore-not-found", "--timeout=60s")
}

// podOutput runs the loader in a pod that mounts the caller's credential Secret, to its end.
func podOutput(t *testing.T, name string, args ...string) string {
	t.Helper()
	createLoader(t, name, args...)
	await(t, time.Minute, "pod "+name, func(ctx context.Context) string {
		pod := &corev1.Pod{}
		if err := kube.Get(ctx, client.ObjectKey{Namespace: "e2e", Name: name}, pod); err != nil {
			return err.Error()
		}
		if pod.Status.Phase == corev1.PodFailed {
			t.Fatalf("the pod failed: %s", logs(t, "e2e", name, 100))
		}
		if pod.Status.Phase != corev1.PodSucceeded {
			return string(pod.Status.Phase)
		}
		return ""
	})
	return logs(t, "e2e", name, 100)
}

func logs(t *testing.T, namespace, pod string, lines int64) string {
	t.Helper()
	text, err := clients.CoreV1().Pods(namespace).GetLogs(pod, &corev1.PodLogOptions{TailLines: &lines}).DoRaw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// ensureCaller applies the tests' own client, API and grant, and waits until they get a token.
func ensureCaller(t *testing.T) {
	t.Helper()
	kubectl(t, "apply", "--server-side", "--force-conflicts", "-f", filepath.Join(root, "test/e2e/testdata/loader.yaml"))
	in := metav1.ObjectMeta{Namespace: "e2e", Name: "loader"}
	awaitReady(t, &v1alpha1.ApiResource{ObjectMeta: in})
	awaitReady(t, &v1alpha1.M2MClient{ObjectMeta: in})
	awaitReady(t, &v1alpha1.ScopeGrant{ObjectMeta: in})
	awaitService(t)
}

// awaitService waits until the Service leads to issuers: kube-proxy hears of them a moment after they are ready.
func awaitService(t *testing.T) {
	t.Helper()
	c := newCaller(t)
	await(t, 10*time.Second, "a token from the Service", func(ctx context.Context) string {
		if got := c.ask(ctx, c.at(doors(t)["Service"])); got != "granted" {
			return got
		}
		return ""
	})
}

// remove deletes an object and waits until it is gone.
func remove(t *testing.T, object client.Object) {
	t.Helper()
	background := client.PropagationPolicy(metav1.DeletePropagationBackground) // of a Job, the pods would stay
	if err := kube.Delete(t.Context(), object, background); err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
	await(t, time.Minute, "deletion of "+object.GetName(), func(ctx context.Context) string {
		err := kube.Get(ctx, client.ObjectKeyFromObject(object), object)
		if apierrors.IsNotFound(err) {
			return ""
		}
		return fmt.Sprint("still there; ", err)
	})
}
