// Package soak has no code, only tests (build tag soak): what takes minutes. The API server is away for three of them,
// processes stand still for longer than others believe in them, everything rotates at once, and an issuer answers as many
// requests as come in an hour; each under load, with issuers and managers that are processes of their own, on a real
// kube-apiserver. `make soak` runs them, in some six minutes, and prints what they measured.
//
// Keys and the JWKS of verifiers have their clock here: it runs twelve times as fast, for the manager, which waits until
// nobody keeps a JWKS without the next key, and for verifiers, which keep one for its whole max-age.
package soak
