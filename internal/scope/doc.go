// Package scope is the grammar of scopes: when one covers another, in each of the two syntaxes that an ApiResource may
// have. It does no I/O.
package scope
