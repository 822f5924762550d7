package clientauth

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"math/big"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/clientkey"
)

const (
	// leeway is how far the clocks of clients may be off.
	leeway = time.Minute
	// maxAssertionLife is how far ahead the expiry of an assertion may lie (RFC 7523 section 3: the server may reject one
	// that is unreasonably far in the future). It bounds how long single use has to be remembered.
	maxAssertionLife = 5 * time.Minute
	maxAssertionID   = 256
)

// checkOwnAssertion takes an assertion that the client signed itself (RFC 7523, private_key_jwt).
//
// What can be said of it without knowing the client is checked first. From there on every refusal has cost one
// verification, so that the time it takes does not tell an unknown client, or kid, from a wrong signature.
func (a *Authenticator) checkOwnAssertion(c Credentials, claims claims, trust Trust, now time.Time) (access.Client, Attempt, *Failure) {
	client, known := a.index.Client(claims.Subject)
	attempt := Attempt{ClientID: client.ID, Method: MethodPrivateKey}
	refuse := func(reason string) (access.Client, Attempt, *Failure) {
		return access.Client{}, attempt, errBadCredentials.because(reason)
	}
	if claims.Subject == "" || claims.Issuer != claims.Subject {
		return refuse(ReasonMalformed)
	}
	if c.clientID != "" && c.clientID != claims.Subject { // RFC 7521 section 4.2
		return access.Client{}, attempt, errOtherClientID
	}
	if reason := claims.unfit(trust.IssuerURL, now); reason != "" {
		return refuse(reason)
	}
	signed, reason := readSigned(c.assertion)
	if reason != "" {
		return refuse(reason)
	}
	key, found := signed.key(client.Keys)
	verified := signed.verifies(key, found)
	if reason := a.unfit(client, known, v1alpha1.AuthenticateByKey); reason != "" {
		return refuse(reason)
	}
	switch {
	case !found:
		return refuse(ReasonUnknownKey)
	case !verified:
		return refuse(ReasonWrongSignature)
	}
	// Last, so that nothing but the client itself, with an assertion that is good, spends an id.
	if reason := a.spent.spend(client.ID, claims.ID, claims.Expiry.time().Add(leeway), now); reason != "" {
		return refuse(reason)
	}
	attempt.CredentialID = key.ID
	return client, attempt, nil
}

// unfit is the reason why nobody may authenticate with the claims at this issuer and time, "" if somebody may.
func (c claims) unfit(issuerURL string, now time.Time) string {
	switch {
	// The issuer's identifier alone: whoever else an assertion were for could use it here too, and an endpoint's URL is
	// what a client may be talked into by a foreign server's metadata.
	case !c.Audience.isOnly(issuerURL):
		return ReasonWrongAudience
	case c.Expiry == nil:
		return ReasonMalformed
	case !now.Before(c.Expiry.time().Add(leeway)):
		return ReasonExpired
	case c.Expiry.time().After(now.Add(maxAssertionLife + leeway)):
		return ReasonTooLongLived
	case c.NotBefore != nil && c.NotBefore.time().After(now.Add(leeway)):
		return ReasonNotYetValid
	case c.IssuedAt != nil && c.IssuedAt.time().After(now.Add(leeway)):
		return ReasonNotYetValid
	case c.ID == "" || len(c.ID) > maxAssertionID:
		return ReasonNoID
	}
	return ""
}

// signedAssertion is an assertion of which the header is fit.
type signedAssertion struct {
	jws       *jose.JSONWebSignature
	algorithm jose.SignatureAlgorithm
	keyID     string
}

// readSigned reads the header of an assertion, or says what is wrong with it. Keys and certificates in it, and addresses
// of such, are of no interest.
func readSigned(assertion string) (signedAssertion, string) {
	jws, err := jose.ParseSignedCompact(assertion, clientkey.Algorithms)
	if unexpected := (*jose.ErrUnexpectedSignatureAlgorithm)(nil); errors.As(err, &unexpected) {
		return signedAssertion{}, ReasonWrongAlgorithm
	} else if err != nil {
		return signedAssertion{}, ReasonMalformed
	}
	header := jws.Signatures[0].Protected
	if typ, present := header.ExtraHeaders[jose.HeaderType]; present && !isAssertionType(typ) {
		return signedAssertion{}, ReasonWrongType
	}
	return signedAssertion{jws: jws, algorithm: jose.SignatureAlgorithm(header.Algorithm), keyID: header.KeyID}, ""
}

// isAssertionType says whether a typ is one that assertions have. Any other is of a token that was made for another
// purpose (RFC 8725 section 3.11).
func isAssertionType(typ any) bool {
	name, _ := typ.(string)
	name = strings.ToLower(name)
	switch strings.TrimPrefix(name, "application/") {
	case "jwt", "client-authentication+jwt":
		return true
	}
	return false
}

// key finds the one among the client's keys that the header means: by its kid and, since a key is used with one
// algorithm, by that. An assertion without a kid means the only key of its algorithm.
func (s signedAssertion) key(keys []clientkey.Key) (clientkey.Key, bool) {
	var found []clientkey.Key
	for _, key := range keys {
		if key.Algorithm == s.algorithm && (s.keyID == "" || s.keyID == key.ID) {
			found = append(found, key)
		}
	}
	if len(found) != 1 {
		return clientkey.Key{}, false
	}
	return found[0], true
}

// verifies reports whether the key made the signature. Without a key that the signature could be of, the same work is
// done in vain.
func (s signedAssertion) verifies(key clientkey.Key, found bool) bool {
	if !found || !s.couldBeOf(key) {
		_, _ = s.jws.Verify(decoy(s.algorithm, len(s.jws.Signatures[0].Signature)))
		return false
	}
	_, err := s.jws.Verify(key.Public)
	return err == nil
}

// couldBeOf reports whether a verification takes its full time: an RSA signature of another size than the key's, or that
// is not below its modulus, is not looked at any further.
func (s signedAssertion) couldBeOf(key clientkey.Key) bool {
	public, ok := key.Public.(*rsa.PublicKey)
	signature := s.jws.Signatures[0].Signature
	return !ok || (public.Size() == len(signature) && new(big.Int).SetBytes(signature).Cmp(public.N) < 0)
}

// decoy is a key that takes as long to verify with as a client's would. What it verifies counts for nothing: its private
// half is nobody's secret.
func decoy(algorithm jose.SignatureAlgorithm, signatureSize int) crypto.PublicKey {
	switch algorithm {
	case jose.ES256:
		return decoyP256
	case jose.ES384:
		return decoyP384
	case jose.EdDSA:
		return decoyEd25519
	}
	// The cost is that of the modulus' size, and does not ask for primes: any odd number will do.
	bits := uint(min(max(signatureSize*8, clientkey.MinRSABits), clientkey.MaxRSABits))
	modulus := new(big.Int).Lsh(big.NewInt(1), bits)
	return &rsa.PublicKey{N: modulus.Sub(modulus, big.NewInt(1)), E: clientkey.RSAExponent}
}

var (
	decoyP256    = decoyECDSA(elliptic.P256())
	decoyP384    = decoyECDSA(elliptic.P384())
	decoyEd25519 = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize)).Public()
)

func decoyECDSA(curve elliptic.Curve) *ecdsa.PublicKey {
	key, err := ecdsa.ParseRawPrivateKey(curve, bytes.Repeat([]byte{1}, curve.Params().BitSize/8))
	if err != nil {
		panic(err) // it is the same key in every test
	}
	return &key.PublicKey
}
