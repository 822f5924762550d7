package access

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
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
	}
	for _, p := range o.Spec.TrustedProxies {
		if prefix, err := netip.ParsePrefix(p); err == nil { // nobody is trusted by a mistake
			i.TrustedProxies = append(i.TrustedProxies, prefix.Masked())
		}
	}
	return i
}

func (i *issuer) link(x *Index) { x.issuers[i.Name] = i }

// audience is what must be unique among ApiResources.
type audience struct{ issuer, identifier string }

type apiResource struct {
	key        types.NamespacedName
	generation int64
	audience   audience
	created    time.Time
	scopes     map[string]struct{}
	lifetime   time.Duration // zero: the issuer's
	algorithm  v1alpha1.SigningAlgorithm
}

func newAPIResource(o *v1alpha1.ApiResource) *apiResource {
	a := &apiResource{
		key:        keyOf(o),
		generation: o.Generation,
		audience:   audience{issuer: issuerName(o.Spec.IssuerRef), identifier: o.Spec.Identifier},
		created:    o.CreationTimestamp.Time,
		scopes:     make(map[string]struct{}, len(o.Spec.Scopes)),
		lifetime:   lifetime(o.Spec.Token.Lifetime),
		algorithm:  o.Spec.Token.SigningAlgorithm,
	}
	for _, s := range o.Spec.Scopes {
		a.scopes[string(s.Name)] = struct{}{}
	}
	return a
}

func (a *apiResource) link(x *Index) {
	x.apis.put(a.key, a)
	rivals := x.holders[a.audience]
	at, _ := slices.BinarySearchFunc(rivals, a, compareAge)
	x.holders[a.audience] = slices.Insert(rivals, at, a)
}

func (a *apiResource) unlink(x *Index) {
	x.apis.remove(a.key)
	rivals := x.holders[a.audience]
	at, _ := slices.BinarySearchFunc(rivals, a, compareAge)
	if rivals = slices.Delete(rivals, at, at+1); len(rivals) == 0 {
		delete(x.holders, a.audience)
	} else {
		x.holders[a.audience] = rivals
	}
}

func (a *apiResource) declares(scope string) bool {
	_, ok := a.scopes[scope]
	return ok
}

// compareAge orders the older before the younger. What was never created, being a manifest for preview, is younger than
// all that was.
func compareAge(a, b *apiResource) int {
	if a.created.IsZero() != b.created.IsZero() {
		if a.created.IsZero() {
			return 1
		}
		return -1
	}
	return cmp.Or(a.created.Compare(b.created), compareKeys(a.key, b.key))
}

type client struct {
	key             types.NamespacedName
	generation      int64
	issuer          string
	labels          labels.Set
	suspended       bool
	defaultAudience string
	lifetime        time.Duration // zero: no wish
	created         time.Time
	revokedBefore   time.Time // zero: no token is
	methods         []v1alpha1.AuthenticationMethod
	credentials     []v1alpha1.CredentialStatus
	keys            []clientkey.Key
	invalidKeys     error
	serviceAccount  string // "": none
}

func newClient(o *v1alpha1.M2MClient) *client {
	c := &client{
		key:             keyOf(o),
		generation:      o.Generation,
		issuer:          issuerName(o.Spec.IssuerRef),
		labels:          maps.Clone(o.Labels),
		suspended:       o.Spec.Suspend,
		defaultAudience: o.Spec.DefaultAudience,
		lifetime:        lifetime(o.Spec.TokenLifetime),
		created:         o.CreationTimestamp.Time,
		revokedBefore:   timeOf(o.Spec.RevokeTokensIssuedBefore),
	}
	for _, method := range []v1alpha1.AuthenticationMethod{v1alpha1.AuthenticateBySecret, v1alpha1.AuthenticateByKey, v1alpha1.AuthenticateByServiceAccount} {
		if o.Authenticates(method) {
			c.methods = append(c.methods, method)
		}
	}
	if o.Authenticates(v1alpha1.AuthenticateByServiceAccount) {
		c.serviceAccount = o.Spec.ServiceAccountName
	}
	if o.Authenticates(v1alpha1.AuthenticateByKey) && o.Spec.JWKS != nil {
		c.keys, c.invalidKeys = clientkey.Parse(*o.Spec.JWKS)
	}
	for i := range o.Status.Credentials {
		c.credentials = append(c.credentials, *o.Status.Credentials[i].DeepCopy())
	}
	return c
}

func (c *client) link(x *Index)   { x.clients.put(c.key, c) }
func (c *client) unlink(x *Index) { x.clients.remove(c.key) }

func keyOf(o metav1.Object) types.NamespacedName {
	return types.NamespacedName{Namespace: o.GetNamespace(), Name: o.GetName()}
}

func issuerName(ref v1alpha1.TokenIssuerReference) string { return cmp.Or(ref.Name, defaultIssuer) }

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
