// Package crd holds the definitions of the four kinds, as they are installed.
package crd

import "embed"

// Bases are the generated definitions, a file each, below bases/.
//
//go:embed bases/*.yaml
var Bases embed.FS
