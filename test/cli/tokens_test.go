package cli

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/cli"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

// told is the part of an answer about a token that tests look at.
type told struct {
	Verdict string
	Valid   bool           `json:"valid"`
	Claims  map[string]any `json:"claims"`
	Checks  []struct{ Name, Result, Message string }
	Notes   []string
}

// failed is the check that did not succeed, with its message.
func (v told) failed() string {
	for _, c := range v.Checks {
		if c.Result == "failed" {
			return c.Name + ": " + c.Message
		}
	}
	return ""
}

func TestToken(t *testing.T) {
	settled(t)
	answer := decode[told](t, must(t, "job-team", "token", "publisher", "-n", "jobs", "--audience", courses,
		"--scope", "courses:publish", "--scope", "courses:write", "-o", "json"))
	if !answer.Valid || answer.Claims["scope"] != "courses:publish" || answer.Claims["client_id"] != "jobs.publisher" {
		t.Errorf("%+v", answer)
	}
	if notes := strings.Join(answer.Notes, "\n"); !strings.Contains(notes, "courses:write") {
		t.Errorf("nobody says that courses:write was not granted: %v", answer)
	}
	text := must(t, "job-team", "token", "jobs.publisher", "--audience", courses)
	raw := strings.TrimSpace(must(t, "job-team", "token", "jobs.publisher", "--audience", courses, "--raw"))
	if !strings.Contains(text, "The token is valid.") || strings.Contains(text, strings.Split(raw, ".")[0]) || strings.Count(raw, ".") != 2 {
		t.Errorf("what is shown is\n%s\nand the token is of %d bytes", text, len(raw))
	}
	// The certificate is checked for the issuer's own host, wherever the connection leads.
	must(t, "admin", "token", "jobs.publisher", "--audience", courses, "--endpoint", server.Address)
	kubectl(t, "admin", "token", "jobs.publisher", "--audience", courses, "--endpoint", "127.0.0.1:1").expect(t, 1, "cannot be reached", "--endpoint")
}

// TestTokenOfOthers: what is not possible is said, and why.
func TestTokenOfOthers(t *testing.T) {
	settled(t)
	inside := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "jobs", Name: "inside"}, Data: map[string][]byte{
		"client_id": []byte("jobs.inside"), "client_secret": []byte("none"), "issuer": []byte("https://m2m-issuer-default.m2m-system.svc"),
		"token_endpoint": []byte("https://m2m-issuer-default.m2m-system.svc/oauth2/token"),
	}}
	machine := &v1alpha1.M2MClient{ObjectMeta: metav1.ObjectMeta{Namespace: "jobs", Name: "inside"}}
	create(t, inside, machine)
	kubectl(t, "job-team", "token", "jobs.inside").expect(t, 1, "from inside the cluster only",
		"kubectl port-forward -n m2m-system service/m2m-issuer-default 8443:443", "--endpoint 127.0.0.1:8443")

	insecure := inside.DeepCopy()
	insecure.Data["token_endpoint"] = []byte("http://127.0.0.1/oauth2/token")
	if err := world.Admin.Update(ctx, insecure); err != nil {
		t.Fatal(err)
	}
	kubectl(t, "job-team", "token", "jobs.inside").expect(t, 1, "is not https")

	keyless := &v1alpha1.M2MClient{ObjectMeta: metav1.ObjectMeta{Namespace: "jobs", Name: "keyless"}}
	keyless.Spec.Authentication = []v1alpha1.AuthenticationMethod{v1alpha1.AuthenticateByServiceAccount}
	keyless.Spec.ServiceAccountName = "keyless"
	create(t, keyless)
	kubectl(t, "admin", "token", "jobs.keyless").expect(t, 1, "has no Secret", "ServiceAccount")
	kubectl(t, "admin", "client", "rotate", "jobs.keyless").expect(t, 1, "has no secret to rotate")
}

