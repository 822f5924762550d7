package main

import (
	"testing"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

func TestParse(t *testing.T) {
	o, err := parse(nil)
	if err != nil || o.namespace != "m2m-system" || o.metricsListen != ":8080" || !o.leaderElect || o.defaultIssuer || o.rotations != 60 {
		t.Errorf("got %+v, %v", o, err)
	}
	o, err = parse([]string{"--create-default-issuer", `--default-issuer-spec={"url":"https://tokens.example.com","tls":{"secretName":"tokens"}}`})
	if err != nil || !o.defaultIssuer || o.defaultSpec.URL != "https://tokens.example.com" || *o.defaultSpec.TLS != (v1alpha1.TokenIssuerTLS{SecretName: "tokens"}) {
		t.Errorf("got %+v, %v", o, err)
	}
	for _, bad := range [][]string{
		{"x"}, {"--unknown"}, {"--rotations-per-minute=0"}, {"--default-issuer-spec=url"},
		{`--default-issuer-spec={"uri":"https://tokens.example.com"}`},
	} {
		if _, err := parse(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
