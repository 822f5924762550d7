package credential

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

// The purposes that keep one MAC from being taken for another.
const (
	purposeSecret = "m2m-operator/credential/secret/v1"
	purposeSeal   = "m2m-operator/credential/seal/v1"
	purposeProof  = "m2m-operator/credential/proof/v1"
	purposeID     = "m2m-operator/credential/pepper-id/v1"
)

const pepperSize = 32

// Pepper is the key of all MACs of one TokenIssuer's credentials.
type Pepper struct {
	key  []byte
	id   string
	macs *sync.Pool // of *macer
}

// macer computes MACs under one pepper. It is kept and used again: to begin with the key costs more than a secret does.
type macer struct {
	hash  hash.Hash
	input []byte
	sum   mac
}

// mac is a MAC.
type mac [sha256.Size]byte

// NewPepper reads 32 random bytes, as ParsePepper wants them.
func NewPepper(random io.Reader) ([]byte, error) {
	key := make([]byte, pepperSize)
	_, err := io.ReadFull(random, key)
	return key, err
}

// ParsePepper takes a pepper of exactly 32 bytes. The error never holds any of it.
func ParsePepper(data []byte) (Pepper, error) {
	if len(data) != pepperSize {
		return Pepper{}, fmt.Errorf("a pepper has %d bytes, this one has %d", pepperSize, len(data))
	}
	pepper := Pepper{key: append([]byte(nil), data...), macs: &sync.Pool{}}
	id := pepper.mac(purposeID)
	pepper.id = hex.EncodeToString(id[:8])
	return pepper, nil
}

// ID names the pepper without telling anything about it.
func (p Pepper) ID() string { return p.id }

// Present reports whether there is a pepper.
func (p Pepper) Present() bool { return len(p.key) == pepperSize }

// mac is HMAC-SHA-256 over the fields, each with its length before it, so that no two lists of fields look alike.
func (p Pepper) mac(fields ...string) mac {
	m := p.macer()
	m.input = m.input[:0]
	for _, field := range fields {
		m.input = binary.BigEndian.AppendUint64(m.input, uint64(len(field)))
		m.input = append(m.input, field...)
	}
	m.hash.Write(m.input)
	m.hash.Sum(m.sum[:0])
	sum := m.sum
	p.keep(m)
	return sum
}

func (p Pepper) macer() *macer {
	if p.macs != nil { // the pepper that is absent has none
		if m, ok := p.macs.Get().(*macer); ok {
			return m
		}
	}
	return &macer{hash: hmac.New(sha256.New, p.key)}
}

// maxKeptInput is the most that a macer keeps of the memory for its input: key rings are larger than credentials.
const maxKeptInput = 4 << 10

// keep a macer for the next time, and nothing of what it was used for.
func (p Pepper) keep(m *macer) {
	m.hash.Reset()
	clear(m.input)
	clear(m.sum[:])
	if p.macs != nil && cap(m.input) <= maxKeptInput {
		p.macs.Put(m)
	}
}

// Owner is whom a credential belongs to.
type Owner struct {
	// Issuer is the name of the TokenIssuer.
	Issuer string
	// ClientID of the client.
	ClientID string
}

// Credential is a client secret and the id that names it.
type Credential struct {
	ID     string
	Secret string
}

// New makes a credential: a secret of 256 random bits in 43 characters of [A-Za-z0-9_-], which form encoding leaves as
// they are, and an id of 80 random bits.
func New(random io.Reader) (Credential, error) {
	var bits [42]byte
	if _, err := io.ReadFull(random, bits[:]); err != nil {
		return Credential{}, err
	}
	id := base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(bits[32:])
	return Credential{
		ID:     strings.ToLower(id),
		Secret: base64.RawURLEncoding.EncodeToString(bits[:32]),
	}, nil
}

// Entry is what issuers are told of a credential. A zero expiry means no limit.
func (p Pepper) Entry(owner Owner, c Credential, state v1alpha1.CredentialState, created, expiry time.Time) v1alpha1.CredentialStatus {
	entry := v1alpha1.CredentialStatus{
		ID: c.ID, State: state, PepperID: p.id,
		CreatedTime: metav1.NewTime(created.UTC().Truncate(time.Second)),
	}
	p.seal(owner, &entry, p.mac(purposeSecret, owner.Issuer, owner.ClientID, c.ID, c.Secret), expiry)
	return entry
}

