// Package keyring holds the signing keys of a TokenIssuer: one ring with an active and an announced key for every
// algorithm, the JWKS that publishes them, and the rules by which a ring changes.
//
// Private keys and the ring are stored apart. The ring alone decides what is published and which key signs, so losing
// a private key takes nothing out of the JWKS.
//
// Step is the only way in which a ring changes. Two things hold at every step: what verifies a token is published for as
// long as the token lives, and what signs has been published for as long as a verifier may keep a JWKS in which it is
// missing. Both rest on what was seen at the endpoints that serve, and on a clock that does not jump:
//
//	Announced ──every endpoint serves it, for MaxAge+Skew──► Active ──its turn ends──► Retired
//	Retired ──every endpoint signs by others, for the longest life of its tokens, and MaxAge+Skew──► removed
//
// What is assumed: an endpoint never goes back to an older ring, and one that becomes ready knows a ring that is not
// older than Skew/2. How long a ready endpoint lags behind does not matter.
package keyring
