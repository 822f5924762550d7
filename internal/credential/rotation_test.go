package credential_test

import (
	"crypto/rand"
	"fmt"
	"math"
	mathrand "math/rand/v2"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/credential"
)

func TestPolicyOf(t *testing.T) {
	hours := func(n time.Duration) metav1.Duration { return metav1.Duration{Duration: n * time.Hour} }
	none, some := hours(0), hours(3)
	for name, test := range map[string]struct {
		rotation          *v1alpha1.CredentialRotation
		interval, overlap time.Duration
	}{
		"none":                 {nil, 0, 24 * time.Hour},
		"long":                 {&v1alpha1.CredentialRotation{Interval: hours(720)}, 720 * time.Hour, 24 * time.Hour},
		"short":                {&v1alpha1.CredentialRotation{Interval: hours(6)}, 6 * time.Hour, 3 * time.Hour},
		"an overlap":           {&v1alpha1.CredentialRotation{Interval: hours(720), Overlap: &some}, 720 * time.Hour, 3 * time.Hour},
		"an overlap of nought": {&v1alpha1.CredentialRotation{Interval: hours(720), Overlap: &none}, 720 * time.Hour, 0},
	} {
		if p := credential.PolicyOf(v1alpha1.M2MClientCredential{Rotation: test.rotation}); p.Interval != test.interval || p.Overlap != test.overlap {
			t.Errorf("%s: every %s with an overlap of %s, want %s and %s", name, p.Interval, p.Overlap, test.interval, test.overlap)
		}
	}
}

// rotating is a world with a settled credential that is rotated every 100 hours.
func rotating(t *testing.T) *world {
	w := newWorld(t)
	w.policy.Interval = 100 * time.Hour
	w.settle()
	return w
}

func TestScheduledRotation(t *testing.T) {
	w := rotating(t)
	first := w.secret.value
	due := w.settle().Next
	if age := due.Sub(w.now); age <= 0 || age > 100*time.Hour {
		t.Fatalf("the first rotation comes after %s", age)
	}
	w.now = due.Add(-time.Second)
	if plan := w.settle(); plan.Verdict != credential.Steady || plan.Cause != credential.RotateScheduled || !plan.Next.Equal(due) {
		t.Fatalf("a second before: %s, next %s for %s", plan.Verdict, plan.Next, plan.Cause)
	}
	w.now = due
	if plan := w.settle(); plan.Verdict != credential.RotateScheduled || plan.Dropped != "" {
		t.Fatalf("when it is time: %s", plan.Verdict)
	}
	if w.secret.value == first || !w.accepts(w.secret.value) || !w.accepts(first) {
		t.Fatal("not both are accepted, the new one and the one before")
	}
	if got := w.secret.annotations[credential.AnnotationRotatedAt]; got != due.Format(time.RFC3339) {
		t.Errorf("rotated at %s", got)
	}
	if next := w.settle().Next; !next.Equal(due.Add(100 * time.Hour)) {
		t.Errorf("the next rotation is %s after the first", next.Sub(due))
	}
	if w.now = due.Add(w.policy.Overlap - time.Second); !w.accepts(first) {
		t.Error("the one before is refused within the overlap")
	}
	if w.now = due.Add(w.policy.Overlap); w.accepts(first) {
		t.Error("the one before is accepted after the overlap")
	}
}

func TestPostponedRotation(t *testing.T) {
	w := rotating(t)
	w.now = w.settle().Next
	turn := w.now.Add(time.Minute)
	s := credential.Situation{
		Owner: owner, Pepper: w.pepper, Policy: w.policy, Entries: w.entries, NotBefore: turn,
		SecretExists: true, Annotations: w.secret.annotations, Value: w.secret.value,
	}
	if plan, err := credential.Decide(s, rand.Reader, w.now); err != nil || plan.Verdict != credential.Steady || !plan.Next.Equal(turn) {
		t.Errorf("before its turn: %s, next %s, %v", plan.Verdict, plan.Next, err)
	}
	if plan, err := credential.Decide(s, rand.Reader, turn); err != nil || plan.Verdict != credential.RotateScheduled {
		t.Errorf("at its turn: %s, %v", plan.Verdict, err)
	}
}

