package cli

import (
	"strings"
	"testing"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

func TestKeysCommands(t *testing.T) {
	settled(t)
	type key struct{ Issuer, KID, Algorithm, State string }
	list := func() []key {
		return decode[struct{ Keys []key }](t, must(t, "admin", "keys", "list", "default", "-o", "json")).Keys
	}
	before := list()
	if len(before) < 2 || before[0].Issuer != "default" {
		t.Fatalf("the keys are %v", before)
	}
	if text := must(t, "admin", "keys", "list"); !strings.Contains(text, before[0].KID) {
		t.Errorf("the keys are\n%s", text)
	}
	must(t, "admin", "keys", "rotate", "--revision", "two")
	issuer := get(t, &v1alpha1.TokenIssuer{}, "", "default")
	if issuer.Spec.Signing.Revision != "two" {
		t.Errorf("the revision is %q", issuer.Spec.Signing.Revision)
	}
	raw := must(t, "admin", "token", "jobs.publisher", "--audience", courses, "--raw")
	var active string
	for _, k := range list() {
		if k.State == "Active" {
			active = k.KID
		}
	}
	must(t, "admin", "keys", "revoke", active)
	if again := must(t, "admin", "keys", "revoke", active); !strings.Contains(again, "it is so already") {
		t.Errorf("revoked twice: %s", again)
	}
	if got := get(t, issuer, "", "default").Spec.Signing; len(got.RevokedKeys) != 1 || string(got.RevokedKeys[0]) != active || got.Revision != "two" {
		t.Errorf("the spec is %+v", got)
	}
	suite.Eventually(t, func() string {
		r := kubectl(t, "admin", "verify", strings.TrimSpace(raw))
		if r.code != 2 || !strings.Contains(r.out, "was revoked") {
			return r.out
		}
		return ""
	})
	kubectl(t, "job-team", "keys", "list").expect(t, 1, "forbidden")
}
