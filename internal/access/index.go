package access

import (
	"hash/maphash"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/clientkey"
)

// Index holds what decisions need of all objects, and is safe for concurrent use.
//
// Every entry of its lookup tables is made from one object alone: link puts it there, unlink takes exactly that away.
// Whatever joins several objects (who holds an identifier, whom a selector matches, whether a reference resolves) is
// worked out when it is asked for. This is why the order in which objects arrive cannot matter.
type Index struct {
	installNamespace string

	mu          sync.RWMutex
	issuers     map[string]*issuer
	apis        store[*apiResource]
	clients     store[*client]
	grants      store[*grant]
	terminating map[string]struct{}

	// Who claims what one alone can have: an identifier, and a ServiceAccount.
	holders  claims[audience, *apiResource]
	accounts claims[serviceAccount, *client]

	// The ways from what a grant names to the grant. A decision needs the two with the API in their key; a client's
	// verdict asks for all APIs at once. Those of clients have hashes as keys, since names would be a good part of what is
	// kept of a grant: what is found there is not believed before the grant says so itself.
	byAPI          lookup[types.NamespacedName, *grant]
	byAPIClient    lookup[uint64, *grant]
	byAPINamespace lookup[apiNamespace, *grant]
	byClient       lookup[uint64, *grant]
	byNamespace    lookup[string, *grant]
	hash           func(apiClient) uint64

	// open lists the ApiResources that give every scope to any client, by their issuer.
	open lookup[string, *apiResource]

	// byWish is the way from an ApiResource to the clients that wish for its scopes.
	byWish lookup[types.NamespacedName, *client]
}

// NewIndex makes an empty index. The install namespace is part of the URL of TokenIssuers that name none.
func NewIndex(installNamespace string) *Index {
	seed := maphash.MakeSeed()
	return &Index{
		hash:             func(key apiClient) uint64 { return maphash.Comparable(seed, key) },
		installNamespace: installNamespace,
		issuers:          map[string]*issuer{},
		apis:             store[*apiResource]{},
		clients:          store[*client]{},
		grants:           store[*grant]{},
		terminating:      map[string]struct{}{},
		holders:          claims[audience, *apiResource]{},
		accounts:         claims[serviceAccount, *client]{},
		byAPI:            lookup[types.NamespacedName, *grant]{},
		byAPIClient:      lookup[uint64, *grant]{},
		byAPINamespace:   lookup[apiNamespace, *grant]{},
		byClient:         lookup[uint64, *grant]{},
		byNamespace:      lookup[string, *grant]{},
		open:             lookup[string, *apiResource]{},
		byWish:           lookup[types.NamespacedName, *client]{},
	}
}

// Upsert takes in the object as it is now: a *v1alpha1.TokenIssuer, ApiResource, M2MClient or ScopeGrant. One with a
// deletionTimestamp counts as gone. The object is not changed, and may be changed afterwards.
func (x *Index) Upsert(object metav1.Object) {
	ref := RefOf(object)
	if object.GetDeletionTimestamp() != nil {
		x.Delete(ref)
		return
	}
	fresh := x.newRecord(object) // compiles selectors: not under the lock
	x.mu.Lock()
	defer x.mu.Unlock()
	x.remove(ref)
	fresh.link(x)
}

// Delete forgets the object; it need not be known.
func (x *Index) Delete(ref Ref) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.remove(ref)
}

// SetNamespaceTerminating says whether the namespace is being deleted, and returns whether that is news. While it is, its
// objects count as gone. Call it with false when the namespace is gone altogether, so that its name is forgotten.
func (x *Index) SetNamespaceTerminating(namespace string, terminating bool) (changed bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	changed = x.gone(namespace) != terminating
	if terminating {
		x.terminating[namespace] = struct{}{}
	} else {
		delete(x.terminating, namespace)
	}
	return changed
}

// Holds reports whether the index knows of any object in the namespace.
func (x *Index) Holds(namespace string) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.apis[namespace])+len(x.clients[namespace])+len(x.grants[namespace]) > 0
}

// Client is what authenticating a client needs. It is to be read only: slices are shared with the index.
type Client struct {
	Namespace, Name string
	// ID is the client_id.
	ID string
	// Issuer is the name of the client's TokenIssuer.
	Issuer          string
	Suspended       bool
	DefaultAudience string
	Created         time.Time
	// TokensRevokedBefore is the instant before which the client's tokens were issued in vain; zero: none were.
	TokensRevokedBefore time.Time
	// Credentials are what is known of the client's secrets, but for those that its spec revokes.
	Credentials []v1alpha1.CredentialStatus
	// Keys that verify the client's own assertions; none if one of the spec's is unfit.
	Keys []clientkey.Key

	methods methods
}

// Authenticates reports whether the client may prove itself in this way.
func (c Client) Authenticates(method v1alpha1.AuthenticationMethod) bool {
	return c.methods.has(method)
}

// Client finds a client by its client_id, if it is not gone.
func (x *Index) Client(clientID string) (Client, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	c := x.clientByID(clientID)
	if c == nil {
		return Client{}, false
	}
	return c.view(clientID), true
}

