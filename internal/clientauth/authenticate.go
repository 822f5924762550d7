package clientauth

import (
	"cmp"
	"net/netip"
	"time"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/credential"
)

// Authenticator checks credentials against the clients of one TokenIssuer.
type Authenticator struct {
	issuer   string
	index    *access.Index
	throttle *throttle
	spent    *spentAssertions
}

// New makes an authenticator for the clients of a TokenIssuer, by its name.
func New(issuer string, index *access.Index) *Authenticator {
	return &Authenticator{issuer: issuer, index: index, throttle: newThrottle(maxGuessers), spent: newSpentAssertions()}
}

// Trust is what credentials are checked with.
type Trust struct {
	// IssuerURL is the only audience that assertions may have.
	IssuerURL string
	// Pepper that client secrets were made with.
	Pepper credential.Pepper
	// Cluster whose ServiceAccount tokens are taken; nil while it is not known.
	Cluster *Cluster
}

// Attempt is what the audit log says of an authentication. Nothing in it is taken from a request, but for names of
// objects that exist.
type Attempt struct {
	// ClientID of the client that is proven or, where that failed, that the request claims to be; "" if there is none.
	ClientID string
	Method   Method
	// CredentialID is the id of the secret, or the kid of the key, that proved it.
	CredentialID string
	// Workload that a verified token of a ServiceAccount was made for; nil for everything else.
	Workload *Workload
	// claimed is whom a failed assertion says that it is of, in its own words: the throttle counts by it where the request
	// names no client_id, and nobody else may see it.
	claimed string
}

// maxSecret bounds what a MAC is computed of. A longer secret is nobody's, and with one that fills a request the time that
// a client's every credential takes would show.
const maxSecret = 1 << 10

// Authenticate returns the client that the credentials prove. The source is where the request comes from.
//
// The secret is checked first, so that whoever guesses beside a client never locks it out.
func (a *Authenticator) Authenticate(c Credentials, trust Trust, source netip.Addr, now time.Time) (access.Client, Attempt, *Failure) {
	check := a.checkSecret
	if c.assertion != "" {
		check = a.checkAssertion
	}
	client, attempt, failure := check(c, trust, now)
	if failure == nil {
		return client, attempt, nil
	}
	if failure.Kind == InvalidClient && !a.throttle.allow(cmp.Or(c.clientID, attempt.claimed), source, now) {
		failure = errTooManyFailures.because(failure.Reason)
	}
	return access.Client{}, attempt, failure
}

// checkSecret looks for the client whose secret it is.
func (a *Authenticator) checkSecret(c Credentials, trust Trust, now time.Time) (access.Client, Attempt, *Failure) {
	client, known := a.index.Client(c.clientID)
	owner := credential.Owner{Issuer: a.issuer, ClientID: c.clientID}
	if len(c.secret) > maxSecret {
		c.secret = ""
	}
	// Verify computes a MAC also where there is nothing to compare it with, and it is asked in every case: the time that
	// a refusal takes does not tell one sort of client from another.
	id, verified := trust.Pepper.Verify(owner, client.Credentials, c.secret, now)
	attempt := Attempt{ClientID: client.ID, Method: c.method}
	if reason := a.unfit(client, known, v1alpha1.AuthenticateBySecret); reason != "" {
		return access.Client{}, attempt, errBadCredentials.because(reason)
	}
	if !verified {
		return access.Client{}, attempt, errBadCredentials.because(ReasonWrongSecret)
	}
	attempt.CredentialID = id
	return client, attempt, nil
}

// unfit is the reason why the client may not prove itself in this way, "" if it may.
func (a *Authenticator) unfit(client access.Client, known bool, method v1alpha1.AuthenticationMethod) string {
	switch {
	case !known:
		return ReasonUnknownClient
	case client.Issuer != a.issuer:
		return ReasonOtherIssuer
	case client.Suspended:
		return ReasonSuspended
	case !client.Authenticates(method):
		return ReasonMethodNotAllowed
	}
	return ""
}
