// Package token makes access tokens: JWTs as RFC 9068 profiles them, signed with one key, for one audience. It knows
// nothing of who may have what; that has been decided before it is called.
package token
