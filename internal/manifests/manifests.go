package manifests

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/keyring"
	"github.com/m2m-operator/m2m-operator/internal/pki"
)

// Labels of everything that the manager writes. Of Secrets outside the install namespace it keeps none in memory that
// does not carry LabelManagedBy.
const (
	LabelManagedBy   = "app.kubernetes.io/managed-by"
	ManagedBy        = "m2m-operator"
	LabelIssuer      = "m2m-operator.io/token-issuer"
	LabelApiResource = "m2m-operator.io/api-resource"
	LabelM2MClient   = "m2m-operator.io/m2m-client"
	LabelContent     = "m2m-operator.io/content"
)

// Values of LabelContent in the install namespace.
const (
	ContentPepper     = "pepper"
	ContentSigningKey = "signing-key"
	ContentKeyRing    = "key-ring"
	ContentAuthority  = "authority"
	ContentServing    = "serving-certificate"
)

// Keys of Secrets and ConfigMaps.
const (
	KeyPepper        = "pepper"
	KeyPrivateJWK    = "private.jwk"
	KeyClientID      = "client_id"
	KeyClientSecret  = "client_secret"
	KeyTokenEndpoint = "token_endpoint"
	KeyIssuer        = "issuer"
	KeyAuthority     = "ca.crt"
	KeyAudience      = "audience"
	KeyJWKSURI       = "jwks_uri"
	KeyIntrospection = "introspection_endpoint"
)

// AnnotationKeySeal of a signing key's Secret shows that this operator made the key.
const AnnotationKeySeal = "m2m-operator.io/key-seal"

// PepperName is the Secret with the pepper of an issuer's credentials.
func PepperName(issuer string) string { return "m2m-" + issuer + "-pepper" }

// RingName is the ConfigMap with the public halves and states of an issuer's signing keys.
func RingName(issuer string) string { return "m2m-" + issuer + "-key-ring" }

// AuthorityName is the Secret with the authority that signs an issuer's serving certificates.
func AuthorityName(issuer string) string { return "m2m-" + issuer + "-ca" }

// ServingName is the Secret with an issuer's serving certificate: the operator's own, or the one that the spec names.
func ServingName(issuer *v1alpha1.TokenIssuer) string {
	if issuer.Spec.TLS != nil {
		return issuer.Spec.TLS.SecretName
	}
	return "m2m-" + issuer.Name + "-tls"
}

// KeyName is the Secret with one private signing key. It is named by what it is for, so that two managers that both
// want to make it make one.
func KeyName(issuer string, slot keyring.Slot) string {
	return fmt.Sprintf("m2m-%s-key-%s-%d", issuer, strings.ToLower(string(slot.Algorithm)), slot.Generation)
}

// IssuerLabels are those of an issuer's objects in the install namespace.
func IssuerLabels(issuer, content string) map[string]string {
	return labels(content, LabelIssuer, issuer)
}

// BelongsTo reports whether an object of the install namespace is one of an issuer's, by its name: a restored backup,
// or a person's hand, may bring it without labels.
func BelongsTo(issuer *v1alpha1.TokenIssuer, name string) bool {
	switch name {
	case PepperName(issuer.Name), RingName(issuer.Name), AuthorityName(issuer.Name), ServingName(issuer):
		return true
	}
	_, ok := SlotOf(issuer.Name, name)
	return ok
}

// SlotOf is the slot whose key a Secret of this name holds; the inverse of KeyName.
func SlotOf(issuer, name string) (keyring.Slot, bool) {
	rest, ok := strings.CutPrefix(name, "m2m-"+issuer+"-key-")
	algorithm, generation, found := strings.Cut(rest, "-")
	if !ok || !found {
		return keyring.Slot{}, false
	}
	n, err := strconv.Atoi(generation)
	for _, a := range v1alpha1.SigningAlgorithms {
		slot := keyring.Slot{Algorithm: a, Generation: n}
		if err == nil && n > 0 && strings.EqualFold(string(a), algorithm) && KeyName(issuer, slot) == name {
			return slot, true
		}
	}
	return keyring.Slot{}, false
}

func labels(content string, more ...string) map[string]string {
	l := map[string]string{LabelManagedBy: ManagedBy, LabelContent: content}
	for i := 0; i+1 < len(more); i += 2 {
		l[more[i]] = more[i+1]
	}
	return l
}

// IssuerSecret is a Secret of an issuer in the install namespace. It has no owner: deleting a TokenIssuer stops it and
// loses nothing.
func IssuerSecret(issuer, namespace, name, content string, data map[string][]byte) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels(content, LabelIssuer, issuer)},
		Data:       data,
	}
}

// SigningKey is the immutable Secret of one private key, with its seal.
func SigningKey(issuer, namespace string, slot keyring.Slot, private []byte, seal string) *corev1.Secret {
	secret := IssuerSecret(issuer, namespace, KeyName(issuer, slot), ContentSigningKey, map[string][]byte{KeyPrivateJWK: private})
	secret.Annotations = map[string]string{AnnotationKeySeal: seal}
	immutable := true
	secret.Immutable = &immutable
	return secret
}

// CertificateSecret is the kubernetes.io/tls Secret of an authority or of a serving certificate.
func CertificateSecret(issuer, namespace, name, content string, pair pki.Pair, authority []byte) *corev1.Secret {
	secret := IssuerSecret(issuer, namespace, name, content, map[string][]byte{
		corev1.TLSCertKey: pair.Certificate, corev1.TLSPrivateKeyKey: pair.Key, KeyAuthority: authority,
	})
	secret.Type = corev1.SecretTypeTLS
	return secret
}

