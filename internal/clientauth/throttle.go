package clientauth

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/utils/lru"
)

const (
	// failureRate and failureBurst bound the failures of one client_id from one source (RFC 6749 section 2.3.1: protect
	// any endpoint that takes a password against brute force). A secret of 256 bits is not guessed at any rate; this
	// bounds what guessing costs us, and lets a misconfigured client find out.
	failureRate  = rate.Limit(5)
	failureBurst = 50

	// maxGuessers bounds the memory of the throttle to a few megabytes. What was quiet the longest is forgotten first.
	maxGuessers = 16384

	// sourcePrefix is how much of an IPv6 address counts: whoever has one address commonly has all of its /64.
	sourcePrefix = 64
)

// throttle counts failures by client_id and source. It keeps hashes only: what is sent as client_id may be long, or a
// secret that went into the wrong field.
type throttle struct {
	seed     maphash.Seed
	mu       sync.Mutex // makes finding a limiter, and making it, one step
	limiters *lru.Cache
}

// guesser is who fails.
type guesser struct {
	clientID string
	source   netip.Addr
}

func newThrottle(size int) *throttle {
	return &throttle{seed: maphash.MakeSeed(), limiters: lru.New(size)}
}

// allow counts a failure and reports whether it is within bounds.
func (t *throttle) allow(clientID string, source netip.Addr, now time.Time) bool {
	return t.limiter(guesser{clientID: clientID, source: Network(source)}).AllowN(now, 1)
}

func (t *throttle) limiter(g guesser) *rate.Limiter {
	key := maphash.Comparable(t.seed, g)
	t.mu.Lock()
	defer t.mu.Unlock()
	if found, ok := t.limiters.Get(key); ok {
		return found.(*rate.Limiter)
	}
	limiter := rate.NewLimiter(failureRate, failureBurst)
	t.limiters.Add(key, limiter)
	return limiter
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
