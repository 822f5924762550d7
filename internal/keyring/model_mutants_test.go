package keyring

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

// mutants break the machine in one way each, from outside: they change what it sees, or what it decides.
var mutants = map[string]func(Ring, Memory, Input) Result{
	"no dwell": func(ring Ring, memory Memory, in Input) Result {
		return Step(ring, impatient(memory, v1alpha1.KeyAnnounced), in)
	},
	"a dwell of half the time": func(ring Ring, memory Memory, in Input) Result {
		memory = Memory{seen: maps.Clone(memory.seen), due: memory.due}
		for kid, e := range memory.seen {
			if e.state == v1alpha1.KeyAnnounced && in.Elapsed-e.since >= dwell/2 {
				e.done = true
				memory.seen[kid] = e
			}
		}
		return Step(ring, memory, in)
	},
	"activation without a look at the endpoints": func(ring Ring, memory Memory, in Input) Result {
		in.Endpoints = slices.Clone(in.Endpoints)
		for i := range in.Endpoints {
			in.Endpoints[i].Problem, in.Endpoints[i].KIDs = "", nil
			for _, key := range ring.Keys {
				in.Endpoints[i].KIDs = append(in.Endpoints[i].KIDs, key.KID)
			}
		}
		return Step(ring, memory, in)
	},
	"one endpoint is as good as all": func(ring Ring, memory Memory, in Input) Result {
		in.Endpoints = in.Endpoints[:min(1, len(in.Endpoints))]
		return Step(ring, memory, in)
	},
	"endpoints that cannot be asked do not count": func(ring Ring, memory Memory, in Input) Result {
		in.Endpoints = slices.DeleteFunc(slices.Clone(in.Endpoints), func(e Endpoint) bool { return e.Problem != "" })
		return Step(ring, memory, in)
	},
	"removal without a look at the endpoints": func(ring Ring, memory Memory, in Input) Result {
		in.Endpoints = slices.Clone(in.Endpoints)
		for i := range in.Endpoints {
			in.Endpoints[i].KeyRing, in.Endpoints[i].Problem = ring.Version(), ""
		}
		return Step(ring, memory, in)
	},
	"retired keys are removed early": func(ring Ring, memory Memory, in Input) Result {
		early := ring.clone()
		for i := range early.Keys {
			key := &early.Keys[i]
			if key.State == v1alpha1.KeyRetired {
				key.Lifetime.Duration = time.Second
			}
		}
		in.MaxLifetime = time.Second
		r := Step(early, memory, in)
		return restoreLifetimes(r, ring)
	},
	"tokens live as long as they may now": func(ring Ring, memory Memory, in Input) Result {
		short := ring.clone()
		for i := range short.Keys {
			short.Keys[i].Lifetime.Duration = in.MaxLifetime
		}
		return Step(short, memory, in)
	},
	"the wall clock alone": func(ring Ring, memory Memory, in Input) Result {
		in.Elapsed = in.Now.Sub(modelEpoch)
		return Step(ring, memory, in)
	},
	"a leader remembers what the last one saw of time": func(ring Ring, memory Memory, in Input) Result {
		for i := range ring.Keys { // the state in the ring is what it goes by
			key := ring.Keys[i]
			if key.State == v1alpha1.KeyAnnounced && in.Now.Sub(key.Since) >= dwell {
				memory = impatient(memory, v1alpha1.KeyAnnounced)
			}
		}
		return Step(ring, memory, in)
	},
	"the next key is announced late": func(ring Ring, memory Memory, in Input) Result {
		r := Step(ring, memory, in)
		for _, change := range r.Changes {
			if change.State == v1alpha1.KeyAnnounced && len(r.Changes) > 1 {
				r.Ring.drop(change.KID)
			}
		}
		return r
	},
	"an unpublished key signs": func(ring Ring, memory Memory, in Input) Result {
		r := Step(ring, memory, in)
		for _, change := range r.Changes {
			if next := r.Ring.in(change.Algorithm, v1alpha1.KeyAnnounced); change.State == v1alpha1.KeyRetired && next >= 0 {
				if active := r.Ring.in(change.Algorithm, v1alpha1.KeyActive); active >= 0 {
					keys := r.Ring.Keys
					keys[next].State, keys[active].State = v1alpha1.KeyActive, v1alpha1.KeyAnnounced
				}
			}
		}
		return r
	},
	"an active key is removed when it is not listed any more": func(ring Ring, memory Memory, in Input) Result {
		r := Step(ring, memory, in)
		for _, change := range r.Changes {
			if change.State == v1alpha1.KeyRetired && !slices.Contains(in.Algorithms, change.Algorithm) {
				r.Ring.drop(change.KID)
			}
		}
		return r
	},
	"an unlisted algorithm goes at once": func(ring Ring, memory Memory, in Input) Result {
		r := Step(ring, memory, in)
		for i := range r.Ring.Keys {
			if key := &r.Ring.Keys[i]; !slices.Contains(in.Algorithms, key.Algorithm) && key.State == v1alpha1.KeyActive {
				key.State, key.Since, r.Changed = v1alpha1.KeyRetired, in.Now, true
			}
		}
		return r
	},
	"an added algorithm signs at once": func(ring Ring, memory Memory, in Input) Result {
		r := Step(ring, memory, in)
		for _, change := range r.Changes {
			if change.State == v1alpha1.KeyAnnounced && r.Ring.in(change.Algorithm, v1alpha1.KeyActive) < 0 {
				r.Ring.Keys[r.Ring.in(change.Algorithm, v1alpha1.KeyAnnounced)].State = v1alpha1.KeyActive
			}
		}
		return r
	},
	"no bound": func(ring Ring, memory Memory, in Input) Result {
		var retired []Key
		visible := Ring{Revoked: ring.Revoked}
		for _, key := range ring.Keys {
			if key.State == v1alpha1.KeyRetired && !slices.Contains(in.Revoked, key.KID) && len(retired) < len(ring.Keys)-6 {
				retired = append(retired, key)
			} else {
				visible.Keys = append(visible.Keys, key)
			}
		}
		r := Step(visible, memory, in)
		for _, key := range retired {
			r.Ring.add(key)
		}
		return r
	},
	"revocation waits": func(ring Ring, memory Memory, in Input) Result {
		in.Revoked = nil
		return Step(ring, memory, in)
	},
}

// impatient is a memory in which everything was seen for long enough as soon as it was seen once.
func impatient(memory Memory, state v1alpha1.SigningKeyState) Memory {
	memory = Memory{seen: maps.Clone(memory.seen), due: memory.due}
	for kid, e := range memory.seen {
		if e.state == state && e.begun {
			e.done = true
			memory.seen[kid] = e
		}
	}
	return memory
}

func restoreLifetimes(r Result, from Ring) Result {
	r.Changed = len(r.Changes) > 0
	for i := range r.Ring.Keys {
		for _, key := range from.Keys {
			if key.KID == r.Ring.Keys[i].KID {
				r.Ring.Keys[i].Lifetime = key.Lifetime
			}
		}
	}
	return r
}

// TestModelCatchesMutants: a model that notices nothing proves nothing.
func TestModelCatchesMutants(t *testing.T) {
	for name, mutant := range mutants {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := uint64(1); seed <= 40; seed++ {
				if err := newModel(seed, mutant).run(4000); err != nil {
					t.Logf("seed %d: %v", seed, err)
					return
				}
			}
			t.Error("40 runs found nothing wrong with it")
		})
	}
}
