package outages

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/m2m-operator/m2m-operator/test/suite"
)

func metaOf(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name}
}

// TestRestoredBackup: when the API server knows less than before, issuers say so and follow it, be it that they ran on or
// that they were restarted meanwhile.
func TestRestoredBackup(t *testing.T) {
	running, restarted := newContainer(t), newContainer(t)
	p, q := running.start(), restarted.start()
	p.awaitReady()
	q.awaitReady()
	p.wants("granted", "restored")

	kill(t)
	backup := filepath.Join(t.TempDir(), "backup")
	if err := os.CopyFS(backup, os.DirFS(world.Plane.DataDir())); err != nil {
		t.Fatal(err)
	}
	revive(t)
	for range 200 { // so that the restored API server does not soon come to where it was
		if err := world.Admin.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", GenerateName: "lost-"}}); err != nil {
			t.Fatal(err)
		}
	}
	suspend(t, "restored")
	p.comesTo("invalid_client", "restored")
	q.comesTo("invalid_client", "restored")
	restarted.awaitSaved("M2MClient", "jobs/restored", `"suspend":true`)

	kill(t)
	q.kill()
	if err := os.RemoveAll(world.Plane.DataDir()); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(world.Plane.DataDir(), os.DirFS(backup)); err != nil {
		t.Fatal(err)
	}
	q = restarted.start()
	q.awaitReady()
	q.wants("invalid_client", "restored")
	revive(t)
	for _, p := range []*process{p, q} {
		p.comesTo("granted", "restored")
		p.awaitLog("lists less than what was known")
		suite.Eventually(t, func() string {
			if value := p.metric(`m2m_issuer_older_lists_total{kind="M2MClient"}`); value == "0" || value == "" {
				return "older lists of M2MClient: " + value
			}
			return ""
		})
		if a := p.ops("/readyz?verbose"); a.status != 200 || !strings.Contains(a.body, "[+]lists ok: M2MClient was listed at resourceVersion ") {
			t.Errorf("verbose says %s", a)
		}
	}
}
