package credential

import (
	"io"
	"slices"
	"time"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

// Situation is what was found of one client's credential.
type Situation struct {
	Owner  Owner
	Pepper Pepper
	Policy Policy
	// NotBefore postpones a scheduled rotation; zero: it does not.
	NotBefore time.Time
	// Entries of M2MClient.status.
	Entries []v1alpha1.CredentialStatus
	// SecretExists says whether there is a Secret of the name at all.
	SecretExists bool
	// Annotations and Secret value found in it.
	Annotations map[string]string
	Value       string
}

// Verdict on a Situation. Those that want a new credential are named after its cause.
type Verdict string

// The verdicts.
const (
	// Steady: the Secret is genuine, and Plan.Entries is what status shall hold.
	Steady Verdict = "Steady"
	// NotOwned: the Secret is a stranger's and is left alone.
	NotOwned Verdict = "NotOwned"
	// OtherPepper: the Secret was made with a pepper that is not the one at hand. It is left alone, and so is what
	// status knows of it: if the pepper comes back, all is well again.
	OtherPepper Verdict = "OtherPepper"
	// Create: there was never a credential.
	Create Verdict = "Created"
	// RotateScheduled: it is time.
	RotateScheduled Verdict = "Scheduled"
	// RotateRevision: the spec has another revision than the one that has been acted on.
	RotateRevision Verdict = "RevisionChanged"
	// ReplaceMissing: the Secret is gone.
	ReplaceMissing Verdict = "SecretDeleted"
	// ReplaceEdited: the Secret holds a value that is not the one we wrote.
	ReplaceEdited Verdict = "SecretEdited"
	// ReplaceRevoked: the Secret holds a credential that the spec revokes.
	ReplaceRevoked Verdict = "Revoked"
)

// Plan is what to do.
type Plan struct {
	Verdict Verdict
	// Entries that status shall hold now. Where there is a new credential they include it as pending, and must be
	// written before the Secret is.
	Entries []v1alpha1.CredentialStatus
	// Credential to write into the Secret, if a new one is wanted.
	Credential Credential
	// Held is what the Secret shall say of itself, unless it is left alone.
	Held Held
	// Dropped is the id of a previous credential that makes room before its time, "" if none does.
	Dropped string
	// Next is when the credential in the Secret is to be rotated next and Cause why; zero: on command only.
	Next  time.Time
	Cause Verdict
	// Strange counts the entries of status that did not come from us, or have no place there any more.
	Strange int
}

// Writes reports whether the plan wants a new Secret content.
func (p Plan) Writes() bool { return p.Credential.Secret != "" }

// Final is what status shall hold once the Secret is as planned.
func (p Plan) Final(now time.Time) []v1alpha1.CredentialStatus {
	if p.Writes() {
		return p.Held.live(now)
	}
	return p.Entries
}

// Decide plans the next step for a client's credential. It is safe to be cut off after any write: a pending entry whose
// secret never reached the Secret is forgotten by the next plan.
func Decide(s Situation, random io.Reader, now time.Time) (Plan, error) {
	known := s.genuineEntries(now)
	held, err := s.Pepper.ReadAnnotations(s.Owner, s.Annotations)
	switch {
	case s.SecretExists && err != nil && s.namesOtherPepper():
		return Plan{Verdict: OtherPepper, Entries: s.Entries}, nil
	case s.SecretExists && err != nil:
		return Plan{Verdict: NotOwned, Entries: withoutPending(s.Policy.unrevoked(s.Entries))}, nil
	case s.SecretExists && s.Policy.revokes(held.Current.ID):
		return s.replace(ReplaceRevoked, &held, known, random, now)
	case s.SecretExists && s.holdsWhatWeWrote(held, known, now):
		return s.keep(held, known, random, now)
	case s.SecretExists:
		return s.replace(ReplaceEdited, &held, known, random, now)
	case current(known) != nil:
		return s.replace(ReplaceMissing, nil, known, random, now)
	default:
		return s.replace(Create, nil, known, random, now)
	}
}

func (s Situation) namesOtherPepper() bool {
	id := PepperOf(s.Annotations)
	return id != "" && id != s.Pepper.ID()
}

// genuineEntries drops entries that are not ours, or expired.
func (s Situation) genuineEntries(now time.Time) []v1alpha1.CredentialStatus {
	return slices.DeleteFunc(slices.Clone(s.Entries), func(e v1alpha1.CredentialStatus) bool {
		return !s.Pepper.Genuine(s.Owner, e) || expired(e, now)
	})
}

// holdsWhatWeWrote reports whether the value is the one whose verifier the Secret carries, and is the newest.
func (s Situation) holdsWhatWeWrote(held Held, known []v1alpha1.CredentialStatus, now time.Time) bool {
	_, ok := s.Pepper.Verify(s.Owner, []v1alpha1.CredentialStatus{held.Current}, s.Value, now)
	return ok && newest(held, known)
}

// newest reports whether what a proven Secret says of itself is the last word. It is, if status knows the credential, or
// if the Secret's is younger than all that status knows: then status was lost, or an older one was put back. Else the
// Secret is an old copy that somebody put back. Pending credentials do not count: their own may never have come about.
func newest(held Held, known []v1alpha1.CredentialStatus) bool {
	younger := true
	for _, e := range known {
		if e.ID == held.Current.ID && e.State != v1alpha1.CredentialPrevious {
			return true
		}
		if e.State != v1alpha1.CredentialPending && !held.Current.CreatedTime.After(e.CreatedTime.Time) {
			younger = false
		}
	}
	return younger
}

// keep leaves the credential in the Secret, unless it is to be rotated.
func (s Situation) keep(held Held, known []v1alpha1.CredentialStatus, random io.Reader, now time.Time) (Plan, error) {
	if held.Previous != nil && s.Policy.revokes(held.Previous.ID) {
		held.Previous = nil
	}
	at, why := s.nextRotation(held, now)
	if why != "" && !now.Before(at) {
		return s.replace(why, &held, known, random, now)
	}
	return Plan{
		Verdict: Steady, Entries: held.live(now), Held: held, Next: at, Cause: why, Strange: s.strange(held, known),
	}, nil
}

// strange counts entries that are not ours, and those that verify but were taken from an older status. What a step that
// was cut off has left behind is not among them.
func (s Situation) strange(held Held, known []v1alpha1.CredentialStatus) int {
	finished := slices.ContainsFunc(known, func(e v1alpha1.CredentialStatus) bool {
		return e.ID == held.Current.ID && e.State == v1alpha1.CredentialCurrent
	})
	count := 0
	for _, e := range s.Entries {
		if !s.Pepper.Genuine(s.Owner, e) {
			count++
		}
	}
	for _, e := range s.Policy.unrevoked(known) {
		told := e.Verifier == held.Current.Verifier || (held.Previous != nil && e.Verifier == held.Previous.Verifier)
		leftover := e.State == v1alpha1.CredentialPending ||
			(!finished && (e.ExpiryTime != nil || (held.Previous != nil && e.ID == held.Previous.ID)))
		if !told && !leftover {
			count++
		}
	}
	return count
}

func current(entries []v1alpha1.CredentialStatus) *v1alpha1.CredentialStatus {
	return inState(entries, v1alpha1.CredentialCurrent)
}

func inState(entries []v1alpha1.CredentialStatus, state v1alpha1.CredentialState) *v1alpha1.CredentialStatus {
	for i := range entries {
		if entries[i].State == state {
			return &entries[i]
		}
	}
	return nil
}

func withoutPending(entries []v1alpha1.CredentialStatus) []v1alpha1.CredentialStatus {
	return slices.DeleteFunc(entries, func(e v1alpha1.CredentialStatus) bool {
		return e.State == v1alpha1.CredentialPending
	})
}

// replace plans a new credential. The one it replaces is accepted for the overlap, unless it is revoked; one that was
// already on its way out when its successor is lost too makes room for it, so that no more than three are ever live.
func (s Situation) replace(why Verdict, held *Held, known []v1alpha1.CredentialStatus, random io.Reader, now time.Time) (Plan, error) {
	fresh, err := New(random)
	if err != nil {
		return Plan{}, err
	}
	live := withoutPending(slices.Clone(known))
	if held != nil && newest(*held, known) {
		live = held.live(now)
	}
	accepted := s.Policy.unrevoked(live) // status remembers the others until the Secret is written: they tell old copies of it
	plan := Plan{Verdict: why, Credential: fresh, Held: Held{Revision: s.Policy.Revision}}
	plan.Held.Current = s.Pepper.Entry(s.Owner, fresh, v1alpha1.CredentialCurrent, creation(held, known, now), time.Time{})
	plan.Held.Previous = inState(accepted, v1alpha1.CredentialPrevious)
	if old := current(accepted); old != nil {
		if plan.Held.Previous != nil {
			plan.Dropped = plan.Held.Previous.ID
		}
		if plan.Held.Previous, err = s.previous(*old, now); err != nil {
			return Plan{}, err
		}
	}
	pending := plan.Held.Current
	pending.State = v1alpha1.CredentialPending
	plan.Entries = append(live, pending)
	plan.Next, plan.Cause = s.nextRotation(plan.Held, now)
	return plan, nil
}

// previous is a replaced credential as it is accepted for the overlap, nil if there is none.
func (s Situation) previous(old v1alpha1.CredentialStatus, now time.Time) (*v1alpha1.CredentialStatus, error) {
	if s.Policy.Overlap <= 0 {
		return nil, nil
	}
	previous, err := s.Pepper.Expire(s.Owner, old, now.Add(s.Policy.Overlap))
	previous.State = v1alpha1.CredentialPrevious
	return &previous, err
}

// creation is now, but after every credential that is known: which of two is the newer one must not depend on a clock
// that was put back.
func creation(held *Held, known []v1alpha1.CredentialStatus, now time.Time) time.Time {
	at := now
	if held != nil {
		at = latest(at, held.Current.CreatedTime.Add(time.Second))
	}
	for _, e := range withoutPending(slices.Clone(known)) {
		at = latest(at, e.CreatedTime.Add(time.Second))
	}
	return at
}

// NextExpiry is when the next of the entries ends, zero if none does.
func NextExpiry(entries []v1alpha1.CredentialStatus) time.Time {
	var next time.Time
	for _, e := range entries {
		if e.ExpiryTime != nil && (next.IsZero() || e.ExpiryTime.Time.Before(next)) {
			next = e.ExpiryTime.Time
		}
	}
	return next
}
