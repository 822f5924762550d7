// Package manager tests the manager as a whole on a real API server: one that fails it at random, one that never answers,
// one that refuses what it writes, and one that has nothing for it to do.
package manager
