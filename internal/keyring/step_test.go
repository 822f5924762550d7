package keyring_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/keyring"
)

// keeper is a leader with its Secrets, ring and endpoints.
type keeper struct {
	t         *testing.T
	policy    keyring.Policy
	ring      keyring.Ring
	memory    keyring.Memory
	private   map[keyring.Slot]jose.JSONWebKey
	taken     []keyring.Slot
	elapsed   time.Duration
	wall      time.Time
	endpoints func(keyring.Ring) []keyring.Endpoint
	last      keyring.Result
}

func newKeeper(t *testing.T, algorithms ...v1alpha1.SigningAlgorithm) *keeper {
	k := &keeper{
		t: t, private: map[keyring.Slot]jose.JSONWebKey{}, wall: now, endpoints: upToDate,
		policy: keyring.Policy{Algorithms: algorithms, Interval: 720 * time.Hour, MaxLifetime: time.Hour},
	}
	k.step()
	return k
}

// upToDate is one endpoint that serves what there is.
func upToDate(ring keyring.Ring) []keyring.Endpoint {
	e := keyring.Endpoint{Address: "10.0.0.1", KeyRing: ring.Version()}
	for _, key := range ring.Keys {
		e.KIDs = append(e.KIDs, key.KID)
	}
	return []keyring.Endpoint{e}
}

// step does all that can be done at once.
func (k *keeper) step() {
	k.t.Helper()
	for range 30 {
		taken := slices.Clone(k.taken)
		for slot := range k.private {
			taken = append(taken, slot)
		}
		r := keyring.Step(k.ring, k.memory, keyring.Input{
			Policy: k.policy, Private: k.private, Taken: taken, Observed: true, Endpoints: k.endpoints(k.ring),
			Now: k.wall, Elapsed: k.elapsed,
		})
		k.ring, k.memory, k.last = r.Ring, r.Memory, r
		for _, slot := range r.Make {
			k.private[slot] = generate(k.t, slot.Algorithm)
		}
		for _, slot := range r.Drop {
			delete(k.private, slot)
		}
		if !r.Again() {
			return
		}
	}
	k.t.Fatal("it does not come to rest")
}

// pass lets time go by on both clocks, with a look every now and then.
func (k *keeper) pass(d time.Duration) {
	k.t.Helper()
	for ; d > 0; d -= keyring.ObserveEvery {
		k.elapsed += min(d, keyring.ObserveEvery)
		k.wall = k.wall.Add(min(d, keyring.ObserveEvery))
		k.step()
	}
}

// sleep lets time go by without a look.
func (k *keeper) sleep(d time.Duration) {
	k.elapsed += d
	k.wall = k.wall.Add(d)
}

func (k *keeper) want(algorithm v1alpha1.SigningAlgorithm, want string) {
	k.t.Helper()
	if got := states(k.ring, algorithm); got != want {
		k.t.Fatalf("%s is %q, want %q; waits %v", algorithm, got, want, k.last.Waits)
	}
}

func (k *keeper) kid(algorithm v1alpha1.SigningAlgorithm, state v1alpha1.SigningKeyState) string {
	k.t.Helper()
	for _, key := range k.ring.Keys {
		if key.Algorithm == algorithm && key.State == state {
			return key.KID
		}
	}
	k.t.Fatalf("there is no %s key of %s", state, algorithm)
	return ""
}

func (k *keeper) lose(kid string) {
	for slot, key := range k.private {
		if key.KeyID == kid {
			delete(k.private, slot)
		}
	}
}

func (k *keeper) waits(reason, part string) {
	k.t.Helper()
	for _, w := range k.last.Waits {
		if w.Reason == reason && strings.Contains(w.Message, part) {
			return
		}
	}
	k.t.Errorf("nothing waits for %s: ...%s..., but %v", reason, part, k.last.Waits)
}

const dwell = keyring.MaxAge + keyring.Skew

