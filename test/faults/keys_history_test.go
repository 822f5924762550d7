package faults

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/keyring"
	"github.com/m2m-operator/m2m-operator/internal/manifests"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

// history is every key ring that a TokenIssuer has had, and when which key signed, by the managers' clock. What must never
// be in it is an error of the test, at whose end it is told.
type history struct {
	t testing.TB

	mu       sync.Mutex
	forged   []string // which nobody may believe
	now      keyring.Ring
	versions int
	slots    map[keyring.Slot]string             // kids
	announce map[string]time.Duration            // since when each kid is published
	state    map[string]v1alpha1.SigningKeyState // the last one of each kid; "" once it is gone
	last     map[string]time.Duration            // when a token of the kid was made last
	until    map[string]time.Time                // by kid, what status said last of when a retired key goes
	problems []string
}

var order = []v1alpha1.SigningKeyState{v1alpha1.KeyAnnounced, v1alpha1.KeyActive, v1alpha1.KeyRetired, ""}

// watchRing follows the ring of a TokenIssuer until the test ends.
func watchRing(t testing.TB, issuer string) *history {
	t.Helper()
	h := &history{
		t: t, slots: map[keyring.Slot]string{}, announce: map[string]time.Duration{}, last: map[string]time.Duration{},
		state: map[string]v1alpha1.SigningKeyState{}, until: map[string]time.Time{},
	}
	watcher, err := client.NewWithWatch(world.Plane.Admin(), client.Options{Scheme: admin.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	var watching sync.WaitGroup
	var seen []watch.Interface
	for _, of := range []struct {
		list      client.ObjectList
		namespace string
		name      string
	}{
		{&corev1.ConfigMapList{}, suite.InstallNamespace, manifests.RingName(issuer)},
		{&v1alpha1.TokenIssuerList{}, "", issuer},
	} {
		events, err := watcher.Watch(ctx, of.list, client.InNamespace(of.namespace), client.MatchingFields{"metadata.name": of.name})
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, events)
		watching.Go(func() { h.follow(events) })
	}
	t.Cleanup(func() {
		for _, events := range seen {
			events.Stop()
		}
		watching.Wait()
		for _, problem := range h.problems {
			t.Errorf("%s: %s", issuer, problem)
		}
		t.Logf("%s had %d key rings with %d keys", issuer, h.versions, len(h.state))
	})
	return h
}

func (h *history) follow(events watch.Interface) {
	for event := range events.ResultChan() {
		switch object := event.Object.(type) {
		case *corev1.ConfigMap:
			if event.Type != watch.Deleted {
				h.take(object.Data[manifests.KeyRing])
			}
		case *v1alpha1.TokenIssuer:
			h.takeStatus(object.Status.Keys)
		}
	}
}

// takeStatus takes down until when retired keys stay, which nobody may take back: who does has met another who says
// something else, and each of them will.
func (h *history) takeStatus(keys []v1alpha1.SigningKeyStatus) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, key := range keys {
		if key.State != v1alpha1.KeyRetired || key.UntilTime == nil {
			continue
		}
		if key.UntilTime.Time.Before(h.until[key.KID]) {
			h.problem("status said that %s stays until %s, and says %s", key.KID, h.until[key.KID], key.UntilTime)
		}
		h.until[key.KID] = key.UntilTime.Time
	}
}

func (h *history) problem(format string, args ...any) {
	h.problems = append(h.problems, fmt.Sprintf("at %s: ", elapsed())+fmt.Sprintf(format, args...))
}

