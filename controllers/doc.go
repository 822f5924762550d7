// Package controllers writes what the four kinds ask for and says in their status how it went: one file a kind, each
// gather, decide, apply. The decisions themselves are pure and live in internal/access, internal/credential,
// internal/keyring and internal/pki. watches.go says what wakes whom.
package controllers