func TestARotationTakesADwell(t *testing.T) {
	k := newKeeper(t, v1alpha1.ES256)
	k.want(v1alpha1.ES256, "Active Announced")
	active, next := k.kid(v1alpha1.ES256, v1alpha1.KeyActive), k.kid(v1alpha1.ES256, v1alpha1.KeyAnnounced)
	k.policy.Revision = "2026-11"
	k.pass(dwell - 10*time.Second)
	k.want(v1alpha1.ES256, "Active Announced")
	k.waits(v1alpha1.ReasonRotating, next)
	if len(k.last.Overdue) != 1 || k.ring.Current(k.policy) {
		t.Errorf("overdue %v, current %t", k.last.Overdue, k.ring.Current(k.policy))
	}
	k.pass(10 * time.Second)
	k.want(v1alpha1.ES256, "Retired Active Announced")
	if k.kid(v1alpha1.ES256, v1alpha1.KeyRetired) != active || k.kid(v1alpha1.ES256, v1alpha1.KeyActive) != next {
		t.Error("other keys than those whose turn it was")
	}
	if len(k.last.Waits) != 0 || len(k.last.Overdue) != 0 || !k.ring.Current(k.policy) {
		t.Errorf("done, and yet: %v, %v", k.last.Waits, k.last.Overdue)
	}
	end := now.Add(dwell + time.Hour + dwell)
	if until := k.last.Until[active]; until.Before(end) || until.After(end.Add(time.Minute)) {
		t.Errorf("the retired key is to stay until %s, want about %s", until, end)
	}
	k.pass(dwell)
	if k.last.Observe || k.last.Next < 50*time.Minute {
		t.Errorf("everything is seen, and the endpoints are asked on and on: %v, %s", k.last.Observe, k.last.Next)
	}
	k.sleep(k.last.Next - time.Second)
	k.step()
	k.want(v1alpha1.ES256, "Retired Active Announced")
	k.sleep(time.Second)
	k.step()
	k.want(v1alpha1.ES256, "Active Announced")
	if k.ring.Has(active) || len(k.private) != 2 {
		t.Errorf("%d private keys are kept", len(k.private))
	}
}

func TestAScheduledRotationIsInTime(t *testing.T) {
	k := newKeeper(t, v1alpha1.ES256)
	k.pass(dwell)
	if k.last.Next != 720*time.Hour-dwell || k.last.Observe {
		t.Fatalf("next at %s, observe %t", k.last.Next, k.last.Observe)
	}
	k.sleep(k.last.Next)
	k.step()
	k.want(v1alpha1.ES256, "Retired Active Announced")
}

func TestWhatKeepsAKeyFromSigning(t *testing.T) {
	without := func(kid string) func(keyring.Ring) []keyring.Endpoint {
		return func(ring keyring.Ring) []keyring.Endpoint {
			lagging := upToDate(ring)[0]
			lagging.Address = "10.0.0.2"
			lagging.KIDs = slices.DeleteFunc(lagging.KIDs, func(k string) bool { return k == kid })
			return append(upToDate(ring), lagging)
		}
	}
	for name, test := range map[string]struct {
		endpoints func(k *keeper) func(keyring.Ring) []keyring.Endpoint
		reason    string
		part      string
	}{
		"no endpoint": {func(*keeper) func(keyring.Ring) []keyring.Endpoint {
			return func(keyring.Ring) []keyring.Endpoint { return nil }
		}, v1alpha1.ReasonNoReadyIssuer, "ready endpoint"},
		"one that does not serve it": {func(k *keeper) func(keyring.Ring) []keyring.Endpoint {
			return without(k.kid(v1alpha1.ES256, v1alpha1.KeyAnnounced))
		}, v1alpha1.ReasonKeyNotServed, "endpoint 10.0.0.2 does not serve it"},
		"one that does not answer": {func(*keeper) func(keyring.Ring) []keyring.Endpoint {
			return func(ring keyring.Ring) []keyring.Endpoint {
				return append(upToDate(ring), keyring.Endpoint{Address: "10.0.0.2", Problem: "timeout"})
			}
		}, v1alpha1.ReasonKeyNotServed, "10.0.0.2 cannot be asked whether it serves it (timeout)"},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKeeper(t, v1alpha1.ES256)
			k.endpoints = test.endpoints(k)
			k.policy.Revision = "2"
			k.pass(time.Hour)
			k.want(v1alpha1.ES256, "Active Announced")
			k.waits(test.reason, test.part)
			if overdue := k.last.Overdue[v1alpha1.ES256]; overdue < 59*time.Minute {
				t.Errorf("overdue for %s", overdue)
			}
			k.endpoints = upToDate
			k.pass(dwell)
			k.want(v1alpha1.ES256, "Active Announced") // the dwell begins with what is seen now
			k.pass(keyring.ObserveEvery)
			k.want(v1alpha1.ES256, "Retired Active Announced")
		})
	}
}

