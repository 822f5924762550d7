// Package garbage keeps Go's collector from being at work all the time where little is alive.
//
// By itself Go collects when there is as much garbage as is alive. Of a token server with a thousand clients that is a few
// megabytes, which some hundred requests make: it would go through everything that it knows again and again.
package garbage

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

const (
	// room is how many bytes of garbage there may be besides as much as is alive, before they are collected.
	room = 32 << 20
	// usual is GOGC's default: as much garbage as is alive.
	usual = 100
	// least is the heap in bytes that Go takes GOGC as a part of, where less is alive.
	least = 4 << 20
)

// LeaveRoom lets garbage take 32 MiB, and as much as is alive besides, before it is collected. GOMEMLIMIT counts
// as ever, and who sets GOGC in the environment has decided otherwise. It goes by what the last collection has found alive, so
// that it is for when that does not grow any more.
func LeaveRoom() {
	if os.Getenv("GOGC") == "" {
		adjust()
	}
}

// adjust does so for what is alive now, and again after every collection, once what it left is swept.
func adjust() {
	debug.SetGCPercent(percent(alive()))
	runtime.AddCleanup(new(canary), func(struct{}) { adjust() }, struct{}{})
}

// canary is dead as soon as it is made, so that its cleanup runs then. It holds a pointer, as what
// shares its memory with others may live as long as they do.
type canary struct{ _ *canary }

// percent is the value of GOGC at which there is room beside so many bytes.
func percent(alive uint64) int {
	return int(usual + usual*room/max(alive, least))
}

// alive is how many bytes the last collection has found in use.
func alive() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
