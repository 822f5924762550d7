package access

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/clientkey"
)

// defaultIssuer is what the API server fills in for an absent issuerRef. It is filled in here too, for manifests that
// no API server has seen yet.
const defaultIssuer = "default"

// record is what the index keeps of one object. Records are never changed, only replaced, so that what a query hands
// out stays true after the lock is released.
type record interface {
	link(x *Index)
}

// newRecord copies out of the object what the index keeps of it.
func (x *Index) newRecord(object metav1.Object) record {
	switch o := object.(type) {
	case *v1alpha1.TokenIssuer:
		return newIssuer(o, x.installNamespace)
	case *v1alpha1.ApiResource:
		return newAPIResource(o)
	case *v1alpha1.M2MClient:
		return newClient(o)
	default:
		return newGrant(object.(*v1alpha1.ScopeGrant)) // RefOf has refused all else
	}
}

type issuer Issuer

func newIssuer(o *v1alpha1.TokenIssuer, installNamespace string) *issuer {
	i := &issuer{
		Name: o.Name, URL: o.IssuerURL(installNamespace), Algorithms: slices.Clone(o.Algorithms()),
		DefaultLifetime: o.DefaultLifetime(), MaxLifetime: o.MaxLifetime(),
		TokensRevokedBefore: timeOf(o.Spec.RevokeTokensIssuedBefore),
		MaxStaleness:        lifetime(o.Spec.MaxStaleness),
		identifiers:         newIdentifiers(o.Spec.Identifiers),
	}
	i.otherAlgorithms = otherAlgorithms(i.Algorithms)
	for _, p := range o.Spec.TrustedProxies {
		if prefix, err := netip.ParsePrefix(p); err == nil { // nobody is trusted by a mistake
			i.TrustedProxies = append(i.TrustedProxies, prefix.Masked())
		}
	}
	return i
}

// otherAlgorithms are those that an issuer lists after the first, then those that it may have listed before: while a new
// first one has no key that signs yet, the others go on.
func otherAlgorithms(listed []v1alpha1.SigningAlgorithm) []v1alpha1.SigningAlgorithm {
	others := slices.Clone(listed[1:])
	for _, algorithm := range v1alpha1.SigningAlgorithms {
		if !slices.Contains(listed, algorithm) {
			others = append(others, algorithm)
		}
	}
	return others
}

func (i *issuer) link(x *Index) { x.issuers[i.Name] = i }

// serviceAccount is what must be unique among clients that authenticate by one.
type serviceAccount struct {
	issuer  string
	account types.NamespacedName
}

// methods are ways in which a client may prove itself, each a bit.
type methods uint8

// allMethods in the order of their bits.
var allMethods = []v1alpha1.AuthenticationMethod{v1alpha1.AuthenticateBySecret, v1alpha1.AuthenticateByKey, v1alpha1.AuthenticateByServiceAccount}

func (m methods) has(method v1alpha1.AuthenticationMethod) bool {
	i := slices.Index(allMethods, method)
	return i >= 0 && m&(1<<i) != 0
}

// client has memory of its own for what most clients have one of. A collection of garbage costs as much as there are
// pieces of memory, and the more clients there are the rarer is one that is at hand.
type client struct {
	key             types.NamespacedName
	generation      int64
	issuer          string
	labels          labelSet
	suspended       bool
	defaultAudience string
	lifetime        time.Duration // zero: no wish
	created         time.Time
	revokedBefore   time.Time // zero: no token is
	methods         methods
	credentials     []v1alpha1.CredentialStatus
	credential      [1]v1alpha1.CredentialStatus // what credentials are, if there is one
	keys            []clientkey.Key
	invalidKeys     error
	wishes          []wish
	serviceAccount  string // that proves it, in its own namespace; "": none does
}

func newClient(o *v1alpha1.M2MClient) *client {
	c := &client{
		key:             keyOf(o),
		generation:      o.Generation,
		issuer:          issuerName(o.Spec.IssuerRef),
		labels:          newLabelSet(o.Labels),
		suspended:       o.Spec.Suspend,
		defaultAudience: o.Spec.DefaultAudience,
		lifetime:        lifetime(o.Spec.TokenLifetime),
		created:         o.CreationTimestamp.Time,
		revokedBefore:   timeOf(o.Spec.RevokeTokensIssuedBefore),
		wishes:          newWishes(o.Spec.Requests),
	}
	for i, method := range allMethods {
		if o.Authenticates(method) {
			c.methods |= 1 << i
		}
	}
	if o.Authenticates(v1alpha1.AuthenticateByServiceAccount) {
		c.serviceAccount = o.Spec.ServiceAccountName
	}
	if o.Authenticates(v1alpha1.AuthenticateByKey) && o.Spec.JWKS != nil {
		c.keys, c.invalidKeys = clientkey.Parse(*o.Spec.JWKS)
	}
	c.credentials = c.credential[:0]
	for i := range o.Status.Credentials {
		if id := v1alpha1.CredentialID(o.Status.Credentials[i].ID); !slices.Contains(o.Spec.Credential.RevokedIDs, id) {
			known := *o.Status.Credentials[i].DeepCopy()
			known.State, known.PepperID = v1alpha1.CredentialState(shared(string(known.State))), shared(known.PepperID)
			c.credentials = append(c.credentials, known)
		}
	}
	return c
}

func (c *client) link(x *Index) {
	x.clients.put(c.key, c)
	for _, w := range c.wishes {
		x.byWish.add(w.api, c)
	}
	if c.serviceAccount != "" {
		x.accounts.add(c.account(), c)
	}
}

func (c *client) unlink(x *Index) {
	x.clients.remove(c.key)
	for _, w := range c.wishes {
		x.byWish.remove(w.api, c)
	}
	if c.serviceAccount != "" {
		x.accounts.remove(c.account(), c)
	}
}

// account is what must be unique of a client that a ServiceAccount proves.
func (c *client) account() serviceAccount {
	return serviceAccount{c.issuer, types.NamespacedName{Namespace: c.key.Namespace, Name: c.serviceAccount}}
}

func (c *client) birth() birth { return birth{c.created, c.key} }

func keyOf(o metav1.Object) types.NamespacedName {
	return types.NamespacedName{Namespace: shared(o.GetNamespace()), Name: o.GetName()}
}

// apiKey is the key of an ApiResource, which all that name it share.
func apiKey(namespace, name string) types.NamespacedName {
	return types.NamespacedName{Namespace: shared(namespace), Name: shared(name)}
}

func issuerName(ref v1alpha1.TokenIssuerReference) string {
	return shared(cmp.Or(ref.Name, defaultIssuer))
}

// timeOf is zero where there is none.
func timeOf(t *metav1.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.Time
}

func lifetime(d *metav1.Duration) time.Duration {
	if d == nil {
		return 0
	}
	return d.Duration
}
