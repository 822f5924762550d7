package clientauth

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

const (
	// failureInterval and failureBurst bound the failures of one client_id from one source: so many at once, and then one
	// in each interval (RFC 6749 section 2.3.1: protect any endpoint that takes a password against brute force). A secret
	// of 256 bits is not guessed at any rate; this bounds what guessing costs us, and lets a misconfigured client find out.
	failureInterval = 200 * time.Millisecond
	failureBurst    = 50

	// maxGuessers bounds the memory of the throttle to less than a megabyte. What was quiet for long is forgotten first.
	maxGuessers = 16384

	// sourcePrefix is how much of an IPv6 address counts: whoever has one address commonly has all of its /64.
	sourcePrefix = 64
)

// throttle counts failures by client_id and source. It keeps hashes only: what is sent as client_id may be long, or a
// secret that went into the wrong field.
//
// It is the generic cell rate algorithm: each failure takes an interval to be forgotten, one after the other, and all that
// is kept is when the last one will be.
type throttle struct {
	seed maphash.Seed
	half int

	mu     sync.Mutex
	start  time.Time     // of the first failure, from which instants are counted: by the clock that nobody sets
	latest time.Duration // that a failure came; one that took its time to come counts as of then
	// By guesser: those of late, and those before that, of whom none is among the first.
	recent, older map[uint64]time.Duration
}

// guesser is who fails.
type guesser struct {
	clientID string
	source   netip.Addr
}

func newThrottle(size int) *throttle {
	return &throttle{seed: maphash.MakeSeed(), half: size / 2, recent: map[uint64]time.Duration{}, older: map[uint64]time.Duration{}}
}

// allow counts a failure and reports whether it is within bounds.
func (t *throttle) allow(clientID string, source netip.Addr, now time.Time) bool {
	key := maphash.Comparable(t.seed, guesser{clientID: clientID, source: Network(source)})
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.start.IsZero() {
		t.start = now
	}
	t.latest = max(t.latest, now.Sub(t.start))
	before := t.take(key)
	forgotten := max(before, t.latest) + failureInterval
	within := forgotten-t.latest <= failureBurst*failureInterval
	if !within {
		forgotten = before
	}
	t.put(key, forgotten)
	return within
}

// take is when the failures of a guesser will be forgotten, long ago if there are none.
func (t *throttle) take(key uint64) time.Duration {
	if forgotten, ok := t.recent[key]; ok {
		return forgotten
	}
	forgotten := t.older[key]
	delete(t.older, key)
	return forgotten
}

// put keeps it among those of late. When there is no place left for it, those before them make room.
func (t *throttle) put(key uint64, forgotten time.Duration) {
	if _, ok := t.recent[key]; !ok && len(t.recent) >= t.half {
		t.recent, t.older = t.older, t.recent
		clear(t.recent)
	}
	t.recent[key] = forgotten
}

// Network is what counts as one source: an IPv4 address, or all that share the /64 of one of IPv6.
func Network(source netip.Addr) netip.Addr {
	source = source.Unmap().WithZone("")
	if !source.Is6() {
		return source
	}
	prefix, err := source.Prefix(sourcePrefix)
	if err != nil {
		return source
	}
	return prefix.Addr()
}