func TestAFailoverAndAJumpBeginTheDwellAgain(t *testing.T) {
	for name, mishap := range map[string]func(*keeper){
		"failover":          func(k *keeper) { k.memory, k.elapsed = keyring.Memory{}, 0 },
		"nobody has looked": func(k *keeper) { k.sleep(time.Minute) },
		"the key was away": func(k *keeper) {
			k.endpoints = func(ring keyring.Ring) []keyring.Endpoint { return []keyring.Endpoint{{KeyRing: ring.Version()}} }
			k.pass(keyring.ObserveEvery)
			k.endpoints = upToDate
		},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKeeper(t, v1alpha1.ES256)
			k.policy.Revision = "2"
			k.pass(dwell - keyring.ObserveEvery)
			mishap(k)
			k.wall = k.wall.Add(time.Hour)
			k.pass(dwell)
			k.want(v1alpha1.ES256, "Active Announced")
			k.pass(keyring.ObserveEvery)
			k.want(v1alpha1.ES256, "Retired Active Announced")
		})
	}
}

func TestNeitherClockAloneRemovesAKey(t *testing.T) {
	rotated := func(t *testing.T) *keeper {
		k := newKeeper(t, v1alpha1.ES256)
		k.policy.Revision = "2"
		k.pass(2*dwell + keyring.ObserveEvery)
		k.want(v1alpha1.ES256, "Retired Active Announced")
		return k
	}
	wall := rotated(t)
	wall.wall = wall.wall.Add(100 * time.Hour)
	wall.step()
	wall.want(v1alpha1.ES256, "Retired Active Announced")
	monotonic := rotated(t)
	monotonic.elapsed += 100 * time.Hour
	monotonic.step()
	monotonic.want(v1alpha1.ES256, "Retired Active Announced")
	monotonic.wall = monotonic.wall.Add(100 * time.Hour)
	monotonic.step()
	monotonic.want(v1alpha1.ES256, "Active Announced")
}

func TestARetiredKeyStaysWhileAnEndpointMaySignByIt(t *testing.T) {
	k := newKeeper(t, v1alpha1.ES256)
	before := k.ring
	k.policy.Revision = "2"
	k.pass(dwell)
	k.want(v1alpha1.ES256, "Retired Active Announced")
	k.endpoints = func(ring keyring.Ring) []keyring.Endpoint {
		return append(upToDate(ring), keyring.Endpoint{KeyRing: before.Version(), KIDs: upToDate(before)[0].KIDs})
	}
	k.pass(3 * time.Hour)
	k.want(v1alpha1.ES256, "Retired Active Announced")
	k.endpoints = upToDate
	k.pass(time.Hour + dwell)
	k.want(v1alpha1.ES256, "Retired Active Announced")
	k.pass(keyring.ObserveEvery)
	k.want(v1alpha1.ES256, "Active Announced")
}

func TestTheLongestLifetimeCounts(t *testing.T) {
	k := newKeeper(t, v1alpha1.ES256)
	k.policy.MaxLifetime = 5 * time.Hour
	k.step()
	k.policy.MaxLifetime = time.Minute
	k.policy.Revision = "2"
	k.pass(2*dwell + keyring.ObserveEvery)
	k.want(v1alpha1.ES256, "Retired Active Announced")
	if k.last.Next < 4*time.Hour {
		t.Errorf("a key that signed for 5h may go in %s", k.last.Next)
	}
}
