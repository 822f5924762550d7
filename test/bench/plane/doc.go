// Package plane measures the product against a real API server that holds many objects: how soon an issuer is ready, what
// it keeps in memory, how soon it knows of a change, and what the manager writes for each client and how fast.
//
// What is measured are m2m-issuer and m2m-manager themselves, built for it, as processes with their own ServiceAccounts.
package plane