// Expire gives a sealed entry a new expiry. It fails when the entry is not this owner's.
func (p Pepper) Expire(owner Owner, entry v1alpha1.CredentialStatus, expiry time.Time) (v1alpha1.CredentialStatus, error) {
	digest, ok := p.open(owner, entry)
	if !ok {
		return entry, errors.New("the verifier is not this client's")
	}
	p.seal(owner, &entry, digest, expiry)
	return entry, nil
}

// seal writes expiry and verifier: the MAC of the secret, and a MAC over it, the owner, the id and the expiry.
func (p Pepper) seal(owner Owner, entry *v1alpha1.CredentialStatus, digest mac, expiry time.Time) {
	entry.ExpiryTime = nil
	if !expiry.IsZero() {
		t := metav1.NewTime(expiry.UTC().Truncate(time.Second))
		entry.ExpiryTime = &t
	}
	entry.Verifier = encodeMAC(digest) + "." + encodeMAC(p.sealOf(owner, *entry, digest))
}

func (p Pepper) sealOf(owner Owner, entry v1alpha1.CredentialStatus, digest mac) mac {
	return p.mac(purposeSeal, owner.Issuer, owner.ClientID, entry.ID, expiryField(entry), string(digest[:]))
}

func expiryField(entry v1alpha1.CredentialStatus) string {
	if entry.ExpiryTime == nil {
		return "never"
	}
	return entry.ExpiryTime.UTC().Format(time.RFC3339)
}

// open returns the MAC of the secret if the entry's seal is intact and this owner's.
func (p Pepper) open(owner Owner, entry v1alpha1.CredentialStatus) (mac, bool) {
	digest, seal, ok := p.read(entry)
	return digest, ok && seal.equals(p.sealOf(owner, entry, digest))
}

// read returns the MAC of the secret and the seal of an entry that says that it is of this pepper.
func (p Pepper) read(entry v1alpha1.CredentialStatus) (digest, seal mac, ok bool) {
	if !p.Present() || entry.PepperID != p.id {
		return mac{}, mac{}, false
	}
	first, second, _ := strings.Cut(entry.Verifier, ".")
	digest, ok1 := decodeMAC(first)
	seal, ok2 := decodeMAC(second)
	return digest, seal, ok1 && ok2
}

// Genuine reports whether an entry was sealed under this pepper for this owner.
func (p Pepper) Genuine(owner Owner, entry v1alpha1.CredentialStatus) bool {
	_, ok := p.open(owner, entry)
	return ok
}

// Verify finds the entry that a presented secret belongs to, among those that are genuine and not expired at now. Every
// entry is looked at, and at least one MAC is computed, whatever is presented: the time tells nothing about the secret,
// nor whether the client exists, but to whoever presents the right one, whose seal takes another MAC.
func (p Pepper) Verify(owner Owner, entries []v1alpha1.CredentialStatus, secret string, now time.Time) (id string, ok bool) {
	if len(entries) == 0 {
		entries = []v1alpha1.CredentialStatus{p.decoy()}
	}
	for _, entry := range entries {
		digest, seal, readable := p.read(entry)
		presented := p.mac(purposeSecret, owner.Issuer, owner.ClientID, entry.ID, secret)
		if presented.equals(digest) && readable && secret != "" && !expired(entry, now) && seal.equals(p.sealOf(owner, entry, digest)) {
			id, ok = entry.ID, true
		}
	}
	return id, ok
}

// decoy is an entry that no secret belongs to, for clients that do not exist: it costs what a real one costs.
func (p Pepper) decoy() v1alpha1.CredentialStatus {
	return v1alpha1.CredentialStatus{ID: "0000000000000000", PepperID: p.id, Verifier: decoyVerifier}
}

var decoyVerifier = encodeMAC(mac{}) + "." + encodeMAC(mac{})

func encodeMAC(m mac) string { return base64.RawURLEncoding.EncodeToString(m[:]) }

func decodeMAC(text string) (m mac, ok bool) {
	if len(text) != base64.RawURLEncoding.EncodedLen(len(m)) {
		return mac{}, false
	}
	n, err := base64.RawURLEncoding.Decode(m[:], []byte(text))
	return m, err == nil && n == len(m)
}

// equals compares in constant time.
func (m mac) equals(other mac) bool { return hmac.Equal(m[:], other[:]) }

func equalMAC(a, b string) bool { return hmac.Equal([]byte(a), []byte(b)) }

func expired(entry v1alpha1.CredentialStatus, now time.Time) bool {
	return entry.ExpiryTime != nil && !now.Before(entry.ExpiryTime.Time)
}
