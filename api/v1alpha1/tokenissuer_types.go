package v1alpha1

import (
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What holds where a TokenIssuer names nothing else.
const (
	DefaultTokenLifetime = time.Hour
	MaxTokenLifetime     = 24 * time.Hour
	// DefaultKeyRotationInterval is how long a signing key signs.
	DefaultKeyRotationInterval = 720 * time.Hour
)

// TokenIssuerSpec is what the platform team asks for.
// +kubebuilder:validation:MinProperties=0
type TokenIssuerSpec struct {
	// url is the issuer identifier: the `iss` of every token, byte for byte (RFC 8414 section 2), and the base of all
	// endpoints. Default: the https URL of the issuer's Service inside the cluster.
	// +optional
	// +kubebuilder:validation:MinLength=9
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:Pattern=`^https://[A-Za-z0-9._~!$&'()*+,;=:/\[\]-]+$`
	// +kubebuilder:validation:XValidation:rule="isURL(self) && self.matches('^https://([A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?([.][A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)*|[[][0-9A-Fa-f:.]+[]])(:[1-9][0-9]{0,4})?(/[^][]*)?$')",message="must have a valid host, and after it only a port and a path"
	// +kubebuilder:validation:XValidation:rule="!isURL(self) || size(url(self).getPort()) == 0 || int(url(self).getPort()) <= 65535",message="must have a port of at most 65535"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^https://[^/]*(/.*)?/([.]{0,2}/|[.]{1,2}$)')",message="must not have an empty, . or .. path segment"
	URL string `json:"url,omitempty"`

	// signing says how tokens are signed. Default: ES256.
	// +optional
	Signing TokenIssuerSigning `json:"signing,omitzero"`

	// tokens bounds the lifetime of tokens.
	// +optional
	Tokens TokenIssuerTokens `json:"tokens,omitzero"`

	// identifiers says which namespaces may claim which identifiers for their ApiResources. Default: all may claim all,
	// and of two that claim the same one the older has it.
	// +optional
	Identifiers TokenIssuerIdentifiers `json:"identifiers,omitzero"`

	// tls names the serving certificate. Absent: the operator makes an authority and a certificate, and renews them.
	// +optional
	TLS *TokenIssuerTLS `json:"tls,omitempty"`

	// trustedProxies are networks, as CIDR, that requests may come through: from them, and only from them, the last
	// address of X-Forwarded-For that is not in one of them counts as the source of a request. Default: none.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.all(p, isCIDR(p))",message="must be networks as CIDR, such as 10.0.0.0/8"
	TrustedProxies []string `json:"trustedProxies,omitempty"`

	// revokeTokensIssuedBefore makes introspection call all older tokens of this issuer inactive: RFC 3339. Verifiers
	// that do not introspect accept them until they expire. Default: none are revoked.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:MaxLength=40
	// +kubebuilder:validation:Pattern=`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`
	// +kubebuilder:validation:XValidation:rule="self >= timestamp('1970-01-01T00:00:00Z') && self < timestamp('9999-01-01T00:00:00Z')",message="must be between the years 1970 and 9999"
	RevokeTokensIssuedBefore *metav1.Time `json:"revokeTokensIssuedBefore,omitempty"`

	// maxStaleness is how long an issuer goes on issuing and introspecting after it last heard the Kubernetes API: 2m or
	// longer, for an API server may be silent for a minute. Beyond it both are refused as temporarily unavailable, while
	// keys and metadata are served. Default: for ever.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,5}s)?$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('2m')",message="must be at least 2m"
	MaxStaleness *metav1.Duration `json:"maxStaleness,omitempty"`

	// deployment shapes the pods that answer token requests. Default: two of them, spread over nodes and zones.
	// +optional
	Deployment *TokenIssuerDeployment `json:"deployment,omitempty"`
}

// TokenIssuerDeployment shapes the pods that answer token requests.
// +kubebuilder:validation:MinProperties=1
type TokenIssuerDeployment struct {
	// replicas of the token server: 1 to 100. Default: 2.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	Replicas int32 `json:"replicas,omitempty"`

	// resources of the token server's container. Default: requests of 100m CPU and 96Mi memory, a limit of 512Mi memory.
	// +optional
	Resources *corev1.ResourceRequirements `json:"resources,omitempty"`

	// nodeSelector of the pods.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(k) <= 317 && size(self[k]) <= 63)",message="keys must be at most 317 and values at most 63 characters"
	NodeSelector map[string]string `json:"nodeSelector,omitempty"`

	// tolerations of the pods.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Tolerations []corev1.Toleration `json:"tolerations,omitempty"`

	// affinity of the pods.
	// +optional
	Affinity *corev1.Affinity `json:"affinity,omitempty"`

	// topologySpreadConstraints of the pods. Default: spread over nodes and zones as far as possible.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	TopologySpreadConstraints []corev1.TopologySpreadConstraint `json:"topologySpreadConstraints,omitempty"`

	// priorityClassName of the pods.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	PriorityClassName string `json:"priorityClassName,omitempty"`

	// podLabels are added to the pods' labels; those that the operator sets win.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(k) <= 317 && size(self[k]) <= 63)",message="keys must be at most 317 and values at most 63 characters"
	PodLabels map[string]string `json:"podLabels,omitempty"`

	// podAnnotations of the pods.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(k) <= 317 && size(self[k]) <= 4096)",message="keys must be at most 317 and values at most 4096 characters"
	PodAnnotations map[string]string `json:"podAnnotations,omitempty"`
}

// TokenIssuerSigning says how tokens are signed.
// +kubebuilder:validation:MinProperties=1
type TokenIssuerSigning struct {
	// algorithms that the issuer has keys for; the first is the default for ApiResources that name none.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=3
	// +kubebuilder:validation:XValidation:rule="self.all(a, self.exists_one(b, a == b))",message="must not name an algorithm twice"
	Algorithms []SigningAlgorithm `json:"algorithms,omitempty"`

	// rotationInterval is how long a signing key signs before the next one does: 1h to 8760h. Default: 720h.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,5}s)?$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1h') && duration(self) <= duration('8760h')",message="must be between 1h and 8760h"
	RotationInterval *metav1.Duration `json:"rotationInterval,omitempty"`

	// revision is a text of your own. Any change of it makes the next key of every algorithm sign, as soon as every
	// verifier must know it.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Revision string `json:"revision,omitempty"`

	// revokedKeys are signing keys, by kid, that are published no more and sign nothing, at once and for ever: tokens that
	// they signed are worth nothing. If one of them signs now, the next key does in its place, even if some verifiers do
	// not know it yet. status.keys names the kids.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	RevokedKeys []KeyID `json:"revokedKeys,omitempty"`
}

// KeyID is the RFC 7638 thumbprint of a signing key: SHA-256, base64url.
// +kubebuilder:validation:MinLength=43
// +kubebuilder:validation:MaxLength=43
// +kubebuilder:validation:Pattern=`^[A-Za-z0-9_-]+$`
type KeyID string

// TokenIssuerTokens bounds the lifetime of tokens. A token lives for the shortest of maxLifetime, the ApiResource's
// lifetime (else defaultLifetime) and the M2MClient's tokenLifetime.
// +kubebuilder:validation:MinProperties=1
// +kubebuilder:validation:XValidation:rule="!has(self.defaultLifetime) || !has(self.maxLifetime) || duration(self.defaultLifetime) <= duration(self.maxLifetime)",message="defaultLifetime must not be longer than maxLifetime"
type TokenIssuerTokens struct {
	// defaultLifetime holds for ApiResources that name no lifetime: 10s to 24h. Default: 1h, or maxLifetime if that is
	// shorter.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,5}s)?$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('10s') && duration(self) <= duration('24h')",message="must be between 10s and 24h"
	DefaultLifetime *metav1.Duration `json:"defaultLifetime,omitempty"`

	// maxLifetime bounds every token of this issuer: 10s to 24h. Default: 24h.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,5}s)?$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('10s') && duration(self) <= duration('24h')",message="must be between 10s and 24h"
	MaxLifetime *metav1.Duration `json:"maxLifetime,omitempty"`
}

// TokenIssuerIdentifiers says which namespaces may claim which identifiers.
// +kubebuilder:validation:MinProperties=1
type TokenIssuerIdentifiers struct {
	// reserved prefixes of identifiers. Of several that an identifier begins with, the longest holds.
	// +optional
	// +listType=map
	// +listMapKey=prefix
	// +kubebuilder:validation:MaxItems=256
	Reserved []ReservedIdentifiers `json:"reserved,omitempty"`

	// others says whether identifiers that no reserved prefix fits may be claimed. Allow: by everybody. Deny: by nobody.
	// Default: Allow.
	// +optional
	Others OtherIdentifiers `json:"others,omitempty"`
}

// OtherIdentifiers says whether identifiers that are not reserved may be claimed.
// +kubebuilder:validation:Enum=Allow;Deny
type OtherIdentifiers string

// What may become of identifiers that are not reserved.
const (
	OtherIdentifiersAllow OtherIdentifiers = "Allow"
	OtherIdentifiersDeny  OtherIdentifiers = "Deny"
)

// ReservedIdentifiers keeps identifiers for the ApiResources of some namespaces.
type ReservedIdentifiers struct {
	// prefix of the identifiers, compared character by character. End the host name with a slash: https://pay.example
	// is a prefix of https://pay.example.org too.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9._~:/?\[\]@!$&'()*+,;=%-]+$`
	Prefix string `json:"prefix,omitempty"`

	// namespaces whose ApiResources may have them.
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Namespaces []NamespaceName `json:"namespaces,omitempty"`
}

// TokenIssuerTLS names the serving certificate.
type TokenIssuerTLS struct {
	// secretName of a kubernetes.io/tls Secret in the install namespace. Its ca.crt, if it has one, is handed to
	// clients and APIs; without one they trust their system's authorities.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	SecretName string `json:"secretName,omitempty"`
}

// SigningKeyState is the place of a signing key in its life.
// +kubebuilder:validation:Enum=Announced;Active;Retired
type SigningKeyState string

// The states of a signing key. All of them are in the JWKS.
const (
	// KeyAnnounced keys are published and do not sign yet.
	KeyAnnounced SigningKeyState = "Announced"
	// KeyActive keys sign.
	KeyActive SigningKeyState = "Active"
	// KeyRetired keys sign no more; tokens that they signed may be alive.
	KeyRetired SigningKeyState = "Retired"
)

// SigningKeyStatus describes one published key.
type SigningKeyStatus struct {
	// kid is the key's RFC 7638 thumbprint.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	KID string `json:"kid,omitempty"`

	// algorithm that the key signs with.
	// +required
	Algorithm SigningAlgorithm `json:"algorithm,omitempty"`

	// state of the key.
	// +required
	State SigningKeyState `json:"state,omitempty"`

	// sinceTime is when the key entered its state.
	// +required
	SinceTime metav1.Time `json:"sinceTime,omitzero"`

	// untilTime is when the state is expected to end: an announced key's with the active key's, whose turn ends then, a
	// retired key's with its removal.
	// +optional
	UntilTime *metav1.Time `json:"untilTime,omitempty"`
}

// TokenIssuerStatus is what the operator found and made.
type TokenIssuerStatus struct {
	// conditions are Accepted, ResolvedRefs, Programmed, Available, KeysCurrent, Ready, Stalled.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// observedGeneration is the spec's generation that this status speaks of.
	// +optional
	// +kubebuilder:validation:Minimum=0
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// url is the effective issuer identifier.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	URL string `json:"url,omitempty"`

	// tokenEndpoint is where clients ask for tokens.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	TokenEndpoint string `json:"tokenEndpoint,omitempty"`

	// jwksURI is where verifiers find the public keys.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	JWKSURI string `json:"jwksURI,omitempty"`

	// pepperID names the pepper that client verifiers are made with, so that a lost one is noticed.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	PepperID string `json:"pepperID,omitempty"`

	// certificateExpiryTime is when the serving certificate ends.
	// +optional
	CertificateExpiryTime *metav1.Time `json:"certificateExpiryTime,omitempty"`

	// keys that are published, ordered by algorithm and age.
	// +optional
	// +listType=map
	// +listMapKey=kid
	// +kubebuilder:validation:MaxItems=32
	Keys []SigningKeyStatus `json:"keys,omitempty"`

	// signingRevision is the last spec.signing.revision that was handled: the active keys of all algorithms are of it.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	SigningRevision string `json:"signingRevision,omitempty"`
}

// TokenIssuer is an OAuth 2.0 authorization server for machines: a URL, signing keys and limits.
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,categories={m2m},shortName={tkissuer}
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="URL",type=string,JSONPath=`.status.url`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,priority=1
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 40 && !self.metadata.name.contains('.')",message="the name must be a DNS label of at most 40 characters: Services and Secrets are named after it",fieldPath=".metadata"
type TokenIssuer struct {
	metav1.TypeMeta `json:",inline"`

	// metadata of the object.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is what the platform team asks for.
	// +required
	Spec TokenIssuerSpec `json:"spec"`

	// status is what the operator found and made.
	// +optional
	// +kubebuilder:default={conditions: {{type: "Accepted", status: "Unknown", reason: "Pending", message: "Waiting for the operator", lastTransitionTime: "1970-01-01T00:00:00Z"}, {type: "ResolvedRefs", status: "Unknown", reason: "Pending", message: "Waiting for the operator", lastTransitionTime: "1970-01-01T00:00:00Z"}, {type: "Programmed", status: "Unknown", reason: "Pending", message: "Waiting for the operator", lastTransitionTime: "1970-01-01T00:00:00Z"}, {type: "Ready", status: "Unknown", reason: "Pending", message: "Waiting for the operator", lastTransitionTime: "1970-01-01T00:00:00Z"}}}
	Status TokenIssuerStatus `json:"status,omitzero"`
}

// TokenIssuerList is a list of TokenIssuers.
// +kubebuilder:object:root=true
type TokenIssuerList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []TokenIssuer `json:"items"`
}

