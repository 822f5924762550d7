// Package rbac has no code, only tests: who may do what, as a real API server answers it.
package rbac
