//go:build soak

package soak

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/credential"
	"github.com/m2m-operator/m2m-operator/internal/feed"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

const (
	// standstill of an issuer.
	standstill = 90 * time.Second
	// afterStandstill is how much later than it goes on an issuer knows what was taken away meanwhile, at the latest.
	afterStandstill = 45 * time.Second
	// led clients have their secrets rotated while the leader is stopped.
	led = 20
)

// testStandStill stops an issuer, and meanwhile the manager that leads, for longer than its lease.
func testStandStill(t *testing.T, w *world) {
	frozen := w.newClient(t, "frozen")
	stopped := w.issuers[1]
	for _, i := range w.issuers {
		i.comesTo(t, true, frozen)
	}
	stopped.signal(syscall.SIGSTOP)
	since := time.Now()
	w.suspend(t, "frozen")
	w.issuers[0].comesTo(t, false, frozen)
	t.Run("leader", func(t *testing.T) { testStoppedLeader(t, w) })
	until(since.Add(standstill))
	stopped.signal(syscall.SIGCONT)
	resumed := time.Now()
	stale, asked := time.Duration(0), 0
	for refused := 0; refused < 20; {
		begin := time.Since(resumed)
		granted, err := stopped.grants(frozen)
		if asked++; err != nil {
			t.Fatal(err)
		}
		if refused++; granted {
			stale, refused = begin, 0
		}
		if begin > afterStandstill {
			t.Fatalf("%s after it went on the issuer grants what was taken away", begin)
		}
	}
	if asked == 20 {
		measured("issuer stopped for %.0f s: it granted nothing that was taken away meanwhile", resumed.Sub(since).Seconds())
	} else {
		measured("issuer stopped for %.0f s: the last request that it granted wrongly began %d ms after it went on", resumed.Sub(since).Seconds(), stale.Milliseconds())
	}
	stopped.awaitReady(t)
}

// testStoppedLeader stops it in the middle of rotations. Each is done once, whoever does it.
func testStoppedLeader(t *testing.T, w *world) {
	h := w.watchSecrets(t)
	for n := range led {
		w.newClient(t, ledName(n))
	}
	former, next := w.leader(t)
	w.revise(t, "stopped")
	suite.Eventually(t, func() string { return h.atLeast(2, 1) })
	former.signal(syscall.SIGSTOP)
	since := time.Now()
	next.awaitLog(t, `"msg":"leading"`)
	measured("leader stopped: another leads %.1f s later", time.Since(since).Seconds())
	suite.Eventually(t, func() string { return w.unrevised(t, "stopped") })
	former.signal(syscall.SIGCONT)
	begin := time.Now()
	w.revise(t, "resumed") // while the former leader has not noticed that it leads no more
	suite.Eventually(t, func() string { return w.unrevised(t, "resumed") })
	suite.Eventually(t, func() string {
		if !former.ended() {
			return "the former leader runs"
		}
		return ""
	})
	measured("leader stopped: it ended %.1f s after it went on", time.Since(begin).Seconds())
	if next.ended() {
		t.Error("the manager that leads has ended")
	}
	w.startManager(t)
	suite.Eventually(t, func() string { return h.atLeast(3, led) })
	for name, ids := range h.all() {
		if len(ids) != 3 {
			t.Errorf("%s had %d secrets, and two rotations: %v", name, len(ids), ids)
		}
	}
	measured("leader stopped: %d secrets were rotated twice, and none more often", led)
}

func ledName(n int) string { return fmt.Sprint("led-", n) }

// revise asks for a rotation of all their secrets.
func (w *world) revise(t testing.TB, revision string) {
	t.Helper()
	for n := range led {
		w.change(t, ledName(n), func(spec *v1alpha1.M2MClientSpec) { spec.Credential.Revision = revision })
	}
}

func (w *world) unrevised(t testing.TB, revision string) string {
	t.Helper()
	for n := range led {
		if problem := w.revised(ledName(n), revision); problem != "" {
			return problem
		}
	}
	return ""
}

// revised is "" when a revision has been acted on.
func (w *world) revised(name, revision string) string {
	c := &v1alpha1.M2MClient{}
	if err := w.Admin.Get(ctx, client.ObjectKey{Namespace: "jobs", Name: name}, c); err != nil {
		return err.Error()
	}
	if c.Status.CredentialRevision != revision {
		return fmt.Sprintf("of %s revision %q has been acted on, and not %q yet", name, c.Status.CredentialRevision, revision)
	}
	return ""
}

// history has every credential that the Secrets of led clients ever held, in order.
type history struct {
	mu  sync.Mutex
	ids map[string][]string
}

func (w *world) watchSecrets(t testing.TB) *history {
	t.Helper()
	watcher, err := client.NewWithWatch(w.Plane.Admin(), client.Options{Scheme: feed.NewScheme()})
	if err != nil {
		t.Fatal(err)
	}
	events, err := watcher.Watch(context.Background(), &corev1.SecretList{}, client.InNamespace("jobs"))
	if err != nil {
		t.Fatal(err)
	}
	h := &history{ids: map[string][]string{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for event := range events.ResultChan() {
			h.note(event)
		}
	}()
	t.Cleanup(func() {
		events.Stop()
		<-done
	})
	return h
}

func (h *history) note(event watch.Event) {
	secret, ok := event.Object.(*corev1.Secret)
	if !ok || len(secret.Name) < 4 || secret.Name[:4] != "led-" {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	ids, id := h.ids[secret.Name], secret.Annotations[credential.AnnotationID]
	if len(ids) == 0 || ids[len(ids)-1] != id {
		h.ids[secret.Name] = append(ids, id)
	}
}

func (h *history) all() map[string][]string {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := map[string][]string{}
	for name, ids := range h.ids {
		all[name] = ids
	}
	return all
}

// atLeast is "" when so many Secrets have held so many credentials.
func (h *history) atLeast(credentials, secrets int) string {
	n := 0
	for _, ids := range h.all() {
		if len(ids) >= credentials {
			n++
		}
	}
	if n < secrets {
		return fmt.Sprintf("%d Secrets have held %d credentials", n, credentials)
	}
	return ""
}
