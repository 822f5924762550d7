package credential

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

// Annotations by which a credential Secret proves to be ours.
const (
	// AnnotationID names the credential that the Secret holds.
	AnnotationID = "m2m-operator.io/credential-id"
	// AnnotationRotatedAt is when the Secret got the credential that it holds (RFC 3339).
	AnnotationRotatedAt = "m2m-operator.io/rotated-at"
	// AnnotationCredentials holds the verifiers of the current and the previous credential, so that a lost status can
	// be rebuilt from the Secret.
	AnnotationCredentials = "m2m-operator.io/credentials"
	// AnnotationProof is a MAC under the pepper over the client and the verifiers.
	AnnotationProof = "m2m-operator.io/proof"
)

// Held is what a credential Secret says of itself: the credential that it holds, the one it held before, and which
// revision of the spec has been acted on.
type Held struct {
	Current  v1alpha1.CredentialStatus  `json:"current"`
	Previous *v1alpha1.CredentialStatus `json:"previous,omitempty"`
	Revision string                     `json:"revision,omitempty"`
}

// Annotate renders what a Secret says of itself, with the proof that we said it.
func (p Pepper) Annotate(owner Owner, held Held) (map[string]string, error) {
	text, err := json.Marshal(held)
	if err != nil {
		return nil, err
	}
	return map[string]string{
		AnnotationID:          held.Current.ID,
		AnnotationRotatedAt:   held.Current.CreatedTime.UTC().Format(time.RFC3339),
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

// PepperOf is the id of the pepper that a Secret says it was made with, "" if it does not say. It proves nothing.
func PepperOf(annotations map[string]string) string {
	var held Held
	if json.Unmarshal([]byte(annotations[AnnotationCredentials]), &held) != nil {
		return ""
	}
	return held.Current.PepperID
}

// live are the credentials of a Secret that issuers accept.
func (h Held) live(now time.Time) []v1alpha1.CredentialStatus {
	entries := []v1alpha1.CredentialStatus{h.Current}
	if h.Previous != nil && !expired(*h.Previous, now) {
		entries = append(entries, *h.Previous)
	}
	return entries
}
