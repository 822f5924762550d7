//go:build e2e

package e2e

import (
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/hack/demo/nightly"
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
	kubectl(t, "apply", "--server-side", "-f", filepath.Join(root, "hack/demo/pods.yaml"))
	kubectl(t, "rollout", "status", "-n", "courses", "deployment/course-api", "--timeout=60s")
	if err := nightly.AwaitAPI(t.Context(), clients); err != nil {
		t.Fatal(err)
	}
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
	ran, err := nightly.Run(t.Context(), clients, name)
	if err != nil {
		t.Fatal(err)
	}
	if ran.Succeeded != good {
		t.Errorf("%s: succeeded: %t, log:\n%s", name, ran.Succeeded, ran.Log)
	}
	for _, w := range wanted {
		if !strings.Contains(ran.Log, w) {
			t.Errorf("%s: %q is not in the log:\n%s", name, w, ran.Log)
		}
	}
	say("job %s after %.1f s: %s", name, ran.Took.Seconds(), strings.ReplaceAll(strings.TrimSpace(ran.Log), "\n", " | "))
}
