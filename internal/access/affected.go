package access

import (
	"maps"
	"slices"
)

// Affected lists the objects whose verdicts the object may influence as the index stands now, itself among them, sorted.
// Call it before and after a change and take both together: a grant that moves from one client to another concerns
// both.
func (x *Index) Affected(ref Ref) []Ref {
	x.mu.RLock()
	defer x.mu.RUnlock()
	found := refs{}
	x.affected(ref, found)
	return found.sorted()
}

// AffectedByNamespace is Affected of everything in the namespace, for when it starts or ceases to be terminating.
func (x *Index) AffectedByNamespace(namespace string) []Ref {
	x.mu.RLock()
	defer x.mu.RUnlock()
	found := refs{}
	for name := range x.apis[namespace] {
		x.affected(Ref{KindApiResource, namespace, name}, found)
	}
	for name := range x.clients[namespace] {
		x.affected(Ref{KindM2MClient, namespace, name}, found)
	}
	for name := range x.grants[namespace] {
		x.affected(Ref{KindScopeGrant, namespace, name}, found)
	}
	return found.sorted()
}

// affected finds what refers to the object by name also when the object itself is not there (yet, or any more).
func (x *Index) affected(ref Ref, found refs) {
	found.add(ref)
	switch ref.Kind {
	case KindTokenIssuer:
		x.affectedByIssuer(ref.Name, found)
	case KindApiResource:
		x.affectedByAPI(ref, found)
	case KindM2MClient:
		for g := range x.byClient.of(x.hash(apiClient{client: ref.key()})) {
			if g.named(ref.key()) {
				found.add(g.ref())
			}
		}
		if c := x.clients.get(ref.key()); c != nil {
			for _, w := range c.wishes {
				found.add(Ref{KindApiResource, w.api.Namespace, w.api.Name})
			}
			for _, rival := range x.accounts[c.account()] {
				found.add(rival.ref())
			}
			for g := range x.byNamespace.of(c.key.Namespace) {
				if g.selects(c) {
					found.add(g.ref())
				}
			}
		}
	case KindScopeGrant:
		if g := x.grants.get(ref.key()); g != nil {
			if a := x.apis.get(g.api); a != nil {
				found.add(a.ref())
			}
			x.clientsOf(g, func(c *client) { found.add(c.ref()) })
		}
	}
}

// affectedByAPI finds the ApiResource's grants and those whom they or wishes join to it, and, since whoever holds an identifier keeps others
// from it, the same of all its rivals.
func (x *Index) affectedByAPI(ref Ref, found refs) {
	x.grantsAndClients(ref, found)
	a := x.apis.get(ref.key())
	if a == nil {
		return
	}
	open := a.anyClient
	for _, rival := range x.holders[a.audience] {
		if rival != a {
			found.add(rival.ref())
			x.grantsAndClients(rival.ref(), found)
			open = open || rival.anyClient
		}
	}
	if open {
		x.clientsOfIssuer(a.audience.issuer, found)
	}
}

// clientsOfIssuer looks at every client: APIs that are open to all of them change rarely.
func (x *Index) clientsOfIssuer(name string, found refs) {
	for _, inNamespace := range x.clients {
		for _, c := range inNamespace {
			if c.issuer == name {
				found.add(c.ref())
			}
		}
	}
}

// grantsAndClients finds the grants of an ApiResource, the clients that they match, and those that wish for its scopes.
func (x *Index) grantsAndClients(api Ref, found refs) {
	for g := range x.byAPI.of(api.key()) {
		found.add(g.ref())
		x.clientsOf(g, func(c *client) { found.add(c.ref()) })
	}
	for c := range x.byWish.of(api.key()) {
		found.add(c.ref())
	}
}

// affectedByIssuer looks at everything: issuers change so rarely that an index of their objects would not pay.
func (x *Index) affectedByIssuer(name string, found refs) {
	for _, inNamespace := range x.apis {
		for _, a := range inNamespace {
			if a.audience.issuer != name {
				continue
			}
			found.add(a.ref())
			for g := range x.byAPI.of(a.key) {
				found.add(g.ref())
			}
		}
	}
	x.clientsOfIssuer(name, found)
}

func (a *apiResource) ref() Ref { return Ref{KindApiResource, a.key.Namespace, a.key.Name} }
func (c *client) ref() Ref      { return Ref{KindM2MClient, c.key.Namespace, c.key.Name} }
func (g *grant) ref() Ref       { return Ref{KindScopeGrant, g.key.Namespace, g.key.Name} }

type refs map[Ref]struct{}

func (r refs) add(ref Ref) { r[ref] = struct{}{} }

func (r refs) sorted() []Ref { return slices.SortedFunc(maps.Keys(r), compareRefs) }
