// Package cli tests kubectl m2m on a real API server, manager and issuer, with the samples of this repository.
package cli
