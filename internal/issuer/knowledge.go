package issuer

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/m2m-operator/m2m-operator/internal/access"
)

// Knowledge says where what a server knows comes from.
type Knowledge struct {
	// Restored is when the API server was last heard of by who wrote the snapshot that the server has fallen back on; zero:
	// it has not.
	Restored time.Time
	// Unlisted are the kinds that the API server has not listed since the start.
	Unlisted []string
	// OlderLists are those that were older than what was known before, by kind. Every kind has an element.
	OlderLists map[string]OlderLists
	// SnapshotBytes is the size of the snapshot that is written, 0 while none is.
	SnapshotBytes int64
	// SnapshotFailures is how often writing it failed.
	SnapshotFailures int
}

// OlderLists of one kind. All but Count is of the last.
type OlderLists struct {
	Count int
	At    time.Time
	// Listed is the resourceVersion of the list, or of an object in it, and Seen the one that was known.
	Listed, Seen string
}

// SetKnowledge sets how to tell where the knowledge comes from.
func (s *State) SetKnowledge(knowledge func() Knowledge) { s.knowledge.Store(&knowledge) }

func (s *State) getKnowledge() Knowledge {
	if knowledge := s.knowledge.Load(); knowledge != nil {
		return (*knowledge)()
	}
	return Knowledge{}
}

// fromSnapshot reports whether what is served is, at least in part, what a snapshot says.
func (k Knowledge) fromSnapshot() bool { return !k.Restored.IsZero() && len(k.Unlisted) > 0 }

// staleness is how long ago the API server was last heard of the kind that it was heard of the longest ago; since the
// start, if never.
func (s *State) staleness(now, started time.Time) time.Duration {
	oldest := time.Duration(0)
	heard := s.watchHeard()
	if len(heard) == 0 {
		return elapsed(now, started)
	}
	for _, at := range heard {
		if at.IsZero() {
			at = started
		}
		oldest = max(oldest, elapsed(now, at))
	}
	return oldest
}

// elapsed is the time between two moments, by the clock that people set or by the one that they cannot set, whichever says
// more: the former may have been set back since, and the latter stands still while a machine sleeps. A moment that seems
// to lie ahead is taken to be as far in the past: better too old than too new.
func elapsed(now, at time.Time) time.Duration {
	return max(now.Round(0).Sub(at.Round(0)).Abs(), now.Sub(at))
}

// tooStale reports whether what is known is older than the TokenIssuer lets it be to issue by it.
func (s *State) tooStale(issuer *access.Issuer, now, started time.Time) bool {
	return issuer.MaxStaleness > 0 && s.staleness(now, started) > issuer.MaxStaleness
}

// verbose lists what readiness is made of, and how old the knowledge is, as components of Kubernetes do.
func (s *Server) verbose() (text string, ready bool) {
	var lines strings.Builder
	ready = true
	line := func(name, problem string) {
		if problem == "" {
			fmt.Fprintf(&lines, "[+]%s ok\n", name)
			return
		}
		fmt.Fprintf(&lines, "[-]%s failed: %s\n", name, problem)
	}
	needs := append(slices.Clone(servingNeeds), need{"shutdown", func(*State) string {
		if s.draining.Load() {
			return whyDraining
		}
		return ""
	}})
	for _, n := range needs {
		problem := n.missing(s.state)
		line(n.name, problem)
		ready = ready && problem == ""
	}
	now := s.now()
	for _, note := range s.state.notes(now, s.started) {
		lines.WriteString("[+]" + note + "\n")
	}
	if issuer, _ := s.state.issuer(); s.state.tooStale(issuer, now, s.started) { // which does not make the server unready: it serves keys still
		line("issuing", "what is known is older than spec.maxStaleness")
	}
	verdict := "failed"
	if ready {
		verdict = "passed"
	}
	return lines.String() + "readyz check " + verdict, ready
}

// notes tell how old what is known is, and where it comes from.
func (s *State) notes(now, started time.Time) []string {
	k := s.getKnowledge()
	notes := []string{fmt.Sprintf("staleness ok: the API server was heard %s ago", s.staleness(now, started).Round(time.Millisecond))}
	switch {
	case k.fromSnapshot():
		notes = append(notes, fmt.Sprintf("source ok: serving from a snapshot of %s; not yet listed by the API server: %s",
			k.Restored.UTC().Format(time.RFC3339), strings.Join(k.Unlisted, ", ")))
	case len(k.Unlisted) > 0:
		notes = append(notes, "source ok: waiting for the API server to list "+strings.Join(k.Unlisted, ", "))
	default:
		notes = append(notes, "source ok: the API server")
	}
	if k.SnapshotBytes > 0 {
		notes = append(notes, fmt.Sprintf("snapshot ok: %d bytes are written", k.SnapshotBytes))
	} else {
		notes = append(notes, "snapshot ok: none is written")
	}
	for _, kind := range slices.Sorted(maps.Keys(k.OlderLists)) {
		if older := k.OlderLists[kind]; older.Count > 0 {
			notes = append(notes, fmt.Sprintf("lists ok: %s was listed at resourceVersion %s at %s, which is older than %s that was known; "+
				"the API server was restored or lags behind", kind, older.Listed, older.At.UTC().Format(time.RFC3339), older.Seen))
		}
	}
	return notes
}
