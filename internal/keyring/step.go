package keyring

import (
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

// Policy is what a TokenIssuer asks for.
type Policy struct {
	// Algorithms to have keys for, the default first.
	Algorithms []v1alpha1.SigningAlgorithm
	// Interval after which an active key's turn ends, by the wall clock.
	Interval time.Duration
	// Revision of which any change ends the turn of every active key.
	Revision string
	// Revoked keys, by kid.
	Revoked []string
	// MaxLifetime of tokens.
	MaxLifetime time.Duration
}

// Input is what Step decides from.
type Input struct {
	Policy
	// Private keys that there are, each in its slot. Only their public halves are looked at.
	Private map[Slot]jose.JSONWebKey
	// Taken are the slots whose Secrets' names are taken, by whatever.
	Taken []Slot
	// Observed says whether Endpoints is what serves now: every ready endpoint, after it was asked. It must have been asked
	// after the ring was read.
	Observed  bool
	Endpoints []Endpoint
	// Now is the wall clock, which people read, and which may jump.
	Now time.Time
	// Elapsed since the leader began, by a clock that does not jump.
	Elapsed time.Duration
}

// Result of a step.
type Result struct {
	// Ring to be kept, if Changed.
	Ring    Ring
	Changed bool
	// Memory to pass to the next step. It is never kept: a new leader begins with none.
	Memory Memory
	// Make are slots whose private key is to be made, if there is none yet, before the next step.
	Make []Slot
	// Drop are slots whose private key nothing needs any more, once Ring is kept.
	Drop []Slot
	// Changes that lead from the former ring to this one.
	Changes []Change
	// Waits are what is due and cannot happen yet, in the order of the algorithms.
	Waits []Wait
	// Overdue is for how long each algorithm's rotation has been due.
	Overdue map[v1alpha1.SigningAlgorithm]time.Duration
	// Until is when each key's state is expected to end. What cannot be told is left out.
	Until map[string]time.Time
	// Observe asks for endpoints to be observed at the next step.
	Observe bool
	// Next is when to step again at the latest; zero: only when something else changes.
	Next time.Duration
}

// Again reports whether there may be more to do at once.
func (r Result) Again() bool { return len(r.Changes) > 0 || len(r.Make) > 0 }

// Change is one that happens to one key.
type Change struct {
	KID       string
	Algorithm v1alpha1.SigningAlgorithm
	// State that it is in now; "" if it is removed.
	State v1alpha1.SigningKeyState
	// Revoked says that this is why.
	Revoked bool
}

// step is one of one ring.
type step struct {
	Input
	Result
	private map[Slot]jose.JSONWebKey // without revoked ones
}

// Step makes at most one transition of a ring.
func Step(ring Ring, memory Memory, in Input) Result {
	s := &step{Input: in, Result: Result{Ring: ring.clone()}, private: map[Slot]jose.JSONWebKey{}}
	s.Memory = memory.after(ring, in)
	for slot, key := range in.Private {
		if !s.revoked(key.KeyID) {
			s.private[slot] = key
		}
	}
	s.noteLifetimes()
	for _, transition := range []func() bool{
		s.revoke, s.revive, s.announce, s.replaceLost, s.rotate, s.retireUnlisted, s.remove,
	} {
		if transition() {
			break
		}
	}
	s.Changed = s.Changed || len(s.Changes) > 0
	s.clear()
	s.look()
	return s.Result
}

func (s *step) revoked(kid string) bool {
	return slices.Contains(s.Revoked, kid) || slices.Contains(s.Ring.Revoked, kid)
}

func (s *step) listed(algorithm v1alpha1.SigningAlgorithm) bool {
	return slices.Contains(s.Algorithms, algorithm)
}

// key of an algorithm in a state, the oldest; nil if there is none.
func (s *step) key(algorithm v1alpha1.SigningAlgorithm, state v1alpha1.SigningKeyState) *Key {
	if i := s.Ring.in(algorithm, state); i >= 0 {
		return &s.Ring.Keys[i]
	}
	return nil
}

// held reports whether the private half of a key is where it belongs.
func (s *step) held(key *Key) bool { return s.private[key.slot()].KeyID == key.KID }

func (s *step) anyActive(such func(*Key) bool) bool {
	return slices.ContainsFunc(s.Ring.Keys, func(k Key) bool { return k.State == v1alpha1.KeyActive && such(&k) })
}

// noteLifetimes keeps, with each key that may sign, the longest life that any of its tokens may have. It is noted of
// announced keys too: an issuer may learn late that lifetimes are shorter now.
func (s *step) noteLifetimes() {
	for i := range s.Ring.Keys {
		key := &s.Ring.Keys[i]
		settled := key.State == v1alpha1.KeyRetired && s.Memory.seen[key.KID].done
		if !settled && key.Lifetime.Duration > 0 && key.Lifetime.Duration < s.MaxLifetime {
			key.Lifetime = metav1.Duration{Duration: s.MaxLifetime}
			s.Changed = true
		}
	}
}

func (s *step) change(key *Key, state v1alpha1.SigningKeyState) {
	key.State, key.Since = state, s.Now.UTC().Truncate(time.Second)
	if state == v1alpha1.KeyActive {
		key.Revision = s.Revision
	}
	s.Changes = append(s.Changes, Change{KID: key.KID, Algorithm: key.Algorithm, State: state})
}

// revoke takes revoked keys out of the ring. Where one of them was active, the announced one signs at once. Issuers may
// have signed by it already: they do not wait for us. So one whose private half is gone retires.
func (s *step) revoke() bool {
	var gone []string
	orphaned := map[v1alpha1.SigningAlgorithm]bool{}
	for _, key := range s.Ring.Keys {
		if s.revoked(key.KID) {
			gone = append(gone, key.KID)
			orphaned[key.Algorithm] = orphaned[key.Algorithm] || key.State == v1alpha1.KeyActive
			s.Changes = append(s.Changes, Change{KID: key.KID, Algorithm: key.Algorithm, Revoked: true})
		}
	}
	if len(gone) == 0 {
		return false
	}
	s.Ring.drop(gone...)
	s.Ring.Revoked = append(s.Ring.Revoked, gone...)
	slices.Sort(s.Ring.Revoked)
	s.Ring.Revoked = slices.Compact(s.Ring.Revoked)
	for i := range s.Ring.Keys {
		key := &s.Ring.Keys[i]
		switch {
		case key.State != v1alpha1.KeyAnnounced || !orphaned[key.Algorithm]:
		case s.held(key):
			s.change(key, v1alpha1.KeyActive)
			orphaned[key.Algorithm] = false
		default:
			s.change(key, v1alpha1.KeyRetired)
		}
	}
	return true
}

// revive lets a key sign at once where nothing does: at the birth of an issuer, after every key that signed was revoked,
// and where no endpoint is ready and none could become so, since the private half of every active key is gone. To wait
// would not make verifiers any happier than a key that some do not know yet.
func (s *step) revive() bool {
	stranded := s.Observed && len(s.Endpoints) == 0 && !s.anyActive(s.held)
	unborn := !s.anyActive(func(*Key) bool { return true })
	if !stranded && !unborn {
		return false
	}
	for _, algorithm := range s.Algorithms {
		if next := s.key(algorithm, v1alpha1.KeyAnnounced); next != nil && s.held(next) {
			if lost := s.key(algorithm, v1alpha1.KeyActive); lost != nil {
				s.change(lost, v1alpha1.KeyRetired)
			}
			s.change(next, v1alpha1.KeyActive)
			return true
		}
	}
	if !unborn {
		return false // announce first
	}
	var slots []Slot
	for _, algorithm := range s.Algorithms {
		if len(s.Ring.Keys)+len(slots)+2 > MaxKeys {
			break // the others follow as algorithms that are added
		}
		slots = append(slots, s.next(algorithm, 2)...)
	}
	if s.wants(slots) {
		return true
	}
	for i, slot := range slots {
		if lost := s.key(slot.Algorithm, v1alpha1.KeyAnnounced); lost != nil && !s.held(lost) {
			s.takeOut(*lost)
		}
		state := v1alpha1.KeyActive
		if i%2 == 1 {
			state = v1alpha1.KeyAnnounced
		}
		s.publish(slot, state)
	}
	return len(slots) > 0
}

// announce gives every algorithm a next key.
func (s *step) announce() bool {
	for _, algorithm := range s.Algorithms {
		if s.key(algorithm, v1alpha1.KeyAnnounced) != nil || s.full() {
			continue
		}
		slots := s.next(algorithm, 1)
		if !s.wants(slots) {
			s.publish(slots[0], v1alpha1.KeyAnnounced)
		}
		return true
	}
	return false
}

// replaceLost takes another next key where the private half of the announced one is gone. Nothing leaves the JWKS for it.
func (s *step) replaceLost() bool {
	for _, algorithm := range s.Algorithms {
		lost := s.key(algorithm, v1alpha1.KeyAnnounced)
		if lost == nil || s.held(lost) {
			continue
		}
		slots := s.next(algorithm, 1)
		switch {
		case s.wants(slots):
			return true
		case s.full(): // it has signed nothing
			s.takeOut(*lost)
		default:
			s.change(lost, v1alpha1.KeyRetired)
		}
		s.publish(slots[0], v1alpha1.KeyAnnounced)
		return true
	}
	return false
}

// rotate lets an announced key sign whose turn it is, and announces the one after it, in one and the same ring.
func (s *step) rotate() bool {
	for _, algorithm := range s.Algorithms {
		next := s.key(algorithm, v1alpha1.KeyAnnounced)
		if s.due(algorithm) == notDue || next == nil || !s.held(next) || !s.dwelled(next) || s.full() {
			continue
		}
		slots := s.next(algorithm, 1)
		if s.wants(slots) {
			return true
		}
		if active := s.key(algorithm, v1alpha1.KeyActive); active != nil {
			s.change(active, v1alpha1.KeyRetired)
		}
		s.change(next, v1alpha1.KeyActive)
		s.publish(slots[0], v1alpha1.KeyAnnounced)
		return true
	}
	return false
}

// retireUnlisted ends the turn of an algorithm that is not listed any more, once one that is listed signs.
func (s *step) retireUnlisted() bool {
	if !s.anyActive(func(k *Key) bool { return s.listed(k.Algorithm) && s.held(k) }) {
		return false
	}
	i := slices.IndexFunc(s.Ring.Keys, func(k Key) bool { return k.State != v1alpha1.KeyRetired && !s.listed(k.Algorithm) })
	if i < 0 {
		return false
	}
	algorithm := s.Ring.Keys[i].Algorithm
	if active := s.key(algorithm, v1alpha1.KeyActive); active != nil {
		s.change(active, v1alpha1.KeyRetired)
	}
	for next := s.key(algorithm, v1alpha1.KeyAnnounced); next != nil; next = s.key(algorithm, v1alpha1.KeyAnnounced) {
		s.takeOut(*next)
	}
	return true
}

// remove takes out a retired key when the last token that it can have signed is long dead, by either clock.
func (s *step) remove() bool {
	for _, key := range s.Ring.Keys {
		if left, known := s.left(key); key.State == v1alpha1.KeyRetired && known && left <= 0 {
			s.takeOut(key)
			return true
		}
	}
	return false
}

func (s *step) takeOut(key Key) {
	s.Ring.drop(key.KID)
	s.Changes = append(s.Changes, Change{KID: key.KID, Algorithm: key.Algorithm})
}

// full reports whether there is no room for another key.
func (s *step) full() bool { return len(s.Ring.Keys) >= MaxKeys }

// next are the slots of the next keys of an algorithm: those that an interrupted run, or another manager, has filled
// already, then new ones.
func (s *step) next(algorithm v1alpha1.SigningAlgorithm, count int) []Slot {
	youngest := s.Ring.youngest(algorithm)
	var made []Slot
	for slot := range s.private {
		if slot.Algorithm == algorithm && slot.Generation > youngest {
			made = append(made, slot)
		}
	}
	slices.SortFunc(made, func(a, b Slot) int { return a.Generation - b.Generation })
	if len(made) > 0 {
		youngest = made[len(made)-1].Generation
	}
	for len(made) < count {
		youngest++
		if slot := (Slot{Algorithm: algorithm, Generation: youngest}); !slices.Contains(s.Taken, slot) {
			made = append(made, slot)
		}
	}
	return made[:count]
}

// wants asks for the keys of slots that have none, and reports whether there are such.
func (s *step) wants(slots []Slot) bool {
	for _, slot := range slots {
		if _, made := s.private[slot]; !made {
			s.Make = append(s.Make, slot)
		}
	}
	return len(s.Make) > 0
}

// publish adds the key of a slot to the ring.
func (s *step) publish(slot Slot, state v1alpha1.SigningKeyState) {
	key := newKey(slot, s.private[slot], state, s.Now)
	key.Lifetime = metav1.Duration{Duration: s.MaxLifetime}
	if state == v1alpha1.KeyActive {
		key.Revision = s.Revision
	}
	s.Ring.add(key)
	s.Changes = append(s.Changes, Change{KID: key.KID, Algorithm: key.Algorithm, State: state})
}

// clear lists the private keys that are of no more use: of keys that were removed or revoked.
func (s *step) clear() {
	for slot, key := range s.Private {
		inRing := slices.ContainsFunc(s.Ring.Keys, func(k Key) bool { return k.slot() == slot })
		ahead := s.listed(slot.Algorithm) && slot.Generation > s.Ring.youngest(slot.Algorithm)
		if s.revoked(key.KeyID) || (!inRing && !ahead) {
			s.Drop = append(s.Drop, slot)
		}
	}
	slices.SortFunc(s.Drop, compareSlots)
}
