package v1alpha1

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// M2MClientSpec describes a workload that asks for tokens.
// +kubebuilder:validation:XValidation:rule="self.issuerRef == oldSelf.issuerRef",message="field is immutable",fieldPath=".issuerRef"
// +kubebuilder:validation:XValidation:rule="(has(self.credential) && has(self.credential.secretName) ? self.credential.secretName : \"\") == (has(oldSelf.credential) && has(oldSelf.credential.secretName) ? oldSelf.credential.secretName : \"\")",message="field is immutable, also from absent to set: delete the M2MClient and create it anew to change it",fieldPath=".credential.secretName"
// +kubebuilder:validation:XValidation:rule="('PrivateKeyJWT' in self.authentication) == has(self.jwks)",message="must be given if authentication lists PrivateKeyJWT, and only then",fieldPath=".jwks"
// +kubebuilder:validation:XValidation:rule="('ServiceAccount' in self.authentication) == has(self.serviceAccountName)",message="must be given if authentication lists ServiceAccount, and only then",fieldPath=".serviceAccountName"
type M2MClientSpec struct {
	// issuerRef names the TokenIssuer that this client gets its tokens from. Immutable.
	// +optional
	// +kubebuilder:default={name: "default"}
	IssuerRef TokenIssuerReference `json:"issuerRef,omitzero"`

	// displayName for people.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	DisplayName string `json:"displayName,omitempty"`

	// description for people.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Description string `json:"description,omitempty"`

	// suspend blocks this client at once: its credentials are refused until it is false again.
	// +optional
	Suspend bool `json:"suspend,omitempty"`

	// tokenLifetime shortens this client's tokens: 10s to 24h. Default: the ApiResource's.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,5}s)?$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('10s') && duration(self) <= duration('24h')",message="must be between 10s and 24h"
	TokenLifetime *metav1.Duration `json:"tokenLifetime,omitempty"`

	// defaultAudience is the identifier of the ApiResource for requests that name none. Default: such requests are
	// refused with invalid_target.
	// +optional
	// +kubebuilder:validation:MinLength=3
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^[A-Za-z][A-Za-z0-9+.-]*:([A-Za-z0-9._~:/?\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+$`
	DefaultAudience string `json:"defaultAudience,omitempty"`

	// authentication lists the ways in which the client may prove who it is, any one of which is enough. A Secret is made
	// only where ClientSecret is among them, and deleted when that is taken out. For the others there is a ConfigMap.
	// +optional
	// +listType=set
	// +kubebuilder:default={"ClientSecret"}
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=3
	Authentication []AuthenticationMethod `json:"authentication,omitempty"`

	// jwks holds the public keys of the assertions that PrivateKeyJWT takes (RFC 7523, RFC 7517).
	// +optional
	JWKS *JSONWebKeySet `json:"jwks,omitempty"`

	// serviceAccountName names the Kubernetes ServiceAccount of this namespace whose tokens ServiceAccount takes. Of two
	// clients of one TokenIssuer that name the same one, the older has it.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	ServiceAccountName string `json:"serviceAccountName,omitempty"`

	// requests are wishes for scopes, shown to the owners of the APIs. They grant nothing.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Requests []AccessRequest `json:"requests,omitempty"`

	// credential says where the client's secret is kept, and when it changes.
	// +optional
	Credential M2MClientCredential `json:"credential,omitzero"`

	// revokeTokensIssuedBefore makes introspection call this client's older tokens inactive: RFC 3339. Verifiers that
	// do not introspect accept them until they expire. Default: none are revoked.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:MaxLength=40
	// +kubebuilder:validation:Pattern=`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`
	// +kubebuilder:validation:XValidation:rule="self >= timestamp('1970-01-01T00:00:00Z') && self < timestamp('9999-01-01T00:00:00Z')",message="must be between the years 1970 and 9999"
	RevokeTokensIssuedBefore *metav1.Time `json:"revokeTokensIssuedBefore,omitempty"`
}

// AccessRequest is a wish for scopes of an API.
type AccessRequest struct {
	// apiResource that has the scopes.
	// +required
	ApiResource NamespacedReference `json:"apiResource,omitzero"`

	// scopes that are wished for.
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Scopes []ScopeName `json:"scopes,omitempty"`
}

// AccessRequestState is what has become of a wish for scopes.
// +kubebuilder:validation:Enum=Granted;Partial;Pending
type AccessRequestState string

// What may become of a wish.
const (
	// AccessRequestGranted: the client has all the scopes.
	AccessRequestGranted AccessRequestState = "Granted"
	// AccessRequestPartial: it has some of them.
	AccessRequestPartial AccessRequestState = "Partial"
	// AccessRequestPending: it has none.
	AccessRequestPending AccessRequestState = "Pending"
)

// AccessRequestStatus is what has become of one of spec.requests.
type AccessRequestStatus struct {
	// apiResource of the wish.
	// +required
	ApiResource NamespacedReference `json:"apiResource,omitzero"`

	// state of the wish.
	// +required
	State AccessRequestState `json:"state,omitempty"`

	// missing scopes, sorted.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Missing []ScopeName `json:"missing,omitempty"`

	// sinceTime is when the wish came to be in its state.
	// +optional
	SinceTime metav1.Time `json:"sinceTime,omitzero"`
}

// AuthenticationMethod is a way in which a client proves who it is.
// +kubebuilder:validation:Enum=ClientSecret;PrivateKeyJWT;ServiceAccount
type AuthenticationMethod string

// The methods of authentication.
const (
	// AuthenticateBySecret takes the generated secret, by HTTP Basic or in the body (RFC 6749 section 2.3.1).
	AuthenticateBySecret AuthenticationMethod = "ClientSecret"
	// AuthenticateByKey takes an assertion that the client signed itself (RFC 7523 section 2.2, private_key_jwt).
	AuthenticateByKey AuthenticationMethod = "PrivateKeyJWT"
	// AuthenticateByServiceAccount takes a projected token of a Kubernetes ServiceAccount as the assertion.
	AuthenticateByServiceAccount AuthenticationMethod = "ServiceAccount"
)

// EffectiveAccess is what a client may do with one API at the time of writing.
type EffectiveAccess struct {
	// audience to ask for.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Audience string `json:"audience,omitempty"`

	// apiResource that gives the access.
	// +required
	ApiResource NamespacedReference `json:"apiResource,omitzero"`

	// scopes that a token may have, sorted; the first 64.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Scopes []ScopeName `json:"scopes,omitempty"`

	// scopeCount is how many scopes a token may have, also those that are not listed.
	// +required
	// +kubebuilder:validation:Minimum=0
	ScopeCount int32 `json:"scopeCount"`
}

// M2MClientStatus is what the operator found and made.
type M2MClientStatus struct {
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

	// clientID is what the client authenticates as: namespace.name.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	ClientID string `json:"clientID,omitempty"`

	// secretName of the Secret that holds the credential. Absent: spec.authentication does not list ClientSecret.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	SecretName string `json:"secretName,omitempty"`

	// configMapName of the ConfigMap that says where to ask for tokens, with the keys client_id, token_endpoint, issuer
	// and ca.crt. Absent: spec.authentication lists ClientSecret alone.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	ConfigMapName string `json:"configMapName,omitempty"`

	// credentials that issuers accept: at most one Pending, one Current and one Previous.
	// +optional
	// +listType=map
	// +listMapKey=id
	// +kubebuilder:validation:MaxItems=8
	Credentials []CredentialStatus `json:"credentials,omitempty"`

	// credentialRevision is the spec.credential.revision that has been acted on.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	CredentialRevision string `json:"credentialRevision,omitempty"`

	// nextRotationTime is when the client gets its next secret. Absent: when somebody asks for one.
	// +optional
	NextRotationTime *metav1.Time `json:"nextRotationTime,omitempty"`

	// access that the client effectively has, ordered by audience; the first 32 APIs.
	// +optional
	// +listType=map
	// +listMapKey=audience
	// +kubebuilder:validation:MaxItems=32
	Access []EffectiveAccess `json:"access,omitempty"`

	// requests says what has become of each of spec.requests, in their order.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Requests []AccessRequestStatus `json:"requests,omitempty"`

	// accessCount is how many APIs the client has access to, also those that are not listed.
	// +optional
	// +kubebuilder:validation:Minimum=0
	AccessCount int32 `json:"accessCount,omitempty"`
}

// M2MClient is a workload that asks for tokens.
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Namespaced,path=m2mclients,singular=m2mclient,categories={m2m},shortName={m2mc}
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Client ID",type=string,JSONPath=`.status.clientID`
// +kubebuilder:printcolumn:name="Secret",type=string,JSONPath=`.status.secretName`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Suspended",type=boolean,JSONPath=`.spec.suspend`,priority=1
// +kubebuilder:printcolumn:name="Issuer",type=string,JSONPath=`.spec.issuerRef.name`,priority=1
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,priority=1
// +kubebuilder:selectablefield:JSONPath=`.spec.issuerRef.name`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 63",message="the name must be at most 63 characters: the client_id is made of it",fieldPath=".metadata"
type M2MClient struct {
	metav1.TypeMeta `json:",inline"`

	// metadata of the object.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec describes the workload. It may be empty: an M2MClient needs nothing but a name.
	// +required
	Spec M2MClientSpec `json:"spec"`

	// status is what the operator found and made.
	// +optional
	// +kubebuilder:default={conditions: {{type: "Accepted", status: "Unknown", reason: "Pending", message: "Waiting for the operator", lastTransitionTime: "1970-01-01T00:00:00Z"}, {type: "ResolvedRefs", status: "Unknown", reason: "Pending", message: "Waiting for the operator", lastTransitionTime: "1970-01-01T00:00:00Z"}, {type: "Programmed", status: "Unknown", reason: "Pending", message: "Waiting for the operator", lastTransitionTime: "1970-01-01T00:00:00Z"}, {type: "Ready", status: "Unknown", reason: "Pending", message: "Waiting for the operator", lastTransitionTime: "1970-01-01T00:00:00Z"}}}
	Status M2MClientStatus `json:"status,omitzero"`
}

// M2MClientList is a list of M2MClients.
// +kubebuilder:object:root=true
type M2MClientList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []M2MClient `json:"items"`
}

// StatusConditions points at status.conditions.
func (c *M2MClient) StatusConditions() *[]metav1.Condition { return &c.Status.Conditions }

// ObservedGeneration points at status.observedGeneration.
func (c *M2MClient) ObservedGeneration() *int64 { return &c.Status.ObservedGeneration }

// Authenticates reports whether the client may prove itself in this way. Where a manifest names none, as the API server
// has not seen it yet, that is by its secret.
func (c *M2MClient) Authenticates(method AuthenticationMethod) bool {
	if len(c.Spec.Authentication) == 0 {
		return method == AuthenticateBySecret
	}
	return slices.Contains(c.Spec.Authentication, method)
}

// ClientID is what the client authenticates as: namespace.name. Namespaces hold no dot, so no two clients share one.
func (c *M2MClient) ClientID() string { return c.Namespace + "." + c.Name }

// EndpointConfigMapName is the name of the ConfigMap that says where to ask for tokens.
func (c *M2MClient) EndpointConfigMapName() string { return c.Name + "-endpoint" }

// SecretName is the name of the credential Secret.
func (c *M2MClient) SecretName() string {
	if c.Spec.Credential.SecretName != "" {
		return c.Spec.Credential.SecretName
	}
	return c.Name
}
