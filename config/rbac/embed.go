// Package rbac holds the rights of the operator's processes and of tenants, as they are installed.
package rbac

import "embed"

// Manifests are the files.
//
//go:embed manager.yaml issuer.yaml tenants.yaml
var Manifests embed.FS
