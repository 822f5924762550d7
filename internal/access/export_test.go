package access

import "k8s.io/apimachinery/pkg/types"

// Remains counts what the index still holds, so that tests can see that it forgets.
func (x *Index) Remains() int {
	return len(x.issuers) + len(x.apis) + len(x.clients) + len(x.grants) + len(x.terminating) + len(x.holders) + len(x.accounts) +
		len(x.byAPI) + len(x.byAPIClient) + len(x.byAPINamespace) + len(x.byClient) + len(x.byNamespace) + len(x.byWish) + len(x.open)
}

// Collide makes all hashes of clients the same. The index must be empty.
func (x *Index) Collide() { x.hash = func(apiClient) uint64 { return 0 } }

// Entries counts what the lookups of grants hold: what it costs to take a grant in, and to take it away.
func (x *Index) Entries() int {
	return entries(x.byAPI) + entries(x.byAPIClient) + entries(x.byAPINamespace) + entries(x.byClient) + entries(x.byNamespace)
}

func entries[K, R comparable](l lookup[K, R]) (n int) {
	for _, m := range l {
		n += m.len()
	}
	return n
}

// Considered counts the grants that a decision about the client and the API looks at.
func (x *Index) Considered(api, client types.NamespacedName) (n int) {
	n = x.byAPIClient[x.hash(apiClient{api, client})].len()
	return n + x.byAPINamespace[apiNamespace{api, client.Namespace}].len()
}

// Outlooks counts what was worked out.
func (f *Forecast) Outlooks() int { return len(f.known) }
