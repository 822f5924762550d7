package credential_test

import (
	"bytes"
	"testing"

	"github.com/m2m-operator/m2m-operator/internal/credential"
)

func TestRingSeal(t *testing.T) {
	parse := func(fill string) credential.Pepper {
		pepper, err := credential.ParsePepper(bytes.Repeat([]byte(fill), 32))
		if err != nil {
			t.Fatal(err)
		}
		return pepper
	}
	ours, other := parse("a"), parse("b")
	ring := []byte(`{"keys":[]}`)
	seal := ours.SealRing("default", ring)
	for name, test := range map[string]struct {
		pepper       credential.Pepper
		issuer       string
		ring         string
		seal         string
		ours, intact bool
	}{
		"as it was written":  {ours, "default", string(ring), seal, true, true},
		"another ring":       {ours, "default", `{"keys":[{}]}`, seal, true, false},
		"another issuer":     {ours, "other", string(ring), seal, true, false},
		"another pepper":     {other, "default", string(ring), seal, false, false},
		"other pepper's MAC": {ours, "default", string(ring), ours.ID() + other.SealRing("default", ring)[len(ours.ID()):], true, false},
		"none":               {ours, "default", string(ring), "", false, false},
		"half of it":         {ours, "default", string(ring), seal[:len(seal)-1], true, false},
	} {
		if isOurs, intact := test.pepper.CheckRing(test.issuer, []byte(test.ring), test.seal); isOurs != test.ours || intact != test.intact {
			t.Errorf("%s: ours %t, intact %t", name, isOurs, intact)
		}
	}
}

func TestKeySeal(t *testing.T) {
	parse := func(fill string) credential.Pepper {
		pepper, err := credential.ParsePepper(bytes.Repeat([]byte(fill), 32))
		if err != nil {
			t.Fatal(err)
		}
		return pepper
	}
	ours, other := parse("a"), parse("b")
	seal := ours.SealKey("default", "secret-1", "kid")
	for name, test := range map[string]struct {
		pepper                  credential.Pepper
		issuer, secret, kid, is string
		want                    bool
	}{
		"as it was written": {ours, "default", "secret-1", "kid", seal, true},
		"another key":       {ours, "default", "secret-1", "other", seal, false},
		"another Secret":    {ours, "default", "secret-2", "kid", seal, false},
		"another issuer":    {ours, "other", "secret-1", "kid", seal, false},
		"another pepper":    {other, "default", "secret-1", "kid", seal, false},
		"no pepper":         {credential.Pepper{}, "default", "secret-1", "kid", credential.Pepper{}.SealKey("default", "secret-1", "kid"), false},
		"none":              {ours, "default", "secret-1", "kid", "", false},
		"half of it":        {ours, "default", "secret-1", "kid", seal[:len(seal)-1], false},
	} {
		if got := test.pepper.CheckKey(test.issuer, test.secret, test.kid, test.is); got != test.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
