package tokens

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/clientauth"
	"github.com/m2m-operator/m2m-operator/internal/credential"
	"github.com/m2m-operator/m2m-operator/internal/issuer"
	"github.com/m2m-operator/m2m-operator/internal/keyring"
)

const (
	tokenIssuer   = "default"
	issuerURL     = "https://issuer.example.com"
	clusterIssuer = "https://kubernetes.default.svc"
	apiNamespace  = "apis"
	// ownerName is the client that may introspect tokens: it is of the APIs' namespace.
	ownerName = "owner"
	// keyedClients is how many clients sign assertions: each may use 4096 in six minutes.
	keyedClients = 64
	// clientsPerAPI is how many clients, each with a grant of its own, one of the many ApiResources has.
	clientsPerAPI = 10
)

// world is what an issuer knows. It is handed to its process as JSON.
type world struct {
	// Clients that have a secret, each with a ScopeGrant of its own.
	Clients int
	Pepper  []byte
	// Keys that sign tokens, private, as JWKs.
	Keys [][]byte
	// ClientKey is the public key of the clients that sign assertions.
	ClientKey v1alpha1.JSONWebKey
	// ClusterKeys verify tokens of ServiceAccounts.
	ClusterKeys jose.JSONWebKeySet
	// Certificate and PrivateKey serve TLS, PEM.
	Certificate, PrivateKey []byte
}

// fill makes the state of an issuer that knows this world.
func (w world) fill() (*issuer.State, error) {
	pepper, err := credential.ParsePepper(w.Pepper)
	if err != nil {
		return nil, err
	}
	index := access.NewIndex("m2m-system")
	state := issuer.NewState(tokenIssuer, index)
	state.SetPepper(pepper)
	state.SetSynced(func() bool { return true })
	state.SetCluster(&clientauth.Cluster{Issuer: clusterIssuer, Keys: w.ClusterKeys})
	keys, err := w.keySet()
	if err != nil {
		return nil, err
	}
	state.SetKeys(keys)
	certificate, err := tls.X509KeyPair(w.Certificate, w.PrivateKey)
	if err != nil {
		return nil, err
	}
	state.SetCertificate(&certificate)
	index.Upsert(&v1alpha1.TokenIssuer{
		ObjectMeta: metav1.ObjectMeta{Name: tokenIssuer},
		Spec:       v1alpha1.TokenIssuerSpec{URL: issuerURL, Signing: v1alpha1.TokenIssuerSigning{Algorithms: algorithms}},
	})
	w.addClients(index, pepper)
	for _, api := range specialAPIs() {
		w.addSpecial(index, api)
	}
	return state, nil
}

func (w world) keySet() (*keyring.KeySet, error) {
	var ring keyring.Ring
	var private []jose.JSONWebKey
	for _, text := range w.Keys {
		key, err := keyring.ParsePrivate(text)
		if err != nil {
			return nil, err
		}
		ring = ring.Fill(keyring.Slot{Algorithm: v1alpha1.SigningAlgorithm(key.Algorithm), Generation: 1}, key, time.Now())
		private = append(private, key)
	}
	return keyring.NewKeySet(ring, private)
}

// addClients adds those that have a secret, their ApiResources and their grants, and those that prove themselves otherwise.
func (w world) addClients(index *access.Index, pepper credential.Pepper) {
	for i := range (w.Clients + clientsPerAPI - 1) / clientsPerAPI {
		index.Upsert(newAPI(fmt.Sprintf("api-%d", i), audienceOf(i*clientsPerAPI), "read", "write"))
	}
	for i := range w.Clients {
		index.Upsert(withSecret(newClient(i), pepper, secretOf(i)))
		subject := v1alpha1.GrantSubject{Namespace: v1alpha1.NamespaceName(namespaceOf(i)), Name: v1alpha1.ObjectName(nameOf(i))}
		index.Upsert(newGrant(fmt.Sprintf("grant-%d", i), fmt.Sprintf("api-%d", i/clientsPerAPI), []v1alpha1.ScopeName{"read"}, subject))
	}
	owner := &v1alpha1.M2MClient{ObjectMeta: metav1.ObjectMeta{Namespace: apiNamespace, Name: ownerName}}
	index.Upsert(withSecret(owner, pepper, ownerSecret))
	for i := range keyedClients {
		keyed := &v1alpha1.M2MClient{ObjectMeta: metav1.ObjectMeta{Namespace: "keyed", Name: nameOf(i)}}
		keyed.Spec.Authentication = []v1alpha1.AuthenticationMethod{v1alpha1.AuthenticateByKey}
		keyed.Spec.JWKS = &v1alpha1.JSONWebKeySet{Keys: []v1alpha1.JSONWebKey{w.ClientKey}}
		index.Upsert(keyed)
	}
	account := &v1alpha1.M2MClient{ObjectMeta: metav1.ObjectMeta{Namespace: "accounts", Name: "job"}}
	account.Spec.Authentication = []v1alpha1.AuthenticationMethod{v1alpha1.AuthenticateByServiceAccount}
	account.Spec.ServiceAccountName = "job"
	index.Upsert(account)
}

