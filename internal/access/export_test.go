package access

// Remains counts what the index still holds, so that tests can see that it forgets.
func (x *Index) Remains() int {
	return len(x.issuers) + len(x.apis) + len(x.clients) + len(x.grants) + len(x.terminating) + len(x.holders) + len(x.accounts) +
		len(x.byAPI) + len(x.byAPIClient) + len(x.byAPINamespace) + len(x.byClient) + len(x.byNamespace) + len(x.byWish) + len(x.open)
}
