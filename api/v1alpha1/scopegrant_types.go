package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ScopeGrantSpec says who may have which scopes of one API. Grants only add; there is no deny.
//
// The patterns of the times are narrower than the format date-time of the API server, which lets through what Go does
// not parse: one such object would break every watch of the kind, and with it every issuer.
// +kubebuilder:validation:XValidation:rule="!has(self.notBefore) || !has(self.expiresAt) || self.notBefore < self.expiresAt",message="must be later than notBefore",fieldPath=".expiresAt"
// +kubebuilder:validation:XValidation:rule="has(self.scopes) || has(self.roles)",message="must name at least one scope or role"
type ScopeGrantSpec struct {
	// apiResourceRef names the ApiResource, always in the grant's own namespace: only an API's owner can grant.
	// +required
	ApiResourceRef LocalApiResourceReference `json:"apiResourceRef,omitzero"`

	// subjects that the scopes are granted to.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	Subjects []GrantSubject `json:"subjects,omitempty"`

	// scopes of the ApiResource that are granted.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=512
	Scopes []ScopeName `json:"scopes,omitempty"`

	// roles of the ApiResource whose scopes are granted, as they are at the time of each request.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Roles []RoleName `json:"roles,omitempty"`

	// conditions that a request must meet, all of them, or this grant gives it nothing.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	Conditions []PolicyCondition `json:"conditions,omitempty"` //nolint:kubeapilinter // it is a spec, and says so in the words of Kubernetes IAM policies

	// notBefore is when the grant begins: RFC 3339. Default: at once.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:MaxLength=40
	// +kubebuilder:validation:Pattern=`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`
	// +kubebuilder:validation:XValidation:rule="self >= timestamp('1970-01-01T00:00:00Z') && self < timestamp('9999-01-01T00:00:00Z')",message="must be between the years 1970 and 9999"
	NotBefore *metav1.Time `json:"notBefore,omitempty"`

	// expiresAt is when the grant ends: RFC 3339, by the clock of each issuer. Tokens issued before live on until
	// their own expiry. Default: never.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:MaxLength=40
	// +kubebuilder:validation:Pattern=`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`
	// +kubebuilder:validation:XValidation:rule="self >= timestamp('1970-01-01T00:00:00Z') && self < timestamp('9999-01-01T00:00:00Z')",message="must be between the years 1970 and 9999"
	ExpiresAt *metav1.Time `json:"expiresAt,omitempty"`

	// suspend takes the grant back at once, until it is false again.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
}

// LocalApiResourceReference names an ApiResource in the same namespace.
type LocalApiResourceReference struct {
	// name of the ApiResource.
	// +required
	Name ObjectName `json:"name,omitempty"`
}

// GrantSubject names one client, or clients of one namespace by their labels. The namespace is always named, so that a
// label in a stranger's namespace grants nothing.
// +kubebuilder:validation:XValidation:rule="has(self.name) != has(self.selector)",message="exactly one of name and selector must be set"
type GrantSubject struct {
	// namespace of the client or clients.
	// +required
	Namespace NamespaceName `json:"namespace,omitempty"`

	// name of one M2MClient.
	// +optional
	Name ObjectName `json:"name,omitempty"`

	// selector of M2MClients in the namespace, by their labels.
	// +optional
	Selector *ClientSelector `json:"selector,omitempty"`
}

// ClientSelector selects M2MClients by their labels, as a label selector does, but that it must not be empty: empty
// never means everything.
// +kubebuilder:validation:XValidation:rule="(has(self.matchLabels) && size(self.matchLabels) > 0) || (has(self.matchExpressions) && size(self.matchExpressions) > 0)",message="must not be empty: name at least one label, since an empty selector would mean nothing"
type ClientSelector struct {
	// matchLabels that a client must have, all of them.
	// +optional
	// +kubebuilder:validation:MaxProperties=16
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(k) <= 317 && size(self[k]) <= 63)",message="label keys must be at most 317 and values at most 63 characters"
	MatchLabels map[string]string `json:"matchLabels,omitempty"`

	// matchExpressions that a client must satisfy, all of them.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	MatchExpressions []ClientSelectorRequirement `json:"matchExpressions,omitempty"`
}

