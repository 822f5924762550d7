package token

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/hex"
	"testing"
)

func TestTakeInteger(t *testing.T) {
	long := bytes.Repeat([]byte{0x81}, es256Half)
	for name, test := range map[string]struct {
		der  []byte
		ok   bool
		half []byte
		rest []byte
	}{
		"short":                {[]byte{derInteger, 1, 7, 9}, true, append(make([]byte, es256Half-1), 7), []byte{9}},
		"zero":                 {[]byte{derInteger, 1, 0}, true, make([]byte, es256Half), nil},
		"with a zero before":   {append([]byte{derInteger, es256Half + 1, 0}, long...), true, long, nil},
		"too long":             {append([]byte{derInteger, es256Half + 1, 1}, long...), false, nil, nil},
		"cut short":            {[]byte{derInteger, 2, 7}, false, nil, nil},
		"no number":            {[]byte{derSequence, 1, 7}, false, nil, nil},
		"nothing":              {nil, false, nil, nil},
		"nothing but the type": {[]byte{derInteger}, false, nil, nil},
	} {
		half := make([]byte, es256Half)
		rest, ok := takeInteger(half, test.der)
		if ok != test.ok || (ok && (!bytes.Equal(half, test.half) || !bytes.Equal(rest, test.rest))) {
			t.Errorf("%s: %x, %x, %t", name, half, rest, ok)
		}
	}
}

// TestSignES256 signs the message of RFC 6979 appendix A.2.5.
func TestSignES256(t *testing.T) {
	private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), fromHex(t, "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := signES256(private, []byte("sample"))
	want := fromHex(t, "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716"+
		"f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8")
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%x, %v; want %x", got, err, want)
	}
}

func fromHex(t *testing.T, text string) []byte {
	t.Helper()
	out, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
