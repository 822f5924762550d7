package credential_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/credential"
)

// history is a world in which accidents happen, and what is remembered of it to judge it by.
type history struct {
	*world
	random *rand.Rand
	steps  []string
	copies []*secret // of the Secret, for somebody to put back
	// undisturbed: the Secret is as the manager has written it, and no status was lost since.
	undisturbed bool
	accepted    map[string]bool // values: whether they were at the last look
	dead        map[string]bool // values that were accepted once, and then no more
	revisions   int             // changes of the revision
	byRevision  int             // new values on their account
	losesStatus bool            // it may happen in this history, in which the dead may so come back, as after a restore
}

func newHistory(t *testing.T, seed uint64) *history {
	h := &history{world: newWorld(t), random: rand.New(rand.NewPCG(seed, 1)), accepted: map[string]bool{}, dead: map[string]bool{}}
	h.losesStatus = seed%2 == 0
	h.policy.Interval = []time.Duration{0, 100 * time.Hour, time.Hour}[seed%3]
	h.policy.Overlap = []time.Duration{24 * time.Hour, 0, 10 * time.Minute}[seed%3]
	h.note("seed %d", seed)
	return h
}

func (h *history) note(format string, args ...any) {
	h.steps = append(h.steps, fmt.Sprintf(format, args...))
}

func (h *history) fail(format string, args ...any) {
	h.t.Helper()
	h.t.Fatalf("%s\n%s", fmt.Sprintf(format, args...), strings.Join(h.steps, "\n"))
}

// accident is something that people or clusters do.
func (h *history) accident(i int) {
	ours := h.secret != nil && !h.edited[h.secret.value]
	switch what := h.random.IntN(10); {
	case what == 0:
		h.note("delete")
		h.secret, h.undisturbed = nil, false
	case what == 1 && h.secret != nil:
		h.note("edit")
		h.secret.value, h.undisturbed = fmt.Sprintf("stranger-%d", i), false
		h.edited[h.secret.value] = true
	case what <= 3:
		d := time.Duration(h.random.IntN(30*60)) * time.Minute
		h.note("wait %s", d)
		h.now = h.now.Add(d)
	case what == 4 && ours:
		h.note("copy")
		h.copies = append(h.copies, h.secret.clone())
	case what == 5 && len(h.copies) > 0:
		h.note("put back")
		h.secret, h.undisturbed = h.copies[h.random.IntN(len(h.copies))].clone(), false
	case what == 6:
		h.revisions++
		h.policy.Revision = fmt.Sprint("revision-", i)
		h.note("%s", h.policy.Revision)
	case what == 7 && h.secret != nil:
		h.note("revoke what the Secret holds")
		h.policy.Revoked = append(h.policy.Revoked, v1alpha1.CredentialID(h.holds()))
	case what == 8 && len(h.entries) > 0:
		h.note("revoke one of status")
		h.policy.Revoked = append(h.policy.Revoked, v1alpha1.CredentialID(h.entries[h.random.IntN(len(h.entries))].ID))
	case what == 9 && h.losesStatus:
		h.note("lose status")
		h.entries, h.undisturbed = nil, false
	}
}

// check is what holds between any two writes.
func (h *history) check() {
	h.t.Helper()
	if len(h.entries) > 3 {
		h.fail("%d credentials are live", len(h.entries))
	}
	for _, state := range []v1alpha1.CredentialState{v1alpha1.CredentialPending, v1alpha1.CredentialCurrent, v1alpha1.CredentialPrevious} {
		if n := len(slices.DeleteFunc(slices.Clone(h.entries), func(e v1alpha1.CredentialStatus) bool { return e.State != state })); n > 1 {
			h.fail("%d credentials are %s", n, state)
		}
	}
	for value := range h.edited {
		if h.accepts(value) {
			h.fail("a value that a stranger wrote is accepted")
		}
	}
	if h.undisturbed && !h.revoked(h.holds()) && !h.accepts(h.secret.value) {
		h.fail("what the Secret holds is refused")
	}
	if h.secret != nil && !h.edited[h.secret.value] && !h.accepted[h.secret.value] && !h.dead[h.secret.value] {
		h.accepted[h.secret.value] = false
	}
	for value, before := range h.accepted {
		accepts := h.accepts(value)
		if accepts && h.dead[value] && !h.losesStatus {
			h.fail("%s... was refused, and is accepted again", value[:4])
		}
		h.dead[value] = h.dead[value] || (before && !accepts)
		h.accepted[value] = accepts
	}
}

// step reconciles once, cut off before its n-th write if n is positive.
func (h *history) step(n int) {
	h.t.Helper()
	before := h.secret
	plan, err := h.run(n)
	h.note("run(%d): %s, %v", n, plan.Verdict, err)
	if h.secret != before && plan.Verdict == credential.RotateRevision {
		h.byRevision++
	}
	if plan.Writes() && h.secret != before {
		h.undisturbed = true
	}
	if err != nil {
		return
	}
	h.undisturbed = true
	if h.revoked(h.holds()) || slices.ContainsFunc(h.entries, func(e v1alpha1.CredentialStatus) bool { return h.revoked(e.ID) }) {
		h.fail("a revoked credential is still there")
	}
	for _, id := range h.policy.Revoked {
		if strings.Contains(h.secret.annotations[credential.AnnotationCredentials], string(id)) {
			h.fail("the Secret still names the revoked credential %s", id)
		}
	}
}

// TestCutOffAnywhere lets accidents happen in random order, cuts the controller off before a random write each time,
// and wants the world to converge to a Secret that is accepted.
func TestCutOffAnywhere(t *testing.T) {
	for seed := range uint64(250) {
		h := newHistory(t, seed)
		for i := range 40 {
			h.accident(i)
			h.check()
			h.step(h.random.IntN(5))
			h.check()
		}
		h.step(0)
		h.check()
		value := h.secret.value
		if h.step(0); h.secret.value != value || !h.accepts(value) {
			h.fail("did not converge")
		}
		if h.losesStatus {
			h.entries = nil
			if h.step(0); h.secret.value != value || !h.accepts(value) {
				h.fail("a lost status made a new secret")
			}
		}
		if h.byRevision > h.revisions && !h.losesStatus {
			h.fail("%d new values for %d revisions", h.byRevision, h.revisions)
		}
	}
}
