package snapshot

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

const (
	// magic begins every file; its last byte is the version of the form.
	magic    = "m2msnap\x01"
	saltSize = 32
	// minSecret is the least that a key is made of.
	minSecret = 32
	// maxEntry bounds an entry, far above what an object of the Kubernetes API can hold.
	maxEntry = 16 << 20

	tagSize = 16
	// frameHead is the sealed length of an entry.
	frameHead = 4 + tagSize
	// frameSize is what a frame is longer than its entry.
	frameSize = frameHead + tagSize
)

// Key opens and seals the snapshots of one TokenIssuer.
type Key struct {
	secret string
	info   string
}

// NewKey makes the key from a secret, the TokenIssuer's pepper, of at least 32 bytes. The error holds none of it.
func NewKey(secret []byte, namespace, tokenIssuer string) (Key, error) {
	if len(secret) < minSecret {
		return Key{}, fmt.Errorf("a key is made of at least %d bytes, there are %d", minSecret, len(secret))
	}
	// Neither name can hold a slash.
	return Key{secret: string(secret), info: "m2m-operator/snapshot/v1/" + namespace + "/" + tokenIssuer}, nil
}

// sealer seals and opens the entries of one file. The nonces are the places of the entries in the file: they repeat in no
// file, and no other file has the same salt.
type sealer struct{ aead cipher.AEAD }

func (k Key) sealer(salt []byte) (sealer, error) {
	derived, err := hkdf.Key(sha256.New, []byte(k.secret), salt, k.info, 32)
	if err != nil {
		return sealer{}, err
	}
	block, err := aes.NewCipher(derived)
	if err != nil {
		return sealer{}, err
	}
	aead, err := cipher.NewGCM(block)
	return sealer{aead}, err
}

// nonce of the length (part 0) or the entry (part 1) of the n-th frame.
func nonce(n uint64, part byte) []byte {
	var out [12]byte
	binary.BigEndian.PutUint64(out[:8], n)
	out[11] = part
	return out[:]
}

// seal appends the n-th frame of a file. The length is sealed by itself, so that an altered one cannot pass for that of
// an entry which was not written to its end.
func (s sealer) seal(out []byte, n uint64, entry []byte) []byte {
	var length [4]byte
	binary.BigEndian.PutUint32(length[:], uint32(len(entry)))
	out = s.aead.Seal(out, nonce(n, 0), length[:], nil)
	return s.aead.Seal(out, nonce(n, 1), entry, nil)
}

// openHead returns how many bytes of the n-th frame follow its head.
func (s sealer) openHead(n uint64, head []byte) (int, error) {
	length, err := s.aead.Open(nil, nonce(n, 0), head, nil)
	if err != nil {
		return 0, err
	}
	return int(binary.BigEndian.Uint32(length)) + tagSize, nil
}

// openBody returns the n-th entry, in place of its sealed form.
func (s sealer) openBody(n uint64, body []byte) ([]byte, error) {
	return s.aead.Open(body[:0], nonce(n, 1), body, nil)
}
