// Package v1alpha1 holds the four kinds of m2m-operator: TokenIssuer, ApiResource, M2MClient and ScopeGrant.
//
// Authorization is decided from specs alone. Status carries verdicts for people and tools, and, for M2MClient, the
// verifiers of its credentials, each sealed so that it is worth nothing anywhere else.
//
// ApiResource breaks the convention that all letters of an acronym share one case, because metav1.APIResource exists
// and means something else: one name in two meanings would be worse.
//
// +kubebuilder:object:generate=true
// +groupName=m2m-operator.io
package v1alpha1
