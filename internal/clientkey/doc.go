// Package clientkey turns the public keys of an M2MClient's spec into keys that verify its assertions, and refuses weak
// ones. It does no I/O.
package clientkey