// StatusConditions points at status.conditions.
func (i *TokenIssuer) StatusConditions() *[]metav1.Condition { return &i.Status.Conditions }

// ObservedGeneration points at status.observedGeneration.
func (i *TokenIssuer) ObservedGeneration() *int64 { return &i.Status.ObservedGeneration }

// ServiceName is the name of the Service, in the install namespace, that answers token requests.
func (i *TokenIssuer) ServiceName() string { return "m2m-issuer-" + i.Name }

// IssuerURL is the effective issuer identifier: spec.url, else the Service's https URL in the install namespace.
func (i *TokenIssuer) IssuerURL(installNamespace string) string {
	if i.Spec.URL != "" {
		return i.Spec.URL
	}
	return "https://" + i.ServiceName() + "." + installNamespace + ".svc"
}

// Paths of a TokenIssuer's endpoints below its URL.
const (
	PathToken         = "/oauth2/token"
	PathIntrospection = "/oauth2/introspect"
	PathJWKS          = "/oauth2/jwks"
)

// TokenPaths are PathToken and what answers in the same way, for clients that were written for other servers.
var TokenPaths = []string{PathToken, "/oauth/token", "/oidc/token", "/service/oauth/token", "/services/oauth/token", "/token"}

// EndpointURL is the URL of an endpoint, such as PathToken, below an issuer identifier with or without a
// trailing slash.
func EndpointURL(issuerURL, path string) string { return strings.TrimSuffix(issuerURL, "/") + path }

