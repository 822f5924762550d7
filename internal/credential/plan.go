package credential

import (
	"encoding/json"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

// Overlap is how long the credential that a Secret held before is accepted after it was replaced.
const Overlap = 24 * time.Hour

// Annotations by which a credential Secret proves to be ours.
const (
	// AnnotationID names the credential that the Secret holds.
	AnnotationID = "m2m-operator.io/credential-id"
	// AnnotationCredentials holds the verifiers of the current and the previous credential, so that a lost status can
	// be rebuilt from the Secret.
	AnnotationCredentials = "m2m-operator.io/credentials"
	// AnnotationProof is a MAC under the pepper over the client and the verifiers.
	AnnotationProof = "m2m-operator.io/proof"
)

// Held is what a credential Secret says of itself: the credential that it holds, and the one it held before.
type Held struct {
	Current  v1alpha1.CredentialStatus  `json:"current"`
	Previous *v1alpha1.CredentialStatus `json:"previous,omitempty"`
}

// Annotate renders what a Secret says of itself, with the proof that we said it.
func (p Pepper) Annotate(owner Owner, held Held) (map[string]string, error) {
	text, err := json.Marshal(held)
	if err != nil {
		return nil, err
	}
	return map[string]string{
		AnnotationID:          held.Current.ID,
		AnnotationCredentials: string(text),
		AnnotationProof:       p.proof(owner, string(text)),
	}, nil
}

func (p Pepper) proof(owner Owner, credentials string) string {
	return encodeMAC(p.mac(purposeProof, owner.Issuer, owner.ClientID, credentials))
}

// ErrNotOwned says that a Secret carries no valid proof: it is a stranger's.
var ErrNotOwned = errors.New("the Secret carries no proof that this operator wrote it for this client")

// ReadAnnotations returns what a Secret says of itself, or ErrNotOwned.
func (p Pepper) ReadAnnotations(owner Owner, annotations map[string]string) (Held, error) {
	text := annotations[AnnotationCredentials]
	if !p.Present() || text == "" || !equalMAC(annotations[AnnotationProof], p.proof(owner, text)) {
		return Held{}, ErrNotOwned
	}
	var held Held
	if err := json.Unmarshal([]byte(text), &held); err != nil || !p.Genuine(owner, held.Current) {
		return Held{}, ErrNotOwned
	}
	return held, nil
}

// Situation is what was found of one client's credential.
type Situation struct {
	Owner  Owner
	Pepper Pepper
	// Entries of M2MClient.status.
	Entries []v1alpha1.CredentialStatus
	// SecretExists says whether there is a Secret of the name at all.
	SecretExists bool
	// Annotations and Secret value found in it.
	Annotations map[string]string
	Value       string
}

// Verdict on a Situation.
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
	Create Verdict = "Create"
	// ReplaceMissing: the Secret is gone.
	ReplaceMissing Verdict = "ReplaceMissing"
	// ReplaceEdited: the Secret holds a value that is not the one we wrote.
	ReplaceEdited Verdict = "ReplaceEdited"
)

// Plan is what to do.
type Plan struct {
	Verdict Verdict
	// Entries that status shall hold now. For Create and Replace they include the new credential as pending, and must
	// be written before the Secret is.
	Entries []v1alpha1.CredentialStatus
	// Credential to write into the Secret, and what the Secret shall say of itself, for Create and Replace.
	Credential Credential
	Held       Held
	// Dropped is the id of a previous credential that makes room before its time, "" if none does.
	Dropped string
}

// Writes reports whether the plan wants a new Secret content.
func (p Plan) Writes() bool { return p.Credential.Secret != "" }

// Final is what status shall hold once the Secret is as planned.
func (p Plan) Final(now time.Time) []v1alpha1.CredentialStatus {
	if p.Writes() {
		return liveEntries(p.Held, now)
	}
	return p.Entries
}

