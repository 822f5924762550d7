package controllers

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// TestPace: however many clients are due at once, no minute gets more than its share, nobody's turn is lost by asking
// again, and everybody has one.
func TestPace(t *testing.T) {
	const clients, perMinute = 1000, 60
	start := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	p := newPace(perMinute)
	key := func(i int) types.NamespacedName { return types.NamespacedName{Namespace: "fleet", Name: fmt.Sprint(i)} }
	turns := map[int]time.Time{}
	for i := range clients {
		turns[i] = p.turn(key(i), start)
	}
	perWindow := map[time.Duration]int{}
	for i, turn := range turns {
		if again := p.turn(key(i), start.Add(time.Minute)); !again.Equal(turn) {
			t.Fatalf("asked again, client %d has its turn at %s instead of %s", i, again, turn)
		}
		perWindow[turn.Sub(start)/time.Minute]++
	}
	for minute, n := range perWindow {
		if n > perMinute+1 {
			t.Errorf("%d turns in minute %d", n, minute)
		}
	}
	if last := turns[clients-1].Sub(start); last > clients/perMinute*time.Minute+time.Minute {
		t.Errorf("the last turn is after %s", last)
	}
	p.leave(key(0))
	if again := p.turn(key(0), start); !again.After(turns[clients-1]) {
		t.Error("who left has its old turn")
	}
}
