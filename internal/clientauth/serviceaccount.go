package clientauth

import (
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/m2m-operator/m2m-operator/internal/access"
)

// Cluster is what verifies tokens of Kubernetes ServiceAccounts.
type Cluster struct {
	// Issuer is the `iss` of its tokens.
	Issuer string
	// Keys that it signs with.
	Keys jose.JSONWebKeySet
}

// checkServiceAccountToken takes a projected token of the ServiceAccount that the client names.
func (a *Authenticator) checkServiceAccountToken(c Credentials, trust Trust, now time.Time) (access.Client, Attempt, *Failure) {
	return access.Client{}, Attempt{Method: MethodServiceAccount}, errUnsupported
}
