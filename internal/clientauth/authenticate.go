package clientauth

import (
	"net/netip"
	"time"

	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/credential"
)

// Authenticator checks credentials against the clients of one TokenIssuer.
type Authenticator struct {
	issuer   string
	index    *access.Index
	throttle *throttle
}

// New makes an authenticator for the clients of a TokenIssuer, by its name.
func New(issuer string, index *access.Index) *Authenticator {
	return &Authenticator{issuer: issuer, index: index, throttle: newThrottle(maxGuessers)}
}

// Authenticate returns the client that the credentials prove. The source is where the request comes from.
//
// The secret is checked first, so that whoever guesses beside a client never locks it out.
func (a *Authenticator) Authenticate(c Credentials, pepper credential.Pepper, source netip.Addr, now time.Time) (access.Client, *Failure) {
	client, known := a.index.Client(c.clientID)
	owner := credential.Owner{Issuer: a.issuer, ClientID: c.clientID}
	// Verify computes a MAC also where there is nothing to compare it with, and it is asked in every case: the time that
	// a refusal takes does not tell one sort of client from another.
	_, verified := pepper.Verify(owner, client.Credentials, c.secret, now)
	if verified && known && client.Issuer == a.issuer && !client.Suspended {
		return client, nil
	}
	if !a.throttle.allow(c.clientID, source, now) {
		return access.Client{}, errTooManyFailures
	}
	return access.Client{}, errBadCredentials
}
