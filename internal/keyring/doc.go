// Package keyring holds the signing keys of a TokenIssuer: one ring with an active and an announced key for every
// algorithm, the JWKS that publishes them, and the rules by which a ring changes.
//
// Private keys and the ring are stored apart. The ring alone decides what is published and which key signs, so losing
// a private key takes nothing out of the JWKS.
package keyring
