package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ApiResourceSpec describes an API that tokens are made for.
// +kubebuilder:validation:XValidation:rule="self.issuerRef == oldSelf.issuerRef",message="field is immutable",fieldPath=".issuerRef"
type ApiResourceSpec struct {
	// issuerRef names the TokenIssuer whose tokens this API accepts. Immutable.
	// +optional
	// +kubebuilder:default={name: "default"}
	IssuerRef TokenIssuerReference `json:"issuerRef,omitzero"`

	// identifier is the `aud` of every token for this API, and the `audience` or `resource` that clients ask for: an
	// absolute URI without a fragment (RFC 8707 section 2), compared character by character. Unique for an issuer: of
	// two ApiResources with one identifier the older wins. Immutable.
	// +required
	// +kubebuilder:validation:MinLength=3
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^[A-Za-z][A-Za-z0-9+.-]*:([A-Za-z0-9._~:/?\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+$`
	// +kubebuilder:validation:XValidation:rule="isURL(self)",message="must be a valid absolute URI"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="field is immutable"
	Identifier string `json:"identifier,omitempty"`

	// displayName for people.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	DisplayName string `json:"displayName,omitempty"`

	// scopes that this API knows. A scope that is not declared here can be granted to nobody.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=512
	Scopes []ApiScope `json:"scopes,omitempty"`

	// token says what tokens for this API look like.
	// +optional
	Token ApiResourceToken `json:"token,omitzero"`
}

// ApiScope declares one scope.
type ApiScope struct {
	// name of the scope: one scope-token of RFC 6749 section 3.3.
	// +required
	Name ScopeName `json:"name,omitempty"`

	// description for people.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Description string `json:"description,omitempty"`
}

// ApiResourceToken says what tokens for an API look like.
// +kubebuilder:validation:MinProperties=1
type ApiResourceToken struct {
	// lifetime of tokens for this API: 10s to 24h, bounded by the TokenIssuer. Default: the TokenIssuer's.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,5}s)?$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('10s') && duration(self) <= duration('24h')",message="must be between 10s and 24h"
	Lifetime *metav1.Duration `json:"lifetime,omitempty"`

	// signingAlgorithm of tokens for this API; one of the TokenIssuer's. Default: the TokenIssuer's first.
	// +optional
	SigningAlgorithm SigningAlgorithm `json:"signingAlgorithm,omitempty"`
}

// ApiResourceStatus is what the operator found and made.
type ApiResourceStatus struct {
	// conditions are Accepted, ResolvedRefs, Programmed, Ready, Stalled.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// observedGeneration is the spec's generation that this status speaks of.
	// +optional
	// +kubebuilder:validation:Minimum=0
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// verifierConfigMapName is the ConfigMap beside this object that the API's own pods mount to verify tokens: keys
	// issuer, audience, jwks_uri and ca.crt.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	VerifierConfigMapName string `json:"verifierConfigMapName,omitempty"`
}

// ApiResource is an API that machines call: an audience and its scopes.
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Namespaced,categories={m2m},shortName={apires}
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Identifier",type=string,JSONPath=`.spec.identifier`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Issuer",type=string,JSONPath=`.spec.issuerRef.name`,priority=1
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,priority=1
// +kubebuilder:selectablefield:JSONPath=`.spec.issuerRef.name`
// +kubebuilder:selectablefield:JSONPath=`.spec.identifier`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 63",message="the name must be at most 63 characters",fieldPath=".metadata"
type ApiResource struct {
	metav1.TypeMeta `json:",inline"`

	// metadata of the object.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec describes the API.
	// +required
	Spec ApiResourceSpec `json:"spec"`

	// status is what the operator found and made.
	// +optional
	// +kubebuilder:default={conditions: {{type: "Accepted", status: "Unknown", reason: "Pending", message: "Waiting for the operator", lastTransitionTime: "1970-01-01T00:00:00Z"}, {type: "ResolvedRefs", status: "Unknown", reason: "Pending", message: "Waiting for the operator", lastTransitionTime: "1970-01-01T00:00:00Z"}, {type: "Programmed", status: "Unknown", reason: "Pending", message: "Waiting for the operator", lastTransitionTime: "1970-01-01T00:00:00Z"}, {type: "Ready", status: "Unknown", reason: "Pending", message: "Waiting for the operator", lastTransitionTime: "1970-01-01T00:00:00Z"}}}
	Status ApiResourceStatus `json:"status,omitzero"`
}

// ApiResourceList is a list of ApiResources.
// +kubebuilder:object:root=true
type ApiResourceList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ApiResource `json:"items"`
}

// StatusConditions points at status.conditions.
func (r *ApiResource) StatusConditions() *[]metav1.Condition { return &r.Status.Conditions }

// ObservedGeneration points at status.observedGeneration.
func (r *ApiResource) ObservedGeneration() *int64 { return &r.Status.ObservedGeneration }

// VerifierConfigMapName is the name of the ConfigMap that the API's own pods mount to verify tokens.
func (r *ApiResource) VerifierConfigMapName() string { return r.Name + "-verifier" }