// Decide plans the next step for a client's credential. It is safe to be cut off after any write: a pending entry whose
// secret never reached the Secret is forgotten by the next plan.
func Decide(s Situation, random io.Reader, now time.Time) (Plan, error) {
	entries := s.genuineEntries(now)
	held, err := s.Pepper.ReadAnnotations(s.Owner, s.Annotations)
	switch {
	case s.SecretExists && err != nil && s.namesOtherPepper():
		return Plan{Verdict: OtherPepper, Entries: s.Entries}, nil
	case s.SecretExists && err != nil:
		return Plan{Verdict: NotOwned, Entries: withoutPending(slices.Clone(s.Entries))}, nil
	case s.SecretExists && s.holdsWhatWeWrote(held, entries, now):
		return Plan{Verdict: Steady, Entries: liveEntries(held, now), Held: held}, nil
	case s.SecretExists:
		return s.replace(ReplaceEdited, current(entries, &held.Current), entries, random, now)
	case current(entries, nil) != nil:
		return s.replace(ReplaceMissing, current(entries, nil), entries, random, now)
	default:
		return s.replace(Create, nil, entries, random, now)
	}
}

// PepperOf is the id of the pepper that a Secret says it was made with, "" if it does not say. It proves nothing.
func PepperOf(annotations map[string]string) string {
	var held Held
	if json.Unmarshal([]byte(annotations[AnnotationCredentials]), &held) != nil {
		return ""
	}
	return held.Current.PepperID
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

// holdsWhatWeWrote reports whether the value is the one whose verifier the Secret carries, and is the newest one that
// status knows. A proven Secret that status knows nothing of is believed only if status knows nothing at all: else it
// is an old copy that somebody put back.
func (s Situation) holdsWhatWeWrote(held Held, entries []v1alpha1.CredentialStatus, now time.Time) bool {
	id, ok := s.Pepper.Verify(s.Owner, []v1alpha1.CredentialStatus{held.Current}, s.Value, now)
	if !ok {
		return false
	}
	return len(entries) == 0 || slices.ContainsFunc(entries, func(e v1alpha1.CredentialStatus) bool {
		return e.ID == id && e.State != v1alpha1.CredentialPrevious
	})
}

// liveEntries is what status holds once the Secret is written.
func liveEntries(held Held, now time.Time) []v1alpha1.CredentialStatus {
	live := []v1alpha1.CredentialStatus{held.Current}
	if held.Previous != nil && !expired(*held.Previous, now) {
		live = append(live, *held.Previous)
	}
	return live
}

func current(entries []v1alpha1.CredentialStatus, otherwise *v1alpha1.CredentialStatus) *v1alpha1.CredentialStatus {
	for i := range entries {
		if entries[i].State == v1alpha1.CredentialCurrent {
			return &entries[i]
		}
	}
	return otherwise
}

func withoutPending(entries []v1alpha1.CredentialStatus) []v1alpha1.CredentialStatus {
	return slices.DeleteFunc(entries, func(e v1alpha1.CredentialStatus) bool {
		return e.State == v1alpha1.CredentialPending
	})
}

// replace plans a new credential. The one it replaces is accepted for the overlap; one that was already on its way out
// when its successor is lost too makes room for it, so that no more than three are ever live.
func (s Situation) replace(why Verdict, old *v1alpha1.CredentialStatus, entries []v1alpha1.CredentialStatus, random io.Reader, now time.Time) (Plan, error) {
	fresh, err := New(random)
	if err != nil {
		return Plan{}, err
	}
	plan := Plan{Verdict: why, Credential: fresh}
	plan.Held.Current = s.Pepper.Entry(s.Owner, fresh, v1alpha1.CredentialCurrent, now, time.Time{})
	if old != nil {
		previous, err := s.Pepper.Expire(s.Owner, *old, now.Add(Overlap))
		if err != nil {
			return Plan{}, err
		}
		previous.State = v1alpha1.CredentialPrevious
		plan.Held.Previous = &previous
	}
	for _, e := range entries {
		if old != nil && e.State == v1alpha1.CredentialPrevious {
			plan.Dropped = e.ID
		}
	}
	pending := plan.Held.Current
	pending.State = v1alpha1.CredentialPending
	plan.Entries = append(withoutPending(entries), pending)
	return plan, nil
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
