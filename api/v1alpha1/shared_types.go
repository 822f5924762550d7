package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// SigningAlgorithm is a JWS algorithm (RFC 7518 3.1, RFC 8037) that an issuer signs access tokens with.
// +kubebuilder:validation:Enum=ES256;RS256;PS256;EdDSA
type SigningAlgorithm string

// The signing algorithms. ES256 is the default; RS256 is what RFC 9068 section 4 asks every party to support.
const (
	ES256 SigningAlgorithm = "ES256"
	RS256 SigningAlgorithm = "RS256"
	PS256 SigningAlgorithm = "PS256"
	EdDSA SigningAlgorithm = "EdDSA"
)

// SigningAlgorithms are all of them.
var SigningAlgorithms = []SigningAlgorithm{ES256, RS256, PS256, EdDSA}

// ScopeName is one scope-token of RFC 6749 section 3.3.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=128
// +kubebuilder:validation:Pattern=`^[\x21\x23-\x5B\x5D-\x7E]+$`
type ScopeName string

// RoleName names a role of an ApiResource.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:Pattern=`^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$`
type RoleName string

// Expression is one in the Common Expression Language, of at most 4096 characters. What it may use is described in
// docs/reference/expressions.md.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=4096
type Expression string

// PolicyCondition is an expression that must be true.
type PolicyCondition struct {
	// expression that must be true. If it is false, or fails, the request is refused.
	// +required
	Expression Expression `json:"expression,omitempty"`

	// message for the client, if the expression is false: printable ASCII without quotes and backslashes.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:Pattern=`^[\x20-\x21\x23-\x5B\x5D-\x7E]+$`
	Message string `json:"message,omitempty"`
}

// NamespaceName is the name of a namespace.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
type NamespaceName string

// ObjectName is the name of a namespaced object of this group: a DNS-1123 subdomain of at most 63 characters.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
type ObjectName string

// TokenIssuerReference names the TokenIssuer that an object belongs to.
type TokenIssuerReference struct {
	// name of the TokenIssuer.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=40
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Name string `json:"name,omitempty"`
}

// NamespacedReference names an object of a known kind in a namespace.
type NamespacedReference struct {
	// namespace of the object.
	// +required
	Namespace NamespaceName `json:"namespace,omitempty"`

	// name of the object.
	// +required
	Name ObjectName `json:"name,omitempty"`
}

// Conditioned is what the controllers need of a kind to report on it.
// +kubebuilder:object:generate=false
type Conditioned interface {
	metav1.Object
	// StatusConditions points at status.conditions.
	StatusConditions() *[]metav1.Condition
	// ObservedGeneration points at status.observedGeneration.
	ObservedGeneration() *int64
}
