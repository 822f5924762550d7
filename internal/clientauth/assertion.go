package clientauth

import (
	"time"

	"github.com/m2m-operator/m2m-operator/internal/access"
)

// assertionType is the only client_assertion_type (RFC 7523 section 2.2).
const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// checkAssertion looks for the client whose assertion it is: one that the client signed itself, or a token of its
// ServiceAccount, which the cluster signed. Which of the two, the unverified issuer of the assertion tells.
func (a *Authenticator) checkAssertion(c Credentials, trust Trust, now time.Time) (access.Client, Attempt, *Failure) {
	if trust.Cluster != nil && unverifiedIssuer(c.assertion) == trust.Cluster.Issuer {
		return a.checkServiceAccountToken(c, trust, now)
	}
	return a.checkOwnAssertion(c, trust, now)
}

func unverifiedIssuer(assertion string) string { return "" }
