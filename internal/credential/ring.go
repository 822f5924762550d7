package credential

import (
	"crypto/hmac"
	"strings"
)

const (
	purposeRing = "m2m-operator/key-ring/v1"
	purposeKey  = "m2m-operator/signing-key/v1"
)

// SealRing seals the key ring of a TokenIssuer: who may write ConfigMaps of the install namespace, and read no Secret
// there, cannot make a seal, and so publishes no key. The seal names the pepper.
func (p Pepper) SealRing(issuer string, ring []byte) string {
	return p.id + "." + encodeMAC(p.mac(purposeRing, issuer, string(ring)))
}

// CheckRing reports whether a seal names this pepper, and whether it is this ring's.
func (p Pepper) CheckRing(issuer string, ring []byte, seal string) (ours, intact bool) {
	id, _, _ := strings.Cut(seal, ".")
	return id == p.id, hmac.Equal([]byte(seal), []byte(p.SealRing(issuer, ring)))
}

// SealKey seals that we made the signing key of this kid, for the Secret of this name: who may create Secrets in the install
// namespace, and cannot read the pepper there, makes none that is taken for the next key.
func (p Pepper) SealKey(issuer, name, kid string) string {
	return encodeMAC(p.mac(purposeKey, issuer, name, kid))
}

// CheckKey reports whether a seal is this key's, in this Secret.
func (p Pepper) CheckKey(issuer, name, kid, seal string) bool {
	return p.Present() && equalMAC(seal, p.SealKey(issuer, name, kid))
}
