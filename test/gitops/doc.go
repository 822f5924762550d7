// Package gitops tests what tools that apply manifests from git see of the product: the health of every kind in every
// state, and that nobody but them writes what they apply.
package gitops