// ClientSelectorRequirement is one requirement on a label.
// +kubebuilder:validation:XValidation:rule="(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",message="values must be given for In and NotIn, and only for these"
type ClientSelectorRequirement struct {
	// key of the label.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=317
	Key string `json:"key,omitempty"`

	// operator between the label and values.
	// +required
	// +kubebuilder:validation:Enum=In;NotIn;Exists;DoesNotExist
	Operator metav1.LabelSelectorOperator `json:"operator,omitempty"`

	// values of the label, for In and NotIn.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=63
	Values []string `json:"values,omitempty"`
}

// LabelSelector is the selector in the form that apimachinery evaluates.
func (s *ClientSelector) LabelSelector() *metav1.LabelSelector {
	out := &metav1.LabelSelector{MatchLabels: s.MatchLabels}
	for _, e := range s.MatchExpressions {
		out.MatchExpressions = append(out.MatchExpressions,
			metav1.LabelSelectorRequirement{Key: e.Key, Operator: e.Operator, Values: e.Values})
	}
	return out
}

// ScopeGrantStatus is what the operator found.
type ScopeGrantStatus struct {
	// conditions are Accepted, ResolvedRefs, Active, Ready, Stalled.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// observedGeneration is the spec's generation that this status speaks of.
	// +optional
	// +kubebuilder:validation:Minimum=0
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// matchedClients is how many M2MClients the subjects match; brought up to date every few seconds.
	// +optional
	// +kubebuilder:validation:Minimum=0
	MatchedClients *int32 `json:"matchedClients,omitempty"`
}

// ScopeGrant gives scopes of one API to clients.
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Namespaced,categories={m2m},shortName={sgrant}
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Active",type=string,JSONPath=`.status.conditions[?(@.type=="Active")].status`
// +kubebuilder:printcolumn:name="API",type=string,JSONPath=`.spec.apiResourceRef.name`
// +kubebuilder:printcolumn:name="Clients",type=integer,JSONPath=`.status.matchedClients`
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.spec.expiresAt`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,priority=1
// +kubebuilder:selectablefield:JSONPath=`.spec.apiResourceRef.name`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 63",message="the name must be at most 63 characters",fieldPath=".metadata"
type ScopeGrant struct {
	metav1.TypeMeta `json:",inline"`

	// metadata of the object.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec says who may have which scopes.
	// +required
	Spec ScopeGrantSpec `json:"spec"`

	// status is what the operator found.
	// +optional
	// +kubebuilder:default={conditions: {{type: "Accepted", status: "Unknown", reason: "Pending", message: "Waiting for the operator", lastTransitionTime: "1970-01-01T00:00:00Z"}, {type: "ResolvedRefs", status: "Unknown", reason: "Pending", message: "Waiting for the operator", lastTransitionTime: "1970-01-01T00:00:00Z"}, {type: "Active", status: "Unknown", reason: "Pending", message: "Waiting for the operator", lastTransitionTime: "1970-01-01T00:00:00Z"}, {type: "Ready", status: "Unknown", reason: "Pending", message: "Waiting for the operator", lastTransitionTime: "1970-01-01T00:00:00Z"}}}
	Status ScopeGrantStatus `json:"status,omitzero"`
}

// ScopeGrantList is a list of ScopeGrants.
// +kubebuilder:object:root=true
type ScopeGrantList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ScopeGrant `json:"items"`
}

// StatusConditions points at status.conditions.
func (g *ScopeGrant) StatusConditions() *[]metav1.Condition { return &g.Status.Conditions }

// ObservedGeneration points at status.observedGeneration.
func (g *ScopeGrant) ObservedGeneration() *int64 { return &g.Status.ObservedGeneration }
