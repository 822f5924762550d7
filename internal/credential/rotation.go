package credential

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"time"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

// Overlap is how long the credential that a Secret held before is accepted after it was replaced, unless the client says
// otherwise.
const Overlap = 24 * time.Hour

// Policy is what a client wants of its credential.
type Policy struct {
	// Interval from one rotation to the next; zero: there are none but on command.
	Interval time.Duration
	// Overlap is how long a replaced credential is accepted.
	Overlap time.Duration
	// Revision whose change is a command.
	Revision string
	// Revoked are the ids of credentials that are refused for ever.
	Revoked []v1alpha1.CredentialID
}

// PolicyOf reads the policy of a client's spec.
func PolicyOf(spec v1alpha1.M2MClientCredential) Policy {
	p := Policy{Overlap: Overlap, Revision: spec.Revision, Revoked: spec.RevokedIDs}
	if spec.Rotation != nil {
		p.Interval = spec.Rotation.Interval.Duration
		p.Overlap = min(Overlap, p.Interval/2)
		if spec.Rotation.Overlap != nil {
			p.Overlap = spec.Rotation.Overlap.Duration
		}
	}
	return p
}

func (p Policy) revokes(id string) bool { return slices.Contains(p.Revoked, v1alpha1.CredentialID(id)) }

func (p Policy) unrevoked(entries []v1alpha1.CredentialStatus) []v1alpha1.CredentialStatus {
	return slices.DeleteFunc(slices.Clone(entries), func(e v1alpha1.CredentialStatus) bool { return p.revokes(e.ID) })
}

// Scheduled is when a credential that was made at some time is to be rotated. Every client has its own instants, one in
// each interval, which follow from its name: those of many clients are spread evenly, whenever they were made, and a
// credential is never older than the interval.
func Scheduled(owner Owner, interval time.Duration, created time.Time) time.Time {
	digest := sha256.Sum256([]byte(owner.Issuer + "/" + owner.ClientID))
	seconds := max(1, int64(interval/time.Second))
	phase := int64(binary.BigEndian.Uint64(digest[:8]) % uint64(seconds))
	return time.Unix(phase+((created.Unix()-phase)/seconds+1)*seconds, 0).UTC()
}

// nextRotation is when the credential that the Secret holds is to be replaced, and why; zero if there is no reason to.
// A rotation that comes while the previous credential is still accepted waits for its end.
func (s Situation) nextRotation(held Held, now time.Time) (at time.Time, why Verdict) {
	switch {
	case held.Revision != s.Policy.Revision:
		at, why = now, RotateRevision
	case s.Policy.Interval > 0:
		at, why = Scheduled(s.Owner, s.Policy.Interval, held.Current.CreatedTime.Time), RotateScheduled
		at = latest(at, s.NotBefore)
	default:
		return time.Time{}, ""
	}
	if held.Previous != nil {
		at = latest(at, held.Previous.ExpiryTime.Time)
	}
	return at, why
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
