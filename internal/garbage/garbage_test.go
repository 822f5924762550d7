package garbage

import (
	"runtime"
	"runtime/metrics"
	"testing"
	"time"
)

func TestPercent(t *testing.T) {
	for alive, want := range map[uint64]int{
		0: 900, 1 << 20: 900, 4 << 20: 900, 8 << 20: 500, 32 << 20: 200, 64 << 20: 150, 1 << 40: 100,
	} {
		if got := percent(alive); got != want {
			t.Errorf("with %d bytes alive: %d %%, want %d", alive, got, want)
		}
	}
}

// TestLeaveRoom wants the collector to be adjusted after each collection, to more and to less.
func TestLeaveRoom(t *testing.T) {
	t.Setenv("GOGC", "")
	LeaveRoom()
	await := func(ok func(percent uint64) bool) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); !ok(current()); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("GOGC is %d with %d bytes alive", current(), alive())
			}
			runtime.GC()
		}
	}
	await(func(percent uint64) bool { return percent > 300 })
	kept := make([]byte, 2*room)
	await(func(percent uint64) bool { return percent <= 150 })
	runtime.KeepAlive(kept)
	await(func(percent uint64) bool { return percent > 300 })
}

// TestEnvironment wants who sets GOGC to have it.
func TestEnvironment(t *testing.T) {
	t.Setenv("GOGC", "100")
	before := current()
	LeaveRoom()
	if got := current(); got != before {
		t.Errorf("GOGC was %d and is %d", before, got)
	}
}

func current() uint64 {
	sample := []metrics.Sample{{Name: "/gc/gogc:percent"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