func TestVerify(t *testing.T) {
	settled(t)
	raw := must(t, "admin", "token", "jobs.publisher", "--audience", courses, "--raw")
	verify := func(e cli.Environment, user, token string, flags ...string) (told, result) {
		t.Helper()
		r := kubectlAt(t, e, user, token, append([]string{"verify", "-", "-o", "json"}, flags...)...)
		if r.code == 1 {
			t.Fatal(r.errOut)
		}
		v := decode[told](t, r.out)
		if v.Valid != (r.code == 0) {
			t.Errorf("valid is %v, and the exit status %d", v.Valid, r.code)
		}
		return v, r
	}
	// The API's own team may read its ConfigMap, and no TokenIssuer.
	for user, namespace := range map[string]string{"admin": "default", "course-team": "courses"} {
		if v, _ := verify(cli.Environment{}, user, "Bearer "+raw, "--audience", courses, "-n", namespace); !v.Valid || v.failed() != "" {
			t.Errorf("%s is told %q", user, v.failed())
		}
	}
	parts := strings.Split(strings.TrimSpace(raw), ".")
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	changed := func(old, replacement string) string {
		if !strings.Contains(string(payload), old) {
			t.Fatalf("the token does not say %s", old)
		}
		forged := strings.Replace(string(payload), old, replacement, 1)
		return parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(forged)) + "." + parts[2]
	}
	header := func(text string) string {
		return base64.RawURLEncoding.EncodeToString([]byte(text)) + "." + parts[1] + "." + parts[2]
	}
	for name, c := range map[string]struct {
		token string
		e     cli.Environment
		flags []string
		want  string
	}{
		"another API's":  {raw, cli.Environment{}, []string{"--audience", "https://other.example.com"}, "audience: it is for " + courses},
		"expired":        {raw, at(time.Now().Add(time.Hour)), nil, "time: it has expired"},
		"of the future":  {raw, at(time.Now().Add(-time.Hour)), nil, "time: it was issued in the future"},
		"edited":         {changed("courses:publish", "courses:write"), cli.Environment{}, nil, "signature: "},
		"no algorithm":   {header(withAlgorithm(t, parts[0], "none")), cli.Environment{}, nil, "signature: its header's alg is none, and the key that its kid names signs by ES256 alone"},
		"a shared key":   {header(withAlgorithm(t, parts[0], "HS256")), cli.Environment{}, nil, "signature: its header's alg is HS256"},
		"another issuer": {changed("https://127.0.0.1", "https://127.0.0.2"), cli.Environment{}, nil, "issuer: no TokenIssuer"},
		"another key":    {header(`{"alg":"ES256","kid":"none","typ":"at+jwt"}`), cli.Environment{}, nil, "key: no published key"},
		"another type":   {header(`{"alg":"ES256","kid":"none","typ":"JWT"}`), cli.Environment{}, nil, "form: its header's typ"},
		"unsigned":       {header(`{"alg":"none","typ":"at+jwt"}`), cli.Environment{}, nil, "form: "},
		"opaque":         {"0123456789abcdef", cli.Environment{}, nil, "form: that is no JWT"},
		"too long":       {strings.Repeat("a", 100_000), cli.Environment{}, nil, "form: that is no access token"},
	} {
		t.Run(name, func(t *testing.T) {
			v, r := verify(c.e, "admin", c.token, c.flags...)
			if r.code != 2 || !strings.HasPrefix(v.failed(), c.want) {
				t.Errorf("exit status %d, %q, want %q", r.code, v.failed(), c.want)
			}
		})
	}
}

// withAlgorithm is the text of a header that names another algorithm.
func withAlgorithm(t *testing.T, header, algorithm string) string {
	t.Helper()
	text, err := base64.RawURLEncoding.DecodeString(header)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Replace(string(text), "ES256", algorithm, 1)
}

// TestVerifyTellsOfRevocation: what a verifier does not see that does not introspect.
func TestVerifyTellsOfRevocation(t *testing.T) {
	settled(t)
	raw := must(t, "admin", "token", "cart.cart-service", "--audience", "https://payment.example.com/api", "--raw")
	machine := get(t, &v1alpha1.M2MClient{}, "cart", "cart-service")
	machine.Spec.Suspend = true
	machine.Spec.RevokeTokensIssuedBefore = &metav1.Time{Time: time.Now().Add(time.Hour).Truncate(time.Second)}
	suite.Save(t, world.Admin, machine)
	t.Cleanup(func() {
		machine := get(t, &v1alpha1.M2MClient{}, "cart", "cart-service")
		machine.Spec.Suspend, machine.Spec.RevokeTokensIssuedBefore = false, nil
		suite.Save(t, world.Admin, machine)
	})
	r := kubectlAt(t, cli.Environment{}, "admin", raw, "verify", "-")
	r.expect(t, 0, "The token is valid for verifiers that do not introspect.", "cart.cart-service is suspended", "does not introspect accepts it")

	machine.Spec.Suspend = false
	suite.Save(t, world.Admin, machine)
	kubectlAt(t, cli.Environment{}, "admin", raw, "verify", "-").expect(t, 0, "revokes its tokens from before")
}