// ClientByServiceAccount finds the client of a TokenIssuer that a ServiceAccount proves, if it is not gone: the one of the
// ServiceAccount's namespace that names it, and the oldest if several do. Names are compared character by character.
func (x *Index) ClientByServiceAccount(issuer, namespace, name string) (Client, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	c := x.accounts.holder(serviceAccount{issuer, types.NamespacedName{Namespace: namespace, Name: name}}, x)
	if c == nil {
		return Client{}, false
	}
	return c.view(c.id()), true
}

// id is the client_id.
func (c *client) id() string { return c.key.Namespace + "." + c.key.Name }

// view is what authentication sees of the record, of which the caller knows the client_id.
func (c *client) view(id string) Client {
	return Client{
		Namespace: c.key.Namespace, Name: c.key.Name, ID: id, Issuer: c.issuer,
		Suspended: c.suspended, DefaultAudience: c.defaultAudience, Created: c.created,
		TokensRevokedBefore: c.revokedBefore, Credentials: c.credentials, Keys: c.keys, methods: c.methods,
	}
}

// Issuer is what issuing needs of a TokenIssuer. It is to be read only: Algorithms are shared with the index.
type Issuer struct {
	Name, URL                    string
	Algorithms                   []v1alpha1.SigningAlgorithm // the default first, never empty
	DefaultLifetime, MaxLifetime time.Duration
	// TokensRevokedBefore is the instant before which all tokens were issued in vain; zero: none were.
	TokensRevokedBefore time.Time
	// MaxStaleness is how old knowledge may be that tokens are issued by; zero: any age.
	MaxStaleness time.Duration
	// TrustedProxies are the networks whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix

	identifiers     identifiers
	otherAlgorithms []v1alpha1.SigningAlgorithm
}

// Issuer finds a TokenIssuer by its name. It is to be read only, and an empty one if there is none.
func (x *Index) Issuer(name string) (*Issuer, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if i := x.issuers[name]; i != nil {
		return (*Issuer)(i), true
	}
	return &Issuer{}, false
}

// HasApiResource reports whether there is an ApiResource of the name that is not gone.
func (x *Index) HasApiResource(key types.NamespacedName) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return live(x, x.apis, key) != nil
}

// Declares reports whether the ApiResource, if it is not gone, knows the scope.
func (x *Index) Declares(key types.NamespacedName, scope string) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	a := live(x, x.apis, key)
	return a != nil && a.declares(a.read(scope))
}

// Generation is that of the namespaced object as the index knows it, zero if it does not. A verdict asked for after it
// is at least as new, which tells a controller whether the index has seen the object that it is about to report on.
func (x *Index) Generation(ref Ref) int64 {
	x.mu.RLock()
	defer x.mu.RUnlock()
	switch ref.Kind {
	case KindApiResource:
		if a := live(x, x.apis, ref.key()); a != nil {
			return a.generation
		}
	case KindM2MClient:
		if c := live(x, x.clients, ref.key()); c != nil {
			return c.generation
		}
	case KindScopeGrant:
		if g := live(x, x.grants, ref.key()); g != nil {
			return g.generation
		}
	}
	return 0
}

// remove forgets what is kept of the object. The caller holds the lock.
func (x *Index) remove(ref Ref) {
	switch ref.Kind {
	case KindTokenIssuer:
		delete(x.issuers, ref.Name)
	case KindApiResource:
		if a := x.apis.get(ref.key()); a != nil {
			a.unlink(x)
		}
	case KindM2MClient:
		if c := x.clients.get(ref.key()); c != nil {
			c.unlink(x)
		}
	case KindScopeGrant:
		if g := x.grants.get(ref.key()); g != nil {
			g.unlink(x)
		}
	}
}

// gone says whether the namespace, and so everything in it, is being deleted.
func (x *Index) gone(namespace string) bool {
	_, terminating := x.terminating[namespace]
	return terminating
}

// live finds a record that is not gone.
func live[T any](x *Index, records store[*T], key types.NamespacedName) *T {
	if x.gone(key.Namespace) {
		return nil
	}
	return records.get(key)
}

// clientByID finds a client that is not gone. Namespaces hold no dot, so the first dot ends the namespace.
func (x *Index) clientByID(clientID string) *client {
	namespace, name, _ := strings.Cut(clientID, ".")
	return live(x, x.clients, types.NamespacedName{Namespace: namespace, Name: name})
}

// store keeps records by namespace and name.
type store[T any] map[string]map[string]T

func (s store[T]) get(key types.NamespacedName) T { return s[key.Namespace][key.Name] }

func (s store[T]) put(key types.NamespacedName, record T) {
	if s[key.Namespace] == nil {
		s[key.Namespace] = map[string]T{}
	}
	s[key.Namespace][key.Name] = record
}

func (s store[T]) remove(key types.NamespacedName) {
	delete(s[key.Namespace], key.Name)
	if len(s[key.Namespace]) == 0 {
		delete(s, key.Namespace)
	}
}

// apiClient and apiNamespace are keys of lookups. An apiClient without an API is of all.
type (
	apiClient    struct{ api, client types.NamespacedName }
	apiNamespace struct {
		api       types.NamespacedName
		namespace string
	}
)

func sortGrants(grants []*grant) {
	slices.SortFunc(grants, func(a, b *grant) int { return compareKeys(a.key, b.key) })
}