func TestRevisionRotatesOnceForEachChange(t *testing.T) {
	w := newWorld(t)
	w.policy.Revision, w.policy.Overlap = "1", 0
	w.settle()
	first := w.secret.value
	if plan := w.settle(); plan.Verdict != credential.Steady {
		t.Fatalf("the revision of the first credential: %s", plan.Verdict)
	}
	for _, revision := range []string{"2", "1", ""} {
		before := w.secret.value
		w.policy.Revision = revision
		if plan := w.settle(); plan.Verdict != credential.RotateRevision || w.secret.value == before {
			t.Fatalf("revision %q: %s", revision, plan.Verdict)
		}
		for _, entries := range [][]v1alpha1.CredentialStatus{w.entries, nil} { // also when status is lost
			w.entries = entries
			if plan := w.settle(); plan.Verdict != credential.Steady || !w.accepts(w.secret.value) {
				t.Fatalf("revision %q again: %s", revision, plan.Verdict)
			}
		}
		if w.accepts(before) {
			t.Error("without overlap the one before is accepted")
		}
	}
	w.secret, w.policy.Revision = nil, "3"
	if plan := w.settle(); plan.Verdict != credential.ReplaceMissing {
		t.Fatalf("deleted, and a new revision: %s", plan.Verdict)
	}
	if plan := w.settle(); plan.Verdict != credential.Steady || w.accepts(first) {
		t.Errorf("one new credential was not enough for both: %s", plan.Verdict)
	}
}

func TestRotationWaitsForThePreviousOne(t *testing.T) {
	w := newWorld(t)
	w.settle()
	w.policy.Revision = "1"
	w.settle()
	second := w.secret.value
	w.policy.Revision = "2"
	end := w.now.Add(w.policy.Overlap)
	if plan := w.settle(); plan.Verdict != credential.Steady || plan.Cause != credential.RotateRevision || !plan.Next.Equal(end) {
		t.Fatalf("%s, next %s for %s", plan.Verdict, plan.Next, plan.Cause)
	}
	w.now = end
	if plan := w.settle(); plan.Verdict != credential.RotateRevision || !w.accepts(second) {
		t.Fatalf("once the previous one has ended: %s", plan.Verdict)
	}
	// A revoked previous one does not have to be waited for.
	w.policy.Revision = "3"
	w.policy.Revoked = []v1alpha1.CredentialID{v1alpha1.CredentialID(w.entries[1].ID)}
	if plan := w.settle(); plan.Verdict != credential.RotateRevision || w.accepts(second) || plan.Dropped != "" {
		t.Errorf("with the previous one revoked: %s", plan.Verdict)
	}
}

func TestRevokedCredentials(t *testing.T) {
	w := newWorld(t)
	w.settle()
	first := w.secret.value
	w.policy.Revision = "1"
	w.settle()
	backup, second := w.secret.clone(), w.secret.value
	w.policy.Revoked = []v1alpha1.CredentialID{v1alpha1.CredentialID(w.holds())}
	if w.accepts(second) {
		t.Fatal("a revoked credential is accepted")
	}
	if plan := w.settle(); plan.Verdict != credential.ReplaceRevoked || plan.Dropped != "" {
		t.Fatalf("%s, dropped %q", plan.Verdict, plan.Dropped)
	}
	third := w.secret.value
	if !w.accepts(third) || !w.accepts(first) || w.accepts(second) {
		t.Error("want the new one and the previous one accepted, the revoked one not")
	}
	w.secret = backup.clone()
	if plan := w.settle(); plan.Verdict != credential.ReplaceRevoked || w.accepts(second) || !w.accepts(third) {
		t.Errorf("put back from a backup: %s", plan.Verdict)
	}
	w.secret, w.entries = backup.clone(), nil
	if plan := w.settle(); plan.Verdict != credential.ReplaceRevoked || w.accepts(second) || !w.accepts(w.secret.value) || !w.accepts(first) {
		t.Errorf("put back from a backup, without status: %s", plan.Verdict)
	}
}

// TestTamperedStatus: what is written into status by others verifies nothing, or is taken out, and is counted.
func TestTamperedStatus(t *testing.T) {
	w := newWorld(t)
	w.settle()
	first, old := w.secret.value, w.entries
	w.policy.Revision = "1"
	w.settle()
	stolen := w.pepper.Entry(credential.Owner{Issuer: owner.Issuer, ClientID: "jobs.other"}, newCredential(t), v1alpha1.CredentialCurrent, now, time.Time{})
	prolonged := w.entries[1]
	prolonged.ExpiryTime = nil
	good := w.entries
	for name, entries := range map[string][]v1alpha1.CredentialStatus{
		"another client's":      {good[0], good[1], stolen},
		"with a longer life":    {good[0], prolonged},
		"from an older status":  {good[0], old[0]},
		"a much older one back": {w.pepper.Entry(owner, newCredential(t), v1alpha1.CredentialCurrent, now.Add(-time.Hour), time.Time{})},
	} {
		w.entries = entries
		plan := w.settle()
		if plan.Verdict != credential.Steady || plan.Strange != 1 || !w.accepts(w.secret.value) || !w.accepts(first) || len(w.entries) != 2 {
			t.Errorf("%s: %s, %d strange, %d entries", name, plan.Verdict, plan.Strange, len(w.entries))
		}
		if again := w.settle(); again.Strange != 0 {
			t.Errorf("%s: reported again", name)
		}
		w.now = w.now.Add(w.policy.Overlap)
		if w.accepts(first) {
			t.Errorf("%s: the previous one lives longer", name)
		}
		w.now = w.now.Add(-w.policy.Overlap)
	}
}

