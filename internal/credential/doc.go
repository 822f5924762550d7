// Package credential makes client secrets, the verifiers by which issuers check them, and the plan by which a secret is
// created, healed and replaced.
//
// A secret has 256 random bits, so its verifier needs no slow hash: an HMAC under a pepper that only the install
// namespace holds. A verifier is sealed together with the issuer, the client, the credential's id and its expiry.
// Pasted onto another client, or with a longer life, it verifies nothing.
package credential
