//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

func ensureCourses(t *testing.T) {
	t.Helper()
	kubectl(t, "apply", "--server-side", "--force-conflicts", "-k", filepath.Join(root, "config/samples/course-management"))
	awaitReady(t, &v1alpha1.ApiResource{ObjectMeta: metav1.ObjectMeta{Namespace: "courses", Name: "course-api"}})
	awaitReady(t, &v1alpha1.M2MClient{ObjectMeta: metav1.ObjectMeta{Namespace: "jobs", Name: "publisher"}})
	awaitReady(t, &v1alpha1.ScopeGrant{ObjectMeta: metav1.ObjectMeta{Namespace: "courses", Name: "nightly-publisher"}})
}

// testCourses is the sample's story in pods.
func testCourses(t *testing.T) {
	install(t, image)
	ensureCourses(t)
	remove(t, &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "courses", Name: "course-api"}}) // it remembers what was published
	kubectl(t, "apply", "--server-side", "-f", filepath.Join(root, "test/e2e/testdata/courses.yaml"))
	await(t, time.Minute, "course-api", func(ctx context.Context) string {
		d := &appsv1.Deployment{}
		if err := kube.Get(ctx, client.ObjectKey{Namespace: "courses", Name: "course-api"}, d); err != nil {
			return err.Error()
		}
		if d.Status.AvailableReplicas != 1 {
			return fmt.Sprintf("%+v", d.Status)
		}
		return ""
	})
	publish(t, "night-1", true, "got a token", "published  ")

	kubectl(t, "delete", "-n", "courses", "scopegrant", "nightly-publisher")
	publish(t, "night-2", false, "publisher: no token: invalid_target: ")
	ensureCourses(t)
	publish(t, "night-3", true, "got a token", "0 of ")

	kubectl(t, "patch", "-n", "jobs", "m2mclient", "publisher", "--type=merge", "-p", `{"spec":{"suspend":true}}`)
	publish(t, "night-4", false, "publisher: no token: invalid_client: ")
	kubectl(t, "patch", "-n", "jobs", "m2mclient", "publisher", "--type=merge", "-p", `{"spec":{"suspend":false}}`)
	publish(t, "night-5", true, "got a token")
}

// publish runs a Job of the CronJob, to a good end or to a bad one, and looks into its log.
func publish(t *testing.T, name string, good bool, wanted ...string) {
	t.Helper()
	remove(t, &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "jobs", Name: name}})
	kubectl(t, "create", "job", "-n", "jobs", name, "--from=cronjob/publisher")
	job := &batchv1.Job{}
	took := await(t, time.Minute, "job "+name, func(ctx context.Context) string {
		if err := kube.Get(ctx, client.ObjectKey{Namespace: "jobs", Name: name}, job); err != nil {
			return err.Error()
		}
		for _, c := range job.Status.Conditions {
			if (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) && c.Status == corev1.ConditionTrue {
				return ""
			}
		}
		return "neither complete nor failed"
	})
	var pods corev1.PodList
	if err := kube.List(t.Context(), &pods, client.InNamespace("jobs"), client.MatchingLabels{"batch.kubernetes.io/controller-uid": string(job.UID)}); err != nil || len(pods.Items) != 1 {
		t.Fatalf("%d pods of the job: %v", len(pods.Items), err)
	}
	text := logs(t, "jobs", pods.Items[0].Name, 100)
	if succeeded := job.Status.Succeeded == 1; succeeded != good {
		t.Errorf("%s: succeeded: %t, log:\n%s", name, succeeded, text)
	}
	for _, w := range wanted {
		if !strings.Contains(text, w) {
			t.Errorf("%s: %q is not in the log:\n%s", name, w, text)
		}
	}
	say("job %s after %.1f s: %s", name, took.Seconds(), strings.ReplaceAll(strings.TrimSpace(text), "\n", " | "))
}
