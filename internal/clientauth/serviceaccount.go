package clientauth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
)

// maxServiceAccountTokenLife is how long a token of a ServiceAccount may be good for. Its ServiceAccount may be deleted
// meanwhile, and nobody is asked: this bounds how long that goes unnoticed.
const maxServiceAccountTokenLife = time.Hour

// serviceAccountAlgorithms are all that kube-apiserver signs with.
var serviceAccountAlgorithms = []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.ES384, jose.ES512}

// Cluster is what verifies tokens of Kubernetes ServiceAccounts.
type Cluster struct {
	// Issuer is the `iss` of its tokens.
	Issuer string
	// Keys that it signs with.
	Keys jose.JSONWebKeySet
	// Refetch is called when a token names a key that is not among Keys, as one does that was signed by a key made a
	// moment ago. It must not wait; nil: nobody wants to know.
	Refetch func()
}

// Workload is what a verified token says of who was given it, "" where it says nothing.
type Workload struct {
	Namespace, ServiceAccount, ServiceAccountUID string
	Pod, PodUID, Node                            string
}

// serviceAccountClaims are those of a token that kube-apiserver makes.
type serviceAccountClaims struct {
	claims
	Kubernetes struct {
		Namespace      string          `json:"namespace"`
		ServiceAccount objectReference `json:"serviceaccount"`
		Pod            objectReference `json:"pod"`
		Node           objectReference `json:"node"`
	} `json:"kubernetes.io"`
}

type objectReference struct {
	Name string `json:"name"`
	UID  string `json:"uid"`
}

// checkServiceAccountToken takes a projected token of the ServiceAccount that the client names. This is a profile of our
// own of the JWT bearer assertion (RFC 7523 section 2.2): its issuer and subject are the cluster's, and the client is the
// one that names the subject. A pod sends the same token as often as it likes until it expires, so that its jti is not
// asked for.
func (a *Authenticator) checkServiceAccountToken(c Credentials, trust Trust, now time.Time) (access.Client, Attempt, *Failure) {
	said, _ := a.index.Client(c.clientID)
	attempt := Attempt{ClientID: said.ID, Method: MethodServiceAccount}
	refuse := func(reason string) (access.Client, Attempt, *Failure) {
		return access.Client{}, attempt, errBadCredentials.because(reason)
	}
	payload, keyID, reason := trust.Cluster.verify(c.assertion)
	if reason != "" {
		return refuse(reason)
	}
	var claims serviceAccountClaims
	if err := json.Unmarshal(payload, &claims); err != nil {
		return refuse(ReasonMalformed)
	}
	if reason := claims.unfit(trust, now); reason != "" {
		return refuse(reason)
	}
	attempt.Workload = claims.workload()
	client, known := a.index.ClientByServiceAccount(a.issuer, claims.Kubernetes.Namespace, claims.Kubernetes.ServiceAccount.Name)
	attempt.ClientID = client.ID
	if reason := a.unfit(client, known, v1alpha1.AuthenticateByServiceAccount); reason != "" {
		return refuse(reason)
	}
	if c.clientID != "" && c.clientID != client.ID { // RFC 7521 section 4.2
		return access.Client{}, attempt, errOtherClientID
	}
	attempt.CredentialID = keyID
	return client, attempt, nil
}

// verify returns what the cluster has signed, and the kid of the key, or else the reason why it is not taken.
func (c *Cluster) verify(token string) (payload []byte, keyID, reason string) {
	jws, err := jose.ParseSignedCompact(token, serviceAccountAlgorithms)
	if err != nil {
		return nil, "", ReasonWrongAlgorithm
	}
	header := jws.Signatures[0].Protected
	if typ, present := header.ExtraHeaders[jose.HeaderType]; present {
		if name, _ := typ.(string); !strings.EqualFold(name, "JWT") {
			return nil, "", ReasonWrongType // it was made for another purpose (RFC 8725 section 3.11)
		}
	}
	keys := c.Keys.Key(header.KeyID)
	if header.KeyID == "" || len(keys) == 0 {
		if header.KeyID != "" && c.Refetch != nil {
			c.Refetch()
		}
		return nil, "", ReasonUnknownKey
	}
	if !signs(keys[0], header.Algorithm) {
		return nil, "", ReasonWrongAlgorithm
	}
	if payload, err = jws.Verify(keys[0].Key); err != nil {
		return nil, "", ReasonWrongSignature
	}
	return payload, header.KeyID, ""
}

// signs reports whether the algorithm is the one that kube-apiserver uses the key with.
func signs(key jose.JSONWebKey, algorithm string) bool {
	if key.Algorithm != "" && key.Algorithm != algorithm {
		return false
	}
	switch public := key.Key.(type) {
	case *rsa.PublicKey:
		return algorithm == string(jose.RS256)
	case *ecdsa.PublicKey:
		return algorithm == map[elliptic.Curve]string{
			elliptic.P256(): string(jose.ES256), elliptic.P384(): string(jose.ES384), elliptic.P521(): string(jose.ES512),
		}[public.Curve]
	}
	return false
}

// unfit is the reason why nobody may authenticate with the claims at this issuer and time, "" if somebody may. Tokens of
// the kind that used to lie in Secrets have neither audience nor expiry.
func (c serviceAccountClaims) unfit(trust Trust, now time.Time) string {
	namespace, name := c.Kubernetes.Namespace, c.Kubernetes.ServiceAccount.Name
	switch {
	case c.Issuer != trust.Cluster.Issuer, c.Expiry == nil, c.IssuedAt == nil, c.NotBefore == nil, namespace == "", name == "":
		return ReasonMalformed
	// Nobody else: a token that is good at the API server too must not be handed around.
	case !c.Audience.isOnly(trust.IssuerURL):
		return ReasonWrongAudience
	case !now.Before(c.Expiry.time()):
		return ReasonExpired
	case c.IssuedAt.time().After(now.Add(leeway)), c.NotBefore.time().After(now.Add(leeway)):
		return ReasonNotYetValid
	case c.Expiry.time().Sub(c.IssuedAt.time()) > maxServiceAccountTokenLife:
		return ReasonTooLongLived
	case c.Subject != "system:serviceaccount:"+namespace+":"+name:
		return ReasonWrongSubject
	}
	return ""
}

func (c serviceAccountClaims) workload() *Workload {
	k := c.Kubernetes
	return &Workload{
		Namespace: k.Namespace, ServiceAccount: k.ServiceAccount.Name, ServiceAccountUID: k.ServiceAccount.UID,
		Pod: k.Pod.Name, PodUID: k.Pod.UID, Node: k.Node.Name,
	}
}
