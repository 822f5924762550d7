package token

import (
	"bytes"
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
