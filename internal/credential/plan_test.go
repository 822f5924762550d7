package credential_test

import (
	"crypto/rand"
	"errors"
	"maps"
	"slices"
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
	policy  credential.Policy
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
	return &world{t: t, pepper: newPepper(t), now: now, policy: credential.PolicyOf(v1alpha1.M2MClientCredential{}), edited: map[string]bool{}}
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
	situation := credential.Situation{Owner: owner, Pepper: w.pepper, Policy: w.policy, Entries: w.entries}
	if w.secret != nil {
		situation.SecretExists, situation.Annotations, situation.Value = true, w.secret.annotations, w.secret.value
	}
	plan, err := credential.Decide(situation, rand.Reader, w.now)
	if err != nil {
		w.t.Fatal(err)
	}
	if plan.Writes() {
		if err := write(func() { w.entries = plan.Entries }); err != nil {
			return plan, err
		}
		if err := write(func() { w.secret = &secret{w.annotate(plan.Held), plan.Credential.Secret} }); err != nil {
			return plan, err
		}
	} else if plan.Verdict == credential.Steady {
		if err := write(func() { w.secret.annotations = w.annotate(plan.Held) }); err != nil {
			return plan, err
		}
	}
	return plan, write(func() { w.entries = plan.Final(w.now) })
}

func (w *world) annotate(held credential.Held) map[string]string {
	annotations, err := w.pepper.Annotate(owner, held)
	if err != nil {
		w.t.Fatal(err)
	}
	return annotations
}

func (w *world) settle() credential.Plan {
	plan, err := w.run(0)
	if err != nil {
		w.t.Fatal(err)
	}
	return plan
}

// accepts asks as an issuer does, which goes by the spec for what is revoked.
func (w *world) accepts(value string) bool {
	live := slices.DeleteFunc(slices.Clone(w.entries), func(e v1alpha1.CredentialStatus) bool { return w.revoked(e.ID) })
	_, ok := w.pepper.Verify(owner, live, value, w.now)
	return ok
}

func (w *world) revoked(id string) bool {
	return slices.Contains(w.policy.Revoked, v1alpha1.CredentialID(id))
}

// holds is the id of the credential in the Secret.
func (w *world) holds() string {
	held, err := w.pepper.ReadAnnotations(owner, w.secret.annotations)
	if err != nil {
		w.t.Fatal(err)
	}
	return held.Current.ID
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