// addSpecial adds an ApiResource with a grant of all its scopes to the first clients, and to those without a secret.
func (w world) addSpecial(index *access.Index, api *v1alpha1.ApiResource) {
	subjects := []v1alpha1.GrantSubject{{Namespace: "accounts", Name: "job"}}
	for i := range min(w.Clients, fewClients) {
		subjects = append(subjects, v1alpha1.GrantSubject{Namespace: v1alpha1.NamespaceName(namespaceOf(i)), Name: v1alpha1.ObjectName(nameOf(i))})
	}
	for i := range keyedClients {
		subjects = append(subjects, v1alpha1.GrantSubject{Namespace: "keyed", Name: v1alpha1.ObjectName(nameOf(i))})
	}
	var scopes []v1alpha1.ScopeName
	for _, declared := range api.Spec.Scopes {
		scopes = append(scopes, declared.Name)
	}
	index.Upsert(api)
	index.Upsert(newGrant(api.Name, api.Name, scopes, subjects...))
}

func newAPI(name, identifier string, scopes ...v1alpha1.ScopeName) *v1alpha1.ApiResource {
	api := &v1alpha1.ApiResource{ObjectMeta: metav1.ObjectMeta{Namespace: apiNamespace, Name: name}}
	api.Spec.Identifier = identifier
	for _, s := range scopes {
		api.Spec.Scopes = append(api.Spec.Scopes, v1alpha1.ApiScope{Name: s})
	}
	return api
}

func newGrant(name, api string, scopes []v1alpha1.ScopeName, subjects ...v1alpha1.GrantSubject) *v1alpha1.ScopeGrant {
	return &v1alpha1.ScopeGrant{
		ObjectMeta: metav1.ObjectMeta{Namespace: apiNamespace, Name: name},
		Spec: v1alpha1.ScopeGrantSpec{
			ApiResourceRef: v1alpha1.LocalApiResourceReference{Name: v1alpha1.ObjectName(api)}, Subjects: subjects, Scopes: scopes,
		},
	}
}

func newClient(i int) *v1alpha1.M2MClient {
	return &v1alpha1.M2MClient{ObjectMeta: metav1.ObjectMeta{
		Namespace: namespaceOf(i), Name: nameOf(i), Labels: map[string]string{"app.kubernetes.io/name": "job", "team": fmt.Sprintf("team-%d", i%100)},
	}}
}

func withSecret(client *v1alpha1.M2MClient, pepper credential.Pepper, secret string) *v1alpha1.M2MClient {
	owner := credential.Owner{Issuer: tokenIssuer, ClientID: client.ClientID()}
	entry := pepper.Entry(owner, credential.Credential{ID: "0123456789abcdef", Secret: secret}, v1alpha1.CredentialCurrent, time.Now(), time.Time{})
	client.Status.Credentials = []v1alpha1.CredentialStatus{entry}
	return client
}

func namespaceOf(i int) string { return fmt.Sprintf("jobs-%d", i%1000) }

func nameOf(i int) string { return fmt.Sprintf("job-%d", i) }

func clientID(i int) string { return namespaceOf(i) + "." + nameOf(i) }

// audienceOf is that of the ApiResource that a client has its own grant at.
func audienceOf(i int) string { return fmt.Sprintf("https://api-%d.example.com", i/clientsPerAPI) }

var ownerSecret = secretOf(-1)

// secretOf is as long as real ones are, and known to issuer and load without their talking about it.
func secretOf(i int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "secret of client %d", i))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