// TestClockPutBack: the newer one of two credentials is told by the order in which they were made.
func TestClockPutBack(t *testing.T) {
	for _, statusLost := range []bool{false, true} {
		w := newWorld(t)
		w.policy.Overlap = 0
		w.now = now.Add(time.Hour) // fast
		w.settle()
		backup := w.secret.clone()
		w.now, w.policy.Revision = now, "1"
		if statusLost {
			w.entries = nil
		}
		w.settle()
		w.secret = backup
		if plan := w.settle(); plan.Verdict != credential.ReplaceEdited || w.accepts(backup.value) {
			t.Errorf("an old copy was revived: %s, status lost: %t", plan.Verdict, statusLost)
		}
	}
}

// TestRotationsAreSpread: of 10,000 clients that are all made, or told to rotate, in one moment no minute of the
// interval gets more than its share, up to what chance allows.
func TestRotationsAreSpread(t *testing.T) {
	const clients, interval = 10_000, 24 * time.Hour
	perMinute := map[time.Time]int{}
	for i := range clients {
		o := credential.Owner{Issuer: "default", ClientID: fmt.Sprintf("fleet.sensor-%05d", i)}
		at := credential.Scheduled(o, interval, now)
		if !at.After(now) || at.After(now.Add(interval)) {
			t.Fatalf("%s: %s", o.ClientID, at)
		}
		if later := credential.Scheduled(o, interval, at); !later.Equal(at.Add(interval)) {
			t.Fatalf("%s: %s and then %s", o.ClientID, at, later)
		}
		perMinute[at.Truncate(time.Minute)]++
	}
	share := float64(clients) / interval.Minutes()
	most := int(share + 6*math.Sqrt(share)) // six standard deviations
	for minute, n := range perMinute {
		if n > most {
			t.Errorf("%d rotations at %s, the share is %.1f", n, minute, share)
		}
	}
	if empty := int(interval.Minutes()) - len(perMinute); empty > 10 {
		t.Errorf("%d minutes have no rotation", empty)
	}
}

// manager is one of two that both think they lead: it plans by what it has read, and its writes fail if somebody else
// has written in between.
type manager struct {
	plan                   credential.Plan
	writes                 int
	statusSeen, secretSeen int
}

// TestTwoManagers interleaves the steps of two managers at random. A change of revision must bring one new value, which
// is accepted as soon as both have come to rest, and was never replaced.
func TestTwoManagers(t *testing.T) {
	for seed := range uint64(300) {
		random := mathrand.New(mathrand.NewPCG(seed, 2))
		w := newWorld(t)
		w.policy.Overlap = 0
		statusVersion, secretVersion := 0, 0
		var values []string
		step := func(m *manager) {
			switch m.writes++; {
			case m.writes == 1:
				s := credential.Situation{Owner: owner, Pepper: w.pepper, Policy: w.policy, Entries: w.entries}
				if w.secret != nil {
					s.SecretExists, s.Annotations, s.Value = true, w.secret.annotations, w.secret.value
				}
				plan, err := credential.Decide(s, rand.Reader, w.now)
				if err != nil {
					t.Fatal(err)
				}
				*m = manager{plan, 1, statusVersion, secretVersion}
			case m.writes == 2 && m.plan.Writes():
				if m.statusSeen != statusVersion {
					m.writes = 0
					return
				}
				statusVersion++
				w.entries, m.statusSeen = m.plan.Entries, statusVersion
			case m.writes == 3 && m.plan.Writes():
				if m.secretSeen != secretVersion {
					m.writes = 0
					return
				}
				secretVersion++
				w.secret = &secret{w.annotate(m.plan.Held), m.plan.Credential.Secret}
				values = append(values, w.secret.value)
			default:
				if m.statusSeen == statusVersion {
					statusVersion++
					w.entries = m.plan.Final(w.now)
				}
				m.writes = 0
			}
		}
		managers := [2]manager{}
		for round := range 10 {
			w.now = w.now.Add(time.Hour)
			w.policy.Revision = fmt.Sprint(round)
			for range 20 {
				step(&managers[random.IntN(2)])
			}
			for i := range managers { // both come to rest
				managers[i].writes = 0
				for range 8 {
					step(&managers[i])
				}
			}
			if len(values) != round+1 || !w.accepts(w.secret.value) || len(w.entries) != 1 {
				t.Fatalf("seed %d, round %d: %d values, accepted: %t, %d live", seed, round, len(values), w.accepts(w.secret.value), len(w.entries))
			}
		}
	}
}