// Algorithms that the issuer has keys for, the default first.
func (i *TokenIssuer) Algorithms() []SigningAlgorithm {
	if len(i.Spec.Signing.Algorithms) == 0 {
		return []SigningAlgorithm{ES256}
	}
	return i.Spec.Signing.Algorithms
}

// KeyRotationInterval is how long a signing key signs.
func (i *TokenIssuer) KeyRotationInterval() time.Duration {
	if d := i.Spec.Signing.RotationInterval; d != nil {
		return d.Duration
	}
	return DefaultKeyRotationInterval
}

// RevokedKeys are the kids of signing keys that are worth nothing any more.
func (i *TokenIssuer) RevokedKeys() []string {
	kids := make([]string, 0, len(i.Spec.Signing.RevokedKeys))
	for _, kid := range i.Spec.Signing.RevokedKeys {
		kids = append(kids, string(kid))
	}
	return kids
}

// MaxLifetime is the longest life of any token of this issuer.
func (i *TokenIssuer) MaxLifetime() time.Duration {
	if d := i.Spec.Tokens.MaxLifetime; d != nil {
		return d.Duration
	}
	return MaxTokenLifetime
}

// DefaultLifetime is the life of tokens for ApiResources that name none.
func (i *TokenIssuer) DefaultLifetime() time.Duration {
	if d := i.Spec.Tokens.DefaultLifetime; d != nil {
		return min(d.Duration, i.MaxLifetime())
	}
	return min(DefaultTokenLifetime, i.MaxLifetime())
}
