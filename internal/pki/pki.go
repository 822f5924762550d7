// Package pki makes the operator's own certificate authority and the serving certificates of token issuers. It is pure:
// what to renew is decided from the PEM and the time it is given. Only keys are random, and the standard library takes
// their randomness from the system alone.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"slices"
	"time"
)

const (
	// AuthorityLife is how long an authority is valid.
	AuthorityLife = 10 * 365 * 24 * time.Hour
	// ServingLife is how long a serving certificate is valid. It is renewed at two thirds of it.
	ServingLife = 90 * 24 * time.Hour
	// backdate tolerates clocks that are behind ours.
	backdate = 5 * time.Minute
)

// Pair is a certificate and its private key, both PEM.
type Pair struct {
	Certificate []byte
	Key         []byte
}

// NewAuthority makes a self-signed certificate authority.
func NewAuthority(commonName string, now time.Time) (Pair, error) {
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: commonName},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(AuthorityLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	return sign(template, nil, nil)
}

// NewServing makes a serving certificate for names, which are DNS names or IP addresses.
func NewServing(authority Pair, names []string, now time.Time) (Pair, error) {
	parent, signer, err := parse(authority)
	if err != nil {
		return Pair{}, fmt.Errorf("authority: %w", err)
	}
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: "m2m-operator token issuer"},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(ServingLife),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	return sign(template, parent, signer)
}

func sign(template, parent *x509.Certificate, signer crypto.Signer) (Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, err
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return Pair{}, err
	}
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return Pair{}, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Pair{}, err
	}
	return Pair{
		Certificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		Key:         pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	}, nil
}

// parse returns the leaf and its key. The error holds no key material.
func parse(pair Pair) (*x509.Certificate, crypto.Signer, error) {
	loaded, err := tls.X509KeyPair(pair.Certificate, pair.Key)
	if err != nil {
		return nil, nil, errors.New("holds no certificate with its private key in PEM")
	}
	signer, ok := loaded.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, nil, errors.New("its private key cannot sign")
	}
	return loaded.Leaf, signer, nil
}

// Expiry is when the pair's certificate ends. It fails when the pair is not usable.
func Expiry(pair Pair) (time.Time, error) {
	leaf, _, err := parse(pair)
	if err != nil {
		return time.Time{}, err
	}
	return leaf.NotAfter, nil
}

// RenewalTime is when a serving certificate shall be renewed: at two thirds of its life.
func RenewalTime(leaf *x509.Certificate) time.Time {
	return leaf.NotBefore.Add(leaf.NotAfter.Sub(leaf.NotBefore) * 2 / 3)
}

// Check is a reason to make a new serving certificate.
type Check func(Serving) (reason string, violated bool)

// Serving is what the checks look at.
type Serving struct {
	Authority Pair
	Current   Pair
	Names     []string
	Now       time.Time

	leaf *x509.Certificate
}

// needsNew is asked in order; the first violation is the reason.
var needsNew = []Check{unusable, otherAuthority, otherNames, renewalDue}

// Renewal says when the serving certificate is due, and why a new one is needed now, "" if it is not.
func Renewal(s Serving) (due time.Time, reason string) {
	s.leaf, _, _ = parse(s.Current)
	for _, check := range needsNew {
		if reason, violated := check(s); violated {
			return s.Now, reason
		}
	}
	return RenewalTime(s.leaf), ""
}

func unusable(s Serving) (string, bool) { return "there is no usable certificate", s.leaf == nil }

// otherAuthority is no reason while no authority signs: the certificate in use is good until one does.
func otherAuthority(s Serving) (string, bool) {
	if len(s.Authority.Certificate) == 0 {
		return "", false
	}
	authority, _, err := parse(s.Authority)
	return "it is not signed by the current authority", err != nil || s.leaf.CheckSignatureFrom(authority) != nil
}

func otherNames(s Serving) (string, bool) {
	var names []string
	names = append(names, s.leaf.DNSNames...)
	for _, ip := range s.leaf.IPAddresses {
		names = append(names, ip.String())
	}
	wanted := slices.Clone(s.Names)
	slices.Sort(names)
	slices.Sort(wanted)
	return "it is for other names", !slices.Equal(names, wanted)
}

func renewalDue(s Serving) (string, bool) {
	return "two thirds of its life have passed", !s.Now.Before(RenewalTime(s.leaf))
}
