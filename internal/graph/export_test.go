package graph

// Hash for tests.
var Hash = hash
