package credential_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	mathrand "math/rand/v2"
	"testing"
	"time"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/credential"
)

// world is what the API server holds of one client: the status and the Secret. run plays the controller's part and may
// be cut off before any of its writes.
type world struct {
	t       testing.TB
	pepper  credential.Pepper
	now     time.Time
	entries []v1alpha1.CredentialStatus
	secret  *secret
	edited  map[string]bool // values that strangers wrote
}

type secret struct {
	annotations map[string]string
	value       string
}

func (s *secret) clone() *secret { return &secret{maps.Clone(s.annotations), s.value} }

func newWorld(t testing.TB) *world {
	return &world{t: t, pepper: newPepper(t), now: now, edited: map[string]bool{}}
}

var errCut = errors.New("cut off")

// run reconciles once. It is cut off before its n-th write, if n is positive.
func (w *world) run(n int) (credential.Plan, error) {
	writes := 0
	write := func(change func()) error {
		if writes++; writes == n {
			return errCut
		}
		change()
		return nil
	}
	situation := credential.Situation{Owner: owner, Pepper: w.pepper, Entries: w.entries}
	if w.secret != nil {
		situation.SecretExists, situation.Annotations, situation.Value = true, w.secret.annotations, w.secret.value
	}
	plan, err := credential.Decide(situation, rand.Reader, w.now)
	if err != nil {
		w.t.Fatal(err)
	}
	if plan.Writes() {
		annotations, err := w.pepper.Annotate(owner, plan.Held)
		if err != nil {
			w.t.Fatal(err)
		}
		if err := write(func() { w.entries = plan.Entries }); err != nil {
			return plan, err
		}
		if err := write(func() { w.secret = &secret{annotations, plan.Credential.Secret} }); err != nil {
			return plan, err
		}
	}
	return plan, write(func() { w.entries = plan.Final(w.now) })
}

func (w *world) settle() credential.Plan {
	plan, err := w.run(0)
	if err != nil {
		w.t.Fatal(err)
	}
	return plan
}

func (w *world) accepts(value string) bool {
	_, ok := w.pepper.Verify(owner, w.entries, value, w.now)
	return ok
}

// check is what holds between any two writes.
func (w *world) check(history fmt.Stringer) {
	w.t.Helper()
	if len(w.entries) > 3 {
		w.t.Fatalf("%d credentials are live\n%s", len(w.entries), history)
	}
	for value := range w.edited {
		if w.accepts(value) {
			w.t.Fatalf("a value that a stranger wrote is accepted\n%s", history)
		}
	}
}

func TestFirstCredential(t *testing.T) {
	w := newWorld(t)
	if plan := w.settle(); plan.Verdict != credential.Create {
		t.Fatalf("verdict %s", plan.Verdict)
	}
	if !w.accepts(w.secret.value) || len(w.entries) != 1 || w.entries[0].State != v1alpha1.CredentialCurrent {
		t.Fatalf("the Secret's value is not the one current credential")
	}
	value := w.secret.value
	if plan := w.settle(); plan.Verdict != credential.Steady || w.secret.value != value {
		t.Fatalf("a second run did something: %s", plan.Verdict)
	}
}

func TestDeletedSecretComesBackAsARotation(t *testing.T) {
	w := newWorld(t)
	w.settle()
	old := w.secret.value
	w.secret = nil
	if plan := w.settle(); plan.Verdict != credential.ReplaceMissing {
		t.Fatalf("verdict %s", plan.Verdict)
	}
	if w.secret.value == old || !w.accepts(w.secret.value) {
		t.Fatal("there is no new value, or it is refused")
	}
	if w.now = now.Add(credential.Overlap - time.Second); !w.accepts(old) {
		t.Fatal("the old value is refused within the overlap")
	}
	if w.now = now.Add(credential.Overlap); w.accepts(old) {
		t.Fatal("the old value is accepted after the overlap")
	}
	if w.settle(); len(w.entries) != 1 {
		t.Fatal("the old entry is kept after its end")
	}
}

func TestEditedValueIsNeverAcceptedAndReplaced(t *testing.T) {
	w := newWorld(t)
	w.settle()
	old := w.secret.value
	w.secret.value = "chosen-by-a-stranger"
	if w.accepts(w.secret.value) {
		t.Fatal("the edited value is accepted")
	}
	if plan := w.settle(); plan.Verdict != credential.ReplaceEdited {
		t.Fatalf("verdict %s", plan.Verdict)
	}
	if w.secret.value == "chosen-by-a-stranger" || !w.accepts(w.secret.value) || !w.accepts(old) || w.accepts("chosen-by-a-stranger") {
		t.Fatal("the edited value was not replaced as in a rotation")
	}
}

