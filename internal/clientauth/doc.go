// Package clientauth finds out which client sends a request: it reads the credentials that the request presents, refuses
// requests that present them in more than one way, checks them, and slows down whoever guesses. Whatever is wrong with a
// client (unknown, of another issuer, suspended, its secret wrong or expired), the answer is the same and costs the same.
package clientauth
