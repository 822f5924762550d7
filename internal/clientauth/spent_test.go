package clientauth

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestAssertionsAreUsedOnce(t *testing.T) {
	a := newAsserter(t)
	good := signed(goodHeader(), goodClaims())
	a.wantGood(good, now)
	a.wantBad(good, now, ReasonReplayed)
	again := signed(with(goodHeader(), "alg", "RS256", "kid", "RS256"), with(goodClaims(), "exp", now.Add(5*time.Minute).Unix()))
	a.wantBad(again, now, ReasonReplayed) // the id counts, not the text
	end := now.Add(time.Minute + leeway)
	a.wantBad(good, end.Add(-time.Nanosecond), ReasonReplayed)
	a.wantBad(good, end, ReasonExpired)
	a.wantGood(signed(goodHeader(), with(goodClaims(), "jti", "two")), now)
	a.client("other", nil, testKeys()["ES256"].JWK("ES256"))
	other := signed(goodHeader(), with(goodClaims(), "iss", "jobs.other", "sub", "jobs.other"))
	if client, _, failure := a.try(other, now); failure != nil || client.ID != "jobs.other" {
		t.Errorf("the id of another client's assertion: %+v, %+v", client, failure)
	}
}

// TestBadAssertionsUseUpNothing: otherwise whoever guesses an id could keep the client from using it.
func TestBadAssertionsUseUpNothing(t *testing.T) {
	a := newAsserter(t)
	a.client("other", nil, testKeys()["ES256"].JWK("ES256"))
	header, claims := goodHeader(), goodClaims()
	a.wantBad(signed(header, with(claims, "aud", "https://other.example.com")), now, ReasonWrongAudience)
	a.wantBad(signed(header, with(claims, "exp", 1)), now, ReasonExpired)
	a.wantBad(signed(with(header, "typ", "at+jwt"), claims), now, ReasonWrongType)
	a.wantBad(signed(with(header, "kid", "RS256"), claims), now, ReasonUnknownKey)
	a.wantBad(testKeys()["ES384"].Sign(text(with(header, "alg", "ES384", "kid", "ES256")), text(claims)), now, ReasonUnknownKey)
	a.wantBad(hs256([]byte("secret"))(), now, ReasonWrongAlgorithm)
	if _, _, failure := a.tryAs("jobs.other", signed(header, claims), now); failure != errOtherClientID {
		t.Errorf("another client_id: %+v", failure)
	}
	a.wantGood(signed(header, claims), now)
}

// TestOneOfManyWins: an assertion that is sent many times at once is good for one of them.
func TestOneOfManyWins(t *testing.T) {
	a := newAsserter(t)
	good := signed(goodHeader(), goodClaims())
	var won atomic.Int32
	var group sync.WaitGroup
	start := make(chan struct{})
	for range 32 {
		group.Go(func() {
			<-start
			if _, _, failure := a.try(good, now); failure == nil {
				won.Add(1)
			} else if failure.Reason != ReasonReplayed {
				t.Errorf("refused because of %s", failure.Reason)
			}
		})
	}
	close(start)
	group.Wait()
	if won.Load() != 1 {
		t.Errorf("%d of them were good", won.Load())
	}
}

// TestSpentAssertionsAreBounded: a client that uses too many is refused, and only that; nothing is forgotten before it
// has ended, and then all of it is.
func TestSpentAssertionsAreBounded(t *testing.T) {
	s := newSpentAssertions()
	const life = maxAssertionLife + 2*leeway
	for i := range maxLiveAssertions {
		end := now.Add(time.Duration(i) * life / maxLiveAssertions)
		if reason := s.spend("jobs.busy", fmt.Sprint(i), end, now); reason != "" {
			t.Fatalf("assertion %d: %s", i, reason)
		}
	}
	if reason := s.spend("jobs.busy", "more", now.Add(life), now); reason != ReasonTooManyAssertions {
		t.Errorf("one more: %q", reason)
	}
	if reason := s.spend("jobs.busy", "0", now, now); reason != ReasonReplayed {
		t.Errorf("the first again: %q", reason)
	}
	if reason := s.spend("jobs.quiet", "more", now.Add(life), now); reason != "" {
		t.Errorf("another client: %q", reason)
	}
	// Time goes on, and makes room.
	for i := range maxLiveAssertions {
		end := now.Add(time.Duration(i) * life / maxLiveAssertions)
		if i%97 == 0 {
			if reason := s.spend("jobs.busy", fmt.Sprint(i), end, end.Add(-time.Nanosecond)); reason != ReasonReplayed {
				t.Fatalf("assertion %d, just before it ends: %q", i, reason)
			}
		}
	}
	later := now.Add(2 * spentPeriod)
	if reason := s.spend("jobs.busy", "more", later.Add(life), later); reason != "" {
		t.Errorf("after a while: %q", reason)
	}
	end := now.Add(life + 2*spentPeriod + life)
	if reason := s.spend("jobs.quiet", "last", end, end); reason != "" || len(s.periods) != 1 || len(s.periods[periodOf(end)].ids) != 1 {
		t.Errorf("at last: %q, and it remembers %d periods", reason, len(s.periods))
	}
}
