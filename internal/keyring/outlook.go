package keyring

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

// cause is why an active key's turn has ended.
type cause string

const (
	notDue      cause = ""
	dueFirst    cause = "no key of the algorithm signs yet"
	dueLost     cause = "the private half of the active key is gone"
	dueRevision cause = "spec.signing.revision has changed"
	dueInterval cause = "its rotation interval has passed"
)

// due is why the next key of an algorithm should sign.
func (s *step) due(algorithm v1alpha1.SigningAlgorithm) cause {
	active := s.key(algorithm, v1alpha1.KeyActive)
	switch {
	case active == nil:
		return dueFirst
	case !s.held(active):
		return dueLost
	case active.Revision != s.Revision:
		return dueRevision
	case !s.Now.Before(active.Since.Add(s.Interval)):
		return dueInterval
	}
	return notDue
}

// patience is how long a rotation may take before it counts as one that hangs.
const patience = dwell + 4*time.Minute

// Wait is something that is due, and why it has not happened.
type Wait struct {
	// Reason is one of package v1alpha1's: Rotating, KeyNotServed, NoReadyIssuer, TooManyKeys, SigningKeyLost.
	Reason, Message string
}

// look fills in what is to come.
func (s *step) look() {
	s.Overdue, s.Until = map[v1alpha1.SigningAlgorithm]time.Duration{}, map[string]time.Time{}
	for _, key := range s.Ring.Keys {
		e := s.Memory.seen[key.KID]
		switch {
		case !s.listed(key.Algorithm):
		case key.State == v1alpha1.KeyActive:
			end := key.Since.Add(s.Interval)
			s.Until[key.KID] = end
			if next := s.key(key.Algorithm, v1alpha1.KeyAnnounced); next != nil {
				s.Until[next.KID] = end
			}
			s.wake(end.Sub(s.Now))
		case key.State == v1alpha1.KeyAnnounced:
			s.Observe = s.Observe || !e.done
		}
		if key.State != v1alpha1.KeyRetired {
			continue
		}
		since := key.Since
		if e.begun && e.at.After(since) {
			since = e.at
		}
		s.Until[key.KID] = since.Add(key.life() + tail)
		if left, known := s.left(key); known {
			s.wake(left)
		}
		s.Observe = s.Observe || !e.done
	}
	for _, algorithm := range s.Algorithms {
		s.lookAt(algorithm)
	}
	for algorithm := range s.Memory.due {
		if !s.listed(algorithm) {
			delete(s.Memory.due, algorithm)
		}
	}
	if s.Observe && s.Memory.looked && len(s.Memory.endpoints) == 0 {
		s.wake(idleEvery)
	} else if s.Observe {
		s.wake(ObserveEvery)
	}
}

// lookAt says what an algorithm's rotation waits for, if one is due.
func (s *step) lookAt(algorithm v1alpha1.SigningAlgorithm) {
	cause := s.due(algorithm)
	if cause == notDue {
		delete(s.Memory.due, algorithm)
		if s.key(algorithm, v1alpha1.KeyAnnounced) == nil && s.full() {
			s.waits(v1alpha1.ReasonTooManyKeys, "The next %s key is not announced before one of the %d published keys is removed", algorithm, MaxKeys)
		}
		return
	}
	since, known := s.Memory.due[algorithm]
	if !known {
		since = s.Elapsed
		s.Memory.due[algorithm] = since
	}
	overdue := s.Elapsed - since
	if cause == dueInterval {
		overdue = max(overdue, s.Now.Sub(s.key(algorithm, v1alpha1.KeyActive).Since.Add(s.Interval)))
	}
	s.Overdue[algorithm] = overdue
	s.Observe = true
	reason, obstacle := s.obstacle(algorithm)
	if overdue < patience && reason != v1alpha1.ReasonTooManyKeys {
		reason = v1alpha1.ReasonRotating
	}
	if cause == dueLost {
		reason = v1alpha1.ReasonSigningKeyLost
	}
	s.waits(reason, "The next %s key is to sign, since %s: %s", algorithm, cause, obstacle)
}

// obstacle is what keeps the next key of an algorithm from signing.
func (s *step) obstacle(algorithm v1alpha1.SigningAlgorithm) (reason, message string) {
	next := s.key(algorithm, v1alpha1.KeyAnnounced)
	switch {
	case s.full():
		return v1alpha1.ReasonTooManyKeys, fmt.Sprintf("it waits until one of the %d published keys is removed", MaxKeys)
	case next == nil:
		return v1alpha1.ReasonRotating, "it is being made"
	case s.Memory.looked && len(s.Memory.endpoints) == 0:
		return v1alpha1.ReasonNoReadyIssuer, "it waits for a ready endpoint of the Service, which must be seen to serve it"
	}
	var obstacles []string
	for _, e := range s.Memory.endpoints {
		if e.Problem != "" {
			obstacles = append(obstacles, fmt.Sprintf("endpoint %s cannot be asked whether it serves it (%s)", e.Address, e.Problem))
		} else if !e.serves(next.KID) {
			obstacles = append(obstacles, fmt.Sprintf("endpoint %s does not serve it", e.Address))
		}
	}
	const most = 3
	if more := len(obstacles) - most; more > 0 {
		obstacles = append(obstacles[:most], fmt.Sprintf("and %d more", more))
	}
	if len(obstacles) > 0 {
		return v1alpha1.ReasonKeyNotServed, next.KID + ": " + strings.Join(obstacles, ", ")
	}
	return v1alpha1.ReasonRotating, next.KID + " has to be served by every endpoint for as long as verifiers may keep a JWKS without it"
}

func (s *step) waits(reason, format string, args ...any) {
	s.Waits = append(s.Waits, Wait{Reason: reason, Message: fmt.Sprintf(format, args...)})
}

// wake asks for another step after a while, if that is the soonest so far.
func (s *step) wake(after time.Duration) {
	if after = max(after, time.Second); s.Next == 0 || after < s.Next {
		s.Next = after
	}
}

func compareSlots(a, b Slot) int {
	return cmp.Or(strings.Compare(string(a.Algorithm), string(b.Algorithm)), a.Generation-b.Generation)
}

// Current reports whether every listed algorithm's active key is one that was asked for by the present revision.
func (r Ring) Current(policy Policy) bool {
	return !slices.ContainsFunc(policy.Algorithms, func(a v1alpha1.SigningAlgorithm) bool {
		i := r.in(a, v1alpha1.KeyActive)
		return i < 0 || r.Keys[i].Revision != policy.Revision
	})
}
