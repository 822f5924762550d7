package issuer

import (
	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/clientauth"
)

// record is what becomes known of a request on its way, for the audit log and the metrics.
type record struct {
	// attempt to authenticate.
	attempt clientauth.Attempt
	// reason why the request is refused, for operators; "" if it is not.
	reason string
	// decision on the scopes, if it came to one.
	decision access.Decision
	// tokenID and keyID of the token that was issued, or introspected.
	tokenID, keyID string
}
