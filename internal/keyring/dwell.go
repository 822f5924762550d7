package keyring

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

const (
	// dwell is for how long every endpoint must be seen to serve a key before it signs: a verifier that has fetched the
	// JWKS just before may keep it for MaxAge. The rest is for endpoints that come and go between two looks.
	dwell = MaxAge + Skew
	// maxGap between two looks at the endpoints: after a longer one nobody knows who served what meanwhile.
	maxGap = Skew / 2
	// ObserveEvery is how often endpoints are asked while something waits for them.
	ObserveEvery = 5 * time.Second
	// idleEvery is how often where there are none: that some are there now is told anyway.
	idleEvery = time.Minute
	// tail is how long a retired key stays after its last token has expired.
	tail = MaxAge + Skew
)

// Endpoint is what one ready endpoint of the issuer's Service answered.
type Endpoint struct {
	// Address that people know it by.
	Address string
	// KeyRing is the Version of the ring that it has taken in.
	KeyRing string
	// KIDs that its JWKS holds.
	KIDs []string
	// Problem is why it could not be asked; "" if it could.
	Problem string
}

func (e Endpoint) serves(kid string) bool { return slices.Contains(e.KIDs, kid) }

// Memory is what the leader has seen of the endpoints. Its zero value is that of a leader which has just begun.
type Memory struct {
	seen map[string]seen // by kid
	due  map[v1alpha1.SigningAlgorithm]time.Duration
	// looked and endpoints are of the last look.
	looked    bool
	endpoints []Endpoint
}

// seen is since when every endpoint has been seen to know the state of a key: to serve an announced one, or to have taken
// in a ring in which a retired one signs no more.
type seen struct {
	state       v1alpha1.SigningKeyState
	begun       bool
	since, last time.Duration // by the leader's clock
	at          time.Time     // since, by the wall clock, for people
	now         bool          // at this very step
	done        bool          // for as long as it takes
}

// after is the memory after a step's observation of a ring.
func (m Memory) after(ring Ring, in Input) Memory {
	next := Memory{seen: map[string]seen{}, due: maps.Clone(m.due)}
	if next.due == nil {
		next.due = map[v1alpha1.SigningAlgorithm]time.Duration{}
	}
	next.looked, next.endpoints = m.looked, m.endpoints
	if in.Observed {
		next.looked, next.endpoints = true, in.Endpoints
	}
	version := ring.Version()
	for _, key := range ring.Keys {
		if key.State == v1alpha1.KeyActive {
			continue
		}
		e := m.seen[key.KID]
		if e.state != key.State {
			e = seen{state: key.State}
		}
		e.now = false
		if in.Observed {
			e = e.observe(in, func(endpoint Endpoint) bool {
				if key.State == v1alpha1.KeyRetired {
					return endpoint.KeyRing == version
				}
				return endpoint.serves(key.KID)
			})
		}
		next.seen[key.KID] = e
	}
	return next
}

// observe takes in what was seen at the endpoints, of which knows says whether one knows the key's state.
func (e seen) observe(in Input, knows func(Endpoint) bool) seen {
	unknown, ignorant := len(in.Endpoints) == 0, false
	for _, endpoint := range in.Endpoints {
		unknown = unknown || endpoint.Problem != ""
		ignorant = ignorant || (endpoint.Problem == "" && !knows(endpoint))
	}
	e.now = !unknown && !ignorant
	switch {
	case e.done && (e.state == v1alpha1.KeyRetired || !ignorant): // it stays done: no endpoint forgets
	case !e.now:
		return seen{state: e.state}
	case !e.begun || in.Elapsed-e.last > maxGap:
		e.begun, e.since, e.at = true, in.Elapsed, in.Now.UTC().Truncate(time.Second)
	}
	e.last = in.Elapsed
	e.done = e.done || in.Elapsed-e.since >= dwell
	return e
}

// dwelled reports whether a key has been published for as long as a verifier may keep a JWKS without it, everywhere, and
// still is.
func (s *step) dwelled(key *Key) bool {
	e := s.Memory.seen[key.KID]
	return e.done && e.now
}

// life is how long the tokens of a key may live.
func (k Key) life() time.Duration { return cmp.Or(k.Lifetime.Duration, v1alpha1.MaxTokenLifetime) }

// left is how long a retired key has to stay yet, and whether that is known.
func (s *step) left(key Key) (time.Duration, bool) {
	e := s.Memory.seen[key.KID]
	if !e.done {
		return 0, false
	}
	life := key.life() + tail
	return max(e.since+life-s.Elapsed, key.Since.Add(life).Sub(s.Now)), true
}
