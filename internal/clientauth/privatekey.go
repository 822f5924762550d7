package clientauth

import (
	"time"

	"github.com/m2m-operator/m2m-operator/internal/access"
)

// checkOwnAssertion takes an assertion that the client signed itself (RFC 7523, private_key_jwt).
func (a *Authenticator) checkOwnAssertion(c Credentials, trust Trust, now time.Time) (access.Client, Attempt, *Failure) {
	return access.Client{}, Attempt{Method: MethodPrivateKey}, errUnsupported
}
