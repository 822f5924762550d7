// Package version tells which build this is.
package version

// Version is stamped by the linker (-X); "dev" in builds that nobody stamped.
var Version = "dev"
