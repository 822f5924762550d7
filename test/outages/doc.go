// Package outages tests what token issuers do while the API server is away, on a real one that is killed, revived, and
// restored from a backup; the issuers are processes, which are killed too.
package outages