func TestStrangersSecretIsLeftAlone(t *testing.T) {
	other := newWorld(t)
	other.settle()
	for name, annotations := range map[string]map[string]string{
		"no annotations":        nil,
		"annotations of ours":   {credential.AnnotationID: "x", credential.AnnotationCredentials: "{}", credential.AnnotationProof: "x"},
		"a proof, no statement": {credential.AnnotationProof: other.secret.annotations[credential.AnnotationProof]},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.secret = &secret{annotations, "stranger"}
			plan := w.settle()
			if plan.Verdict != credential.NotOwned || plan.Writes() || w.accepts("stranger") {
				t.Fatalf("verdict %s, writes %t", plan.Verdict, plan.Writes())
			}
		})
	}
}

// TestAnotherPepperDestroysNothing: a pepper that was swapped, or restored from the wrong backup, must be put right by
// putting the right one back.
func TestAnotherPepperDestroysNothing(t *testing.T) {
	w := newWorld(t)
	w.settle()
	right, value, entries := w.pepper, w.secret.value, w.entries
	w.pepper = newPepper(t)
	if plan := w.settle(); plan.Verdict != credential.OtherPepper || plan.Writes() || w.accepts(value) {
		t.Fatalf("verdict %s, writes %t", plan.Verdict, plan.Writes())
	}
	if len(w.entries) != len(entries) {
		t.Fatal("the verifiers are gone")
	}
	w.pepper = right
	if plan := w.settle(); plan.Verdict != credential.Steady || !w.accepts(value) {
		t.Fatalf("not as before: %s", plan.Verdict)
	}
	w.pepper, w.secret = newPepper(t), nil // the way to start over
	if plan := w.settle(); plan.Verdict != credential.Create || !w.accepts(w.secret.value) || w.accepts(value) {
		t.Fatalf("no new credential: %s", plan.Verdict)
	}
}

func TestLostStatusIsRebuiltFromTheSecret(t *testing.T) {
	w := newWorld(t)
	w.settle()
	old := w.secret.value
	w.secret = nil
	w.settle()
	value := w.secret.value
	w.entries = nil
	if plan := w.settle(); plan.Verdict != credential.Steady {
		t.Fatalf("verdict %s", plan.Verdict)
	}
	if w.secret.value != value || !w.accepts(value) || !w.accepts(old) {
		t.Fatal("the rebuilt status does not accept what the Secret holds and held")
	}
}

func TestOldCopyOfTheSecretIsNotRevived(t *testing.T) {
	w := newWorld(t)
	w.settle()
	backup := w.secret.clone()
	w.secret = nil
	w.settle()
	w.now = w.now.Add(credential.Overlap)
	w.settle()
	w.secret = backup
	if w.accepts(backup.value) {
		t.Fatal("an expired credential is accepted")
	}
	if plan := w.settle(); plan.Verdict != credential.ReplaceEdited || w.accepts(backup.value) {
		t.Fatalf("an old copy was revived: %s", plan.Verdict)
	}
}

// steps is a history that a failing run prints.
type steps []string

func (s steps) String() string { return fmt.Sprint([]string(s)) }

// TestCutOffAnywhere lets accidents happen in random order, cuts the controller off before a random write each time,
// and wants the world to converge to a Secret that is accepted.
func TestCutOffAnywhere(t *testing.T) {
	for seed := range uint64(400) {
		random := mathrand.New(mathrand.NewPCG(seed, 1))
		w := newWorld(t)
		history := steps{fmt.Sprintf("seed %d", seed)}
		var copies []*secret
		for i := range 30 {
			switch what := random.IntN(6); {
			case what == 0:
				w.secret = nil
				history = append(history, "delete")
			case what == 1 && w.secret != nil:
				w.secret.value = fmt.Sprintf("stranger-%d", i)
				w.edited[w.secret.value] = true
				history = append(history, "edit")
			case what == 2:
				w.now = w.now.Add(time.Duration(random.IntN(30)) * time.Hour)
				history = append(history, "wait")
			case what == 3 && w.secret != nil && !w.edited[w.secret.value]:
				copies = append(copies, w.secret.clone())
				history = append(history, "copy")
			case what == 4 && len(copies) > 0:
				w.secret = copies[random.IntN(len(copies))].clone()
				history = append(history, "put back")
			}
			w.check(history)
			n := random.IntN(5)
			_, err := w.run(n)
			history = append(history, fmt.Sprintf("run(%d)=%v", n, err))
			w.check(history)
		}
		w.settle()
		plan := w.settle()
		if plan.Verdict != credential.Steady || w.secret == nil || !w.accepts(w.secret.value) {
			t.Fatalf("did not converge: %s\n%s", plan.Verdict, history)
		}
		w.check(history)
	}
}
