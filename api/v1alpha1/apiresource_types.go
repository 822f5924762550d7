package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ApiResourceSpec describes an API that tokens are made for.
// +kubebuilder:validation:XValidation:rule="self.issuerRef == oldSelf.issuerRef",message="field is immutable",fieldPath=".issuerRef"
// +kubebuilder:validation:XValidation:rule="!has(self.scopeSyntax) || self.scopeSyntax != 'Hierarchical' || !has(self.scopes) || self.scopes.all(s, s.name.matches('^[^:]+(:[^:]+){0,2}$'))",message="must be resource, resource:action or resource:id:action, since scopeSyntax is Hierarchical",fieldPath=".scopes"
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

	// scopeSyntax says how scopes are read. Exact: each is itself, and every character ordinary. Hierarchical: a scope is
	// resource:id:action with * for all of something, book is short for book:*:*, book:read for book:*:read, and a
	// granted scope gives all that it covers. Default: Exact.
	// +optional
	// +kubebuilder:default=Exact
	ScopeSyntax ScopeSyntax `json:"scopeSyntax,omitempty"`

	// authorization says who may have scopes. Required: those to whom ScopeGrants give them. AnyClient: every client of
	// the TokenIssuer may have every scope. Default: Required.
	// +optional
	// +kubebuilder:default=Required
	Authorization Authorization `json:"authorization,omitempty"`

	// partialGrants says what happens when some of the scopes that a request asks for are not granted. Allow: the token
	// has the others. Refuse: there is no token. Default: Allow.
	// +optional
	// +kubebuilder:default=Allow
	PartialGrants PartialGrants `json:"partialGrants,omitempty"`

	// roles are named sets of scopes, which ScopeGrants may name.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	Roles []ApiRole `json:"roles,omitempty"`

	// rules that every request for a token must meet, whoever granted what.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	Rules []PolicyCondition `json:"rules,omitempty"`

	// claims that are added to every token.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=32
	Claims []ApiClaim `json:"claims,omitempty"`

	// token says what tokens for this API look like.
	// +optional
	Token ApiResourceToken `json:"token,omitzero"`
}

// ScopeSyntax says how scopes are read.
// +kubebuilder:validation:Enum=Exact;Hierarchical
type ScopeSyntax string

// The syntaxes of scopes.
const (
	ScopeSyntaxExact        ScopeSyntax = "Exact"
	ScopeSyntaxHierarchical ScopeSyntax = "Hierarchical"
)

// Authorization says who may have scopes of an API.
// +kubebuilder:validation:Enum=Required;AnyClient
type Authorization string

// The ways of authorization.
const (
	AuthorizationRequired  Authorization = "Required"
	AuthorizationAnyClient Authorization = "AnyClient"
)

// PartialGrants says what happens when some of the asked scopes are not granted.
// +kubebuilder:validation:Enum=Allow;Refuse
type PartialGrants string

// What may happen.
const (
	PartialGrantsAllow  PartialGrants = "Allow"
	PartialGrantsRefuse PartialGrants = "Refuse"
)

// ApiRole is a named set of scopes.
type ApiRole struct {
	// name of the role.
	// +required
	Name RoleName `json:"name,omitempty"`

	// description for people.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Description string `json:"description,omitempty"`

	// scopes of the role.
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=512
	Scopes []ScopeName `json:"scopes,omitempty"`
}

// ApiClaim is a claim that is added to tokens.
type ApiClaim struct {
	// name of the claim.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[\x21\x23-\x5B\x5D-\x7E]+$`
	// +kubebuilder:validation:XValidation:rule="!(self in ['iss', 'sub', 'aud', 'exp', 'iat', 'nbf', 'jti', 'client_id', 'scope', 'cnf'])",message="must not be a claim that the issuer sets itself: iss, sub, aud, exp, iat, nbf, jti, client_id, scope, cnf"
	Name string `json:"name,omitempty"`

	// expression of the value. A value of null leaves the claim out. If it fails, there is no token.
	// +required
	Expression Expression `json:"expression,omitempty"`
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
	// issuer, audience, jwks_uri, introspection_endpoint and ca.crt.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	VerifierConfigMapName string `json:"verifierConfigMapName,omitempty"`

	// pendingRequests counts, by namespace, the M2MClients that wish for scopes of this API which they do not have; the
	// first 32 namespaces. What they wish for stands in their spec.requests.
	// +optional
	// +listType=map
	// +listMapKey=namespace
	// +kubebuilder:validation:MaxItems=32
	PendingRequests []PendingRequests `json:"pendingRequests,omitempty"`

	// pendingRequestCount is how many M2MClients wish for scopes which they do not have, also in namespaces that are not
	// listed.
	// +optional
	// +kubebuilder:validation:Minimum=0
	PendingRequestCount int32 `json:"pendingRequestCount,omitempty"`
}

// PendingRequests counts the clients of a namespace that wish for scopes.
type PendingRequests struct {
	// namespace of the clients.
	// +required
	Namespace NamespaceName `json:"namespace,omitempty"`

	// count of the clients.
	// +required
	// +kubebuilder:validation:Minimum=0
	Count int32 `json:"count"`
}

// ApiResource is an API that machines call: an audience and its scopes.
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Namespaced,categories={m2m},shortName={apires}
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Identifier",type=string,JSONPath=`.spec.identifier`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Issuer",type=string,JSONPath=`.spec.issuerRef.name`,priority=1
// +kubebuilder:printcolumn:name="Pending",type=integer,JSONPath=`.status.pendingRequestCount`,priority=1
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