func (h *history) take(data string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if slices.Contains(h.forged, data) {
		return
	}
	ring, err := keyring.ParseRing([]byte(data))
	if err != nil {
		h.problem("%v", err)
		return
	}
	before := h.now
	if h.now = ring; ring.Version() == before.Version() {
		return
	}
	h.versions++
	count := map[string]int{}
	for _, key := range ring.Keys {
		h.takeKey(before, key)
		count[string(key.Algorithm)+string(key.State)]++
		if key.State != v1alpha1.KeyRetired && count[string(key.Algorithm)+string(key.State)] > 1 {
			h.problem("two %s keys are %s", key.Algorithm, key.State)
		}
	}
	for _, key := range before.Keys {
		if ring.Has(key.KID) {
			continue
		}
		if last, signed := h.last[key.KID]; signed && elapsed() < last+published && !slices.Contains(ring.Revoked, key.KID) {
			h.problem("%s is published no more, and signed %s ago", key.KID, elapsed()-last)
		}
		h.state[key.KID] = ""
	}
	for _, kid := range before.Revoked {
		if !slices.Contains(ring.Revoked, kid) {
			h.problem("the revocation of %s was forgotten", kid)
		}
	}
}

func (h *history) takeKey(before keyring.Ring, key keyring.Key) {
	slot := keyring.Slot{Algorithm: key.Algorithm, Generation: key.Generation}
	if other, taken := h.slots[slot]; taken && other != key.KID {
		h.problem("the ring has forked: %v was %s and is %s", slot, other, key.KID)
	}
	h.slots[slot] = key.KID
	if _, known := h.announce[key.KID]; !known {
		h.announce[key.KID] = elapsed()
	} else if slices.Index(order, key.State) < slices.Index(order, h.state[key.KID]) {
		h.problem("%s was %q and is %s", key.KID, h.state[key.KID], key.State)
	}
	h.state[key.KID] = key.State
	if slices.Contains(h.now.Revoked, key.KID) {
		h.problem("the revoked key %s is published", key.KID)
	}
	emergency := len(before.Keys) == 0 || len(h.now.Revoked) > len(before.Revoked)
	if since := elapsed() - h.announce[key.KID]; key.State == v1alpha1.KeyActive && !active(before, key.KID) && !emergency &&
		since < keyring.MaxAge+keyring.Skew-moment { // the watch may have told of it late
		h.problem("%s signs, and was announced %s ago", key.KID, since)
	}
}

func active(ring keyring.Ring, kid string) bool {
	return slices.ContainsFunc(ring.Keys, func(k keyring.Key) bool { return k.KID == kid && k.State == v1alpha1.KeyActive })
}

// signed takes down that a key has signed.
func (h *history) signed(kid string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last[kid] = elapsed()
}

// alive reports whether there may be a token of the key that has not expired, or a verifier whose clock is slow.
func (h *history) alive(kid string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return elapsed() <= h.last[kid]+lifetime+keyring.Skew
}

// count is how many rings there were.
func (h *history) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.versions
}

// unsettled says what the ring lacks, or has too much of: of every algorithm there shall be an active and an announced key
// and no other, none of them gone.
func (h *history) unsettled(algorithms []v1alpha1.SigningAlgorithm, gone []string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var states, wanted []string
	for _, key := range h.now.Keys {
		states = append(states, string(key.Algorithm)+" "+string(key.State))
		if slices.Contains(gone, key.KID) {
			return fmt.Sprintf("%s is %s", key.KID, key.State)
		}
	}
	for _, algorithm := range algorithms {
		wanted = append(wanted, string(algorithm)+" Active", string(algorithm)+" Announced")
	}
	if !slices.Equal(states, wanted) {
		return fmt.Sprintf("the keys are %v, want %v", states, wanted)
	}
	return ""
}

// unrotated says whether a key has yet to cease to be the active one, or another to be, or the next to be announced.
func (h *history) unrotated(kid string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	states := map[v1alpha1.SigningKeyState]string{}
	for _, key := range h.now.Keys {
		states[key.State] = key.KID
	}
	if active := states[v1alpha1.KeyActive]; active == "" || active == kid || states[v1alpha1.KeyAnnounced] == "" {
		return fmt.Sprintf("%v after a rotation that %s was active before", states, kid)
	}
	return ""
}

// generations is the highest that a key of the algorithm has had.
func (h *history) generations(algorithm v1alpha1.SigningAlgorithm) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now.Youngest[algorithm]
}

// had reports whether a key was ever in the ring.
func (h *history) had(kid string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, had := h.announce[kid]
	return had
}

// forge lets a ring pass by that is not to be believed.
func (h *history) forge(data string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.forged = append(h.forged, data)
}