// Keys of the authority's Secret beside those of kubernetes.io/tls.
const (
	keyNextCertificate = "next.crt"
	keyNextKey         = "next.key"
	keyNextSince       = "next.since"
	keyPrevious        = "previous.crt"
	keyPreviousSince   = "previous.since"
)

// AuthoritySecret keeps the authorities of an issuer's serving certificates.
func AuthoritySecret(issuer, namespace string, a pki.Authorities) *corev1.Secret {
	secret := IssuerSecret(issuer, namespace, AuthorityName(issuer), ContentAuthority, map[string][]byte{
		corev1.TLSCertKey: a.Current.Certificate, corev1.TLSPrivateKeyKey: a.Current.Key, KeyAuthority: a.Bundle(),
	})
	if len(a.Next.Certificate) > 0 {
		secret.Data[keyNextCertificate], secret.Data[keyNextKey] = a.Next.Certificate, a.Next.Key
		secret.Data[keyNextSince] = []byte(a.NextSince.UTC().Format(time.RFC3339))
	}
	if len(a.Previous) > 0 {
		secret.Data[keyPrevious] = a.Previous
		secret.Data[keyPreviousSince] = []byte(a.PreviousSince.UTC().Format(time.RFC3339))
	}
	return secret
}

// ReadAuthorities reads what AuthoritySecret wrote. A time that cannot be read counts as long past.
func ReadAuthorities(secret *corev1.Secret) pki.Authorities {
	since := func(key string) time.Time {
		t, _ := time.Parse(time.RFC3339, string(secret.Data[key]))
		return t
	}
	return pki.Authorities{
		Current:   pki.Pair{Certificate: secret.Data[corev1.TLSCertKey], Key: secret.Data[corev1.TLSPrivateKeyKey]},
		Next:      pki.Pair{Certificate: secret.Data[keyNextCertificate], Key: secret.Data[keyNextKey]},
		NextSince: since(keyNextSince),
		Previous:  secret.Data[keyPrevious], PreviousSince: since(keyPreviousSince),
	}
}

// Endpoint is what clients and APIs are told of an issuer.
type Endpoint struct {
	// URL is the issuer identifier.
	URL string
	// Authority is the PEM bundle that the serving certificate verifies with, empty for the system's authorities.
	Authority []byte
}

// Credential is the Secret that a workload mounts. Owner and annotations are the caller's.
func Credential(client *v1alpha1.M2MClient, endpoint Endpoint, secret string) *corev1.Secret {
	data := map[string][]byte{
		KeyClientID:      []byte(client.ClientID()),
		KeyClientSecret:  []byte(secret),
		KeyTokenEndpoint: []byte(v1alpha1.EndpointURL(endpoint.URL, v1alpha1.PathToken)),
		KeyIssuer:        []byte(endpoint.URL),
	}
	if len(endpoint.Authority) > 0 {
		data[KeyAuthority] = endpoint.Authority
	}
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: client.Namespace, Name: client.SecretName(),
			Labels: labels("credential", LabelM2MClient, client.Name),
		},
		Type: corev1.SecretTypeOpaque,
		Data: data,
	}
}

// ClientEndpoint is the ConfigMap that a workload mounts which proves itself without a Secret. Owner is the caller's.
func ClientEndpoint(client *v1alpha1.M2MClient, endpoint Endpoint) *corev1.ConfigMap {
	data := map[string]string{
		KeyClientID:      client.ClientID(),
		KeyTokenEndpoint: v1alpha1.EndpointURL(endpoint.URL, v1alpha1.PathToken),
		KeyIssuer:        endpoint.URL,
	}
	return mounted(client.Namespace, client.EndpointConfigMapName(), labels("endpoint", LabelM2MClient, client.Name), data, endpoint)
}

// Verifier is the ConfigMap that an API's own pods mount to verify tokens, or to ask what they are worth.
func Verifier(api *v1alpha1.ApiResource, endpoint Endpoint) *corev1.ConfigMap {
	data := map[string]string{
		KeyIssuer:        endpoint.URL,
		KeyAudience:      api.Spec.Identifier,
		KeyJWKSURI:       v1alpha1.EndpointURL(endpoint.URL, v1alpha1.PathJWKS),
		KeyIntrospection: v1alpha1.EndpointURL(endpoint.URL, v1alpha1.PathIntrospection),
	}
	return mounted(api.Namespace, api.VerifierConfigMapName(), labels("verifier", LabelApiResource, api.Name), data, endpoint)
}

// mounted is a ConfigMap that a tenant's pods mount: the data, and the authority to trust the endpoint by if it has its own.
func mounted(namespace, name string, labels, data map[string]string, endpoint Endpoint) *corev1.ConfigMap {
	if len(endpoint.Authority) > 0 {
		data[KeyAuthority] = string(endpoint.Authority)
	}
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels},
		Data:       data,
	}
}

// ServingNames are the names that an issuer's certificate is for: the host of its URL and those of its Service.
func ServingNames(issuer *v1alpha1.TokenIssuer, namespace string) []string {
	service := issuer.ServiceName()
	names := []string{
		service, service + "." + namespace, service + "." + namespace + ".svc",
		service + "." + namespace + ".svc.cluster.local",
	}
	u, err := url.Parse(issuer.IssuerURL(namespace))
	if err != nil {
		return names
	}
	host := u.Hostname()
	if ip := net.ParseIP(host); ip != nil {
		host = ip.String() // as it is read back from a certificate
	}
	if !slices.Contains(names, host) {
		names = append(names, host)
	}
	return names
}
