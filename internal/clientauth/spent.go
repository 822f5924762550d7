package clientauth

import (
	"crypto/sha256"
	"sync"
	"time"
)

const (
	// maxLiveAssertions bounds how many assertions of one client are remembered, which is how many it can use within the
	// six minutes or so that one may live: ten a second for good, or all pods of a large fleet at once. Whoever needs more
	// shall keep its tokens longer. At some 50 bytes each that is 200 KiB a client; all clients together are bounded by
	// what this issuer can verify in that time, some million.
	maxLiveAssertions = 4096

	// spentPeriod is how much of time is forgotten at once.
	spentPeriod = time.Minute
)

// spentAssertions remembers the ids of the assertions that clients have used, for as long as these live (RFC 7523 section
// 3). None is forgotten before: a client that uses too many is refused.
type spentAssertions struct {
	mu      sync.Mutex
	periods map[int64]*spentInPeriod // by the number of the period that the assertions end in
}

type spentInPeriod struct {
	ids     map[spentID]struct{}
	clients map[string]int // how many of the ids are whose
}

// spentID is the hash of a client and an id: of an assertion nothing is kept that could be read, and no client can spend
// another's.
type spentID [16]byte

func newSpentAssertions() *spentAssertions {
	return &spentAssertions{periods: map[int64]*spentInPeriod{}}
}

// spend marks an assertion, which ends at an instant ahead, as used. It returns the reason why it may not be used, "" if
// it may, which it says once.
func (s *spentAssertions) spend(clientID, assertionID string, end, now time.Time) string {
	sum := sha256.Sum256([]byte(clientID + "\x00" + assertionID)) // a client ID holds no NUL
	id := spentID(sum[:])
	s.mu.Lock()
	defer s.mu.Unlock()
	live := 0
	for number, period := range s.periods {
		if periodOf(now) > number {
			delete(s.periods, number)
			continue
		}
		if _, spent := period.ids[id]; spent {
			return ReasonReplayed
		}
		live += period.clients[clientID]
	}
	if live >= maxLiveAssertions {
		return ReasonTooManyAssertions
	}
	period := s.periods[periodOf(end)]
	if period == nil {
		period = &spentInPeriod{ids: map[spentID]struct{}{}, clients: map[string]int{}}
		s.periods[periodOf(end)] = period
	}
	period.ids[id] = struct{}{}
	period.clients[clientID]++
	return ""
}

func periodOf(t time.Time) int64 { return t.Unix() / int64(spentPeriod/time.Second) }
