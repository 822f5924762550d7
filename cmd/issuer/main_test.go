package main

import (
	"testing"
	"time"
)

func TestParseFlags(t *testing.T) {
	o, err := parseFlags(nil)
	want := options{tokenIssuer: "default", namespace: "m2m-system", listen: ":8443", opsListen: ":8081", drainDelay: 5 * time.Second}
	if err != nil || o != want {
		t.Errorf("got %+v, %v, want %+v", o, err, want)
	}
	o, err = parseFlags([]string{"--token-issuer=a", "--namespace=b", "--listen=:1", "--ops-listen=:2", "--kubeconfig=c", "--drain-delay=1s",
		"--snapshot-dir=d", "--snapshot-key-file=e", "--version"})
	want = options{tokenIssuer: "a", namespace: "b", listen: ":1", opsListen: ":2", kubeconfig: "c", drainDelay: time.Second,
		snapshotDir: "d", snapshotKeyFile: "e", showVersion: true}
	if err != nil || o != want {
		t.Errorf("got %+v, %v, want %+v", o, err, want)
	}
	for _, bad := range [][]string{{"x"}, {"--unknown"}, {"--drain-delay=x"}, {"--snapshot-dir=d"}, {"--snapshot-key-file=e"}} {
		if _, err := parseFlags(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
