// Package canary finds secrets that were written down. During a test run it is told what must never appear anywhere
// (canaries: client secrets, tokens, assertions, and values that tests put where they do not belong), and what the
// product wrote (evidence: logs, events, statuses, errors). At the end of the run it looks for the one in the other.
package canary

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
)

// width is how long a canary must be at least: a shorter one could appear by accident.
const width = 16

// Run is one test run. It is safe for concurrent use.
type Run struct {
	mu       sync.Mutex
	canaries map[string]string           // what they are, by value
	evidence map[string]*strings.Builder // by place
}

// NewRun begins with nothing.
func NewRun() *Run {
	return &Run{canaries: map[string]string{}, evidence: map[string]*strings.Builder{}}
}

// Secret says that a value must never appear: as it is or, of a JWT, any of its parts. Values that are too short are
// ignored.
func (r *Run) Secret(what, value string) {
	parts := []string{value}
	if strings.Count(value, ".") == 2 {
		parts = strings.Split(value, ".")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, part := range parts {
		if len(part) >= width {
			r.canaries[part] = what
		}
	}
}

// Bytes says that bytes must never appear, in none of the usual encodings.
func (r *Run) Bytes(what string, value []byte) {
	r.Secret(what, string(value))
	r.Secret(what, hex.EncodeToString(value))
	r.Secret(what, base64.RawStdEncoding.EncodeToString(value))
	r.Secret(what, base64.RawURLEncoding.EncodeToString(value))
}

// Hostile makes a value that a test sends where nothing of the sort belongs, and that must never appear.
func (r *Run) Hostile(where string) string {
	value := "CANARY" + rand.Text()
	r.Secret("what a test sent as "+where, value)
	return value
}

// Saw takes down what was written at a place.
func (r *Run) Saw(place, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.evidence[place] == nil {
		r.evidence[place] = &strings.Builder{}
	}
	fmt.Fprintln(r.evidence[place], strings.TrimSuffix(text, "\n"))
}

// Writer takes down what is written to it.
func (r *Run) Writer(place string) io.Writer { return writer{r, place} }

type writer struct {
	run   *Run
	place string
}

func (w writer) Write(p []byte) (int, error) {
	w.run.Saw(w.place, string(p))
	return len(p), nil
}

// Size is how many canaries there are, and how many bytes of evidence.
func (r *Run) Size() (canaries, evidence int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, text := range r.evidence {
		evidence += text.Len()
	}
	return len(r.canaries), evidence
}

// Leaks are the canaries that appear in the evidence: what, where, in which line, and the line without them.
func (r *Run) Leaks() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	byStart := map[string][]string{}
	for value := range r.canaries {
		byStart[value[:width]] = append(byStart[value[:width]], value)
	}
	var leaks []string
	for _, place := range slices.Sorted(maps.Keys(r.evidence)) {
		number := 0
		for line := range strings.Lines(r.evidence[place].String()) {
			number++
			if what, rest := r.search(line, byStart); what != "" {
				leaks = append(leaks, fmt.Sprintf("%s:%d: %s is in %q", place, number, what, rest))
			}
		}
	}
	return leaks
}

// search returns what the first canary of a line is, "" if there is none, and the line without all of them.
func (r *Run) search(line string, byStart map[string][]string) (what, rest string) {
	var out strings.Builder
	for i := 0; i < len(line); {
		found := ""
		if i+width <= len(line) {
			for _, value := range byStart[line[i:i+width]] {
				if len(value) > len(found) && strings.HasPrefix(line[i:], value) {
					found = value
				}
			}
		}
		if found == "" {
			out.WriteByte(line[i])
			i++
			continue
		}
		if what == "" {
			what = r.canaries[found]
		}
		out.WriteString("<canary>")
		i += len(found)
	}
	return what, out.String()
}
