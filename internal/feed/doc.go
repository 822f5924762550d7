// Package feed brings what the Kubernetes API says into memory: the four kinds and namespaces into the access index,
// and, for a token issuer, its key ring, private keys, pepper and certificate into the server's state, together with the
// keys that the cluster signs its ServiceAccounts' tokens with.
//
// Nothing here asks the API server for anything when a token is requested.
package feed
