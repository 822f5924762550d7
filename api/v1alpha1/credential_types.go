package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// M2MClientCredential says where the client's secret is kept, and when it changes.
// +kubebuilder:validation:MinProperties=1
type M2MClientCredential struct {
	// secretName of the Secret, in this namespace, that the operator creates and the workload mounts: keys client_id,
	// client_secret, token_endpoint, issuer and ca.crt. Default: the M2MClient's name. Immutable.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	SecretName string `json:"secretName,omitempty"`

	// rotation gives the client a new secret at regular times. Absent: it gets one on command only.
	// +optional
	Rotation *CredentialRotation `json:"rotation,omitempty"`

	// revision is a text of your own. Any change of it gives the client a new secret, as soon as the one before the
	// present one has ended.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Revision string `json:"revision,omitempty"`

	// revokedIDs are ids of credentials that are refused at once and for ever. If the one that the Secret holds is among
	// them, the client gets a new secret at once. status.credentials and the Secret's annotation name the ids.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	RevokedIDs []CredentialID `json:"revokedIDs,omitempty"`
}

// CredentialRotation is the rhythm in which a client gets new secrets.
// +kubebuilder:validation:XValidation:rule="!has(self.overlap) || duration(self.overlap) + duration(self.overlap) <= duration(self.interval)",message="must be at most half of interval",fieldPath=".overlap"
type CredentialRotation struct {
	// interval from one rotation to the next: 1h to 8760h. The first falls somewhere within the first interval, by the
	// client's name, so that a fleet of clients does not change over as one.
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,5}s)?$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1h') && duration(self) <= duration('8760h')",message="must be between 1h and 8760h"
	Interval metav1.Duration `json:"interval,omitzero"`

	// overlap is how long the secret before is accepted beside the new one. It must be enough for workloads to notice:
	// a mounted file changes within some two minutes. Default: 24h, or half of interval if that is less.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,5}s)?$`
	Overlap *metav1.Duration `json:"overlap,omitempty"`
}

// CredentialID is the id of a client's credential.
// +kubebuilder:validation:MinLength=16
// +kubebuilder:validation:MaxLength=16
// +kubebuilder:validation:Pattern=`^[0-9a-v]+$`
type CredentialID string

// CredentialState is the place of a client secret in its life.
// +kubebuilder:validation:Enum=Pending;Current;Previous
type CredentialState string

// The states of a client secret. All of them are accepted, a Previous one until its expiry.
const (
	// CredentialPending secrets are known to issuers and not yet in the Secret.
	CredentialPending CredentialState = "Pending"
	// CredentialCurrent is what the Secret holds.
	CredentialCurrent CredentialState = "Current"
	// CredentialPrevious is what the Secret held before.
	CredentialPrevious CredentialState = "Previous"
)

// CredentialStatus is what issuers know of one client secret: enough to check it, not enough to use it.
type CredentialStatus struct {
	// id names the credential; the Secret's annotation names it too.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	ID string `json:"id,omitempty"`

	// state of the credential.
	// +required
	State CredentialState `json:"state,omitempty"`

	// verifier is made from the secret under the pepper of the install namespace, and sealed together with the issuer,
	// the client, the id and the expiry: pasted elsewhere or prolonged it verifies nothing.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Verifier string `json:"verifier,omitempty"`

	// pepperID names the pepper that the verifier was made with.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	PepperID string `json:"pepperID,omitempty"`

	// createdTime is when the credential was made.
	// +required
	CreatedTime metav1.Time `json:"createdTime,omitzero"`

	// expiryTime is when the credential is refused from. Absent: it is not limited.
	// +optional
	ExpiryTime *metav1.Time `json:"expiryTime,omitempty"`
}
