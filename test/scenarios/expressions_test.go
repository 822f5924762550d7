package scenarios

import (
	"encoding/json"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

// TestBadExpressionHarmsItsObjectAlone: it says where it is wrong, gives nothing, and is well again when it is corrected.
func TestBadExpressionHarmsItsObjectAlone(t *testing.T) {
	ready(t)
	newNamespaces(t, "spelling")
	good := newAPI("spelling", "good", "https://good.spelling.example.com", "read", "write")
	bad := newAPI("spelling", "bad", "https://bad.spelling.example.com", "read")
	bad.Spec.Rules = []v1alpha1.PolicyCondition{
		{Expression: "true"}, {Expression: "client.namespace != 'x' &&\n  client.namespce != 'sandbox'"},
	}
	job := newClient("spelling", "job", nil)
	misspelt := newGrant(good, job, "write")
	misspelt.Name = "misspelt"
	misspelt.Spec.Conditions = []v1alpha1.PolicyCondition{{Expression: "client.labels['a'] ="}}
	toBad := newGrant(bad, job, "read")
	toBad.Name = "to-bad"
	create(t, bad, good, job, misspelt, toBad, newGrant(good, job, "read"))

	caller := mount(t, "spelling", "job")
	caller.awaitVerdict("granted", good.Spec.Identifier)
	for object, place := range map[v1alpha1.Conditioned]string{
		bad: "spec.rules[1]: 2:9: undefined field 'namespce'", misspelt: "spec.conditions[0]: 1:20: ",
	} {
		message := awaitCondition(t, object, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonInvalidExpression)
		if !strings.HasPrefix(message, place) {
			t.Errorf("%s: the message is %q, want it to begin with %q", object.GetName(), message, place)
		}
		awaitCondition(t, object, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonInvalidExpression)
	}
	awaitReady(t, good)
	wantToken(t, "the good API and the good grant", caller.ask(good.Spec.Identifier, "read write"), "read", "write")
	wantError(t, "the bad API", caller.ask(bad.Spec.Identifier, ""), "invalid_target")

	bad.Spec.Rules[1].Expression = "client.namespace != 'sandbox'"
	suite.Save(t, world.Admin, bad)
	misspelt.Spec.Conditions[0].Expression = "!('a' in client.labels)"
	suite.Save(t, world.Admin, misspelt)
	awaitReady(t, bad)
	awaitReady(t, misspelt)
	caller.awaitVerdict("granted", bad.Spec.Identifier)
	suite.Eventually(t, func() string {
		if got := caller.ask(good.Spec.Identifier, ""); got.Scope != "read write" {
			return "the corrected grant: " + got.String()
		}
		return ""
	})
}

// TestExpressionsRefuse: in the words of who wrote a condition or a rule if it is not met, and in none of its own if it
// fails. That it failed is for the audit log.
func TestExpressionsRefuse(t *testing.T) {
	ready(t)
	newNamespaces(t, "refusing")
	const (
		generic = "the API does not allow this request"
		colour  = "client.labels['colour'] == 'green'"
	)
	green, other := newClient("refusing", "green", map[string]string{"colour": "green"}), newClient("refusing", "other", map[string]string{"colour": "red"})
	colourless := newClient("refusing", "colourless", nil)
	rule := newAPI("refusing", "rule", "https://rule.refusing.example.com", "read")
	rule.Spec.Rules = []v1alpha1.PolicyCondition{{Expression: colour, Message: "only the green ones (see the handbook)"}}
	mute := newAPI("refusing", "mute", "https://mute.refusing.example.com", "read")
	mute.Spec.Rules = []v1alpha1.PolicyCondition{{Expression: colour}}
	condition := newAPI("refusing", "condition", "https://condition.refusing.example.com", "read")
	claim := newAPI("refusing", "claim", "https://claim.refusing.example.com", "read")
	claim.Spec.Claims = []v1alpha1.ApiClaim{{Name: "colour", Expression: "client.labels['colour']"}}
	create(t, green, other, colourless, rule, mute, condition, claim)
	for _, api := range []*v1alpha1.ApiResource{rule, mute, condition, claim} {
		grant := newGrant(api, green, "read")
		grant.Name = api.Name
		for _, c := range []*v1alpha1.M2MClient{other, colourless} {
			grant.Spec.Subjects = append(grant.Spec.Subjects, newGrant(api, c).Spec.Subjects...)
		}
		if api == condition {
			grant.Spec.Conditions = []v1alpha1.PolicyCondition{{Expression: colour, Message: "this grant is for the green ones"}}
		}
		create(t, grant)
	}

	for _, tc := range []struct {
		client, api string
		said        string // by the answer, "" if there is a token
		reason      string // in the audit log
		detail      string // there, in part
	}{
		{"green", "rule", "", "Granted", ""},
		{"green", "mute", "", "Granted", ""},
		{"green", "condition", "", "Granted", ""},
		{"green", "claim", "", "Granted", ""},
		{"other", "rule", "only the green ones (see the handbook)", "RuleNotMet", "spec.rules[0] is not met"},
		{"other", "mute", generic, "RuleNotMet", "spec.rules[0] is not met"},
		{"other", "condition", "this grant is for the green ones", "ConditionNotMet", "spec.conditions[0] is not met"},
		{"other", "claim", "", "Granted", ""},
		{"colourless", "rule", generic, "ExpressionFailed", "spec.rules[0] failed: the expression failed: no such key: colour"},
		{"colourless", "mute", generic, "ExpressionFailed", "spec.rules[0] failed: the expression failed: no such key: colour"},
		{"colourless", "condition", generic, "ExpressionFailed", "spec.conditions[0] failed: the expression failed: no such key: colour"},
		{"colourless", "claim", generic, "ExpressionFailed", "the claim \"colour\" failed: the expression failed: no such key: colour"},
	} {
		what, audience := tc.client+" at "+tc.api, "https://"+tc.api+".refusing.example.com"
		w := mount(t, "refusing", tc.client)
		want := map[bool]string{true: "granted", false: "access_denied"}[tc.said == ""]
		w.awaitVerdict(want, audience)
		got := w.ask(audience, "read")
		if tc.said == "" {
			wantToken(t, what, got, "read", "")
		} else {
			wantDenied(t, what, got, tc.said)
		}
		if tc.reason == "ExpressionFailed" && (strings.Contains(got.body, "colour") || strings.Contains(got.body, "xpression")) {
			t.Errorf("%s: the client learns why: %s", what, got.body)
		}
		line := lastAuditLine(t)
		if line.Client != "refusing."+tc.client || line.API != "refusing/"+tc.api || line.Reason != tc.reason || !strings.Contains(line.why(), tc.detail) {
			t.Errorf("%s: the audit log says %+v, want %s, %q", what, line, tc.reason, tc.detail)
		}
	}
}

// auditLine is what these tests look at in the audit log.
type auditLine struct {
	Client, API, Reason, Detail string
	Rejected                    []struct {
		Obstacles []string
	}
}

// why the request was decided so, of the API as a whole and of the grants of each scope.
func (l auditLine) why() string {
	out := []string{l.Detail}
	for _, r := range l.Rejected {
		out = append(out, r.Obstacles...)
	}
	return strings.Join(out, "\n")
}

// lastAuditLine is that of the last answer: a line is written before its answer is sent.
func lastAuditLine(t *testing.T) (last auditLine) {
	t.Helper()
	text := strings.TrimSuffix(world.Audit.String(), "\n")
	if err := json.Unmarshal([]byte(text[strings.LastIndexByte(text, '\n')+1:]), &last); err != nil {
		t.Fatal(err)
	}
	return last
}

// TestReservedClaimsAreRefused: by the API server already.
func TestReservedClaimsAreRefused(t *testing.T) {
	for _, name := range []string{"iss", "sub", "aud", "exp", "iat", "nbf", "jti", "client_id", "scope", "cnf"} {
		api := newAPI("default", "reserved", "https://reserved-claims.example.com", "read")
		api.Spec.Claims = []v1alpha1.ApiClaim{{Name: name, Expression: "client.id"}}
		err := world.Admin.Create(ctx, api)
		if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "must not be a claim that the issuer sets itself") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestClaimsInEveryDialect: what verifiers that were written for other servers look for.
func TestClaimsInEveryDialect(t *testing.T) {
	ready(t)
	newNamespaces(t, "dialects")
	api := newAPI("dialects", "api", "https://dialects.example.com", "read", "publish")
	for name, expression := range map[string]v1alpha1.Expression{
		"scp":         "scopes",
		"permissions": "scopes",
		"gty":         "'client-credentials'",
		"azp":         "client.id",
		"cid":         "client.id",
		"https://example.com/tenant": "{'namespace': client.namespace, ?'tier': client.labels[?'tier'], ?'colour': client.labels[?'colour'], " +
			"'limits': {'rps': 10, 'burst': 1.5, 'bursts': true}, 'apis': [{'name': api.name, 'aud': api.identifier}]}",
		"roles":  "scopes.exists(s, s == 'publish') ? ['publisher'] : []",
		"team":   "client.labels[?'team']",
		"asked":  "size(request.scopes)",
		"amr":    "[client.authentication]",
		"source": "request.source",
	} {
		api.Spec.Claims = append(api.Spec.Claims, v1alpha1.ApiClaim{Name: name, Expression: expression})
	}
	job := newClient("dialects", "job", map[string]string{"tier": "gold"})
	create(t, api, job, newGrant(api, job, "read", "publish"))
	caller := mount(t, "dialects", "job")
	caller.awaitVerdict("granted", api.Spec.Identifier)
	awaitReady(t, api)

	want := map[string]any{
		"iss": caller.issuer, "sub": "dialects.job", "client_id": "dialects.job", "aud": api.Spec.Identifier,
		"scp": []string{"read"}, "permissions": []string{"read"}, "scope": "read",
		"gty": "client-credentials", "azp": "dialects.job", "cid": "dialects.job",
		"https://example.com/tenant": map[string]any{
			"namespace": "dialects", "tier": "gold", "limits": map[string]any{"rps": 10, "burst": 1.5, "bursts": true},
			"apis": []map[string]string{{"name": "api", "aud": api.Spec.Identifier}},
		},
		"roles": []string{}, "team": nil, "asked": 1, "amr": []string{"ClientSecret"}, "source": "10.9.8.7",
	}
	wantClaims(t, verify(t, "dialects", "api", caller.ask(api.Spec.Identifier, "read", from("10.9.8.7")).AccessToken), want)
	want["scp"], want["permissions"], want["scope"] = []string{"publish", "read"}, []string{"publish", "read"}, "publish read"
	want["roles"], want["asked"], want["source"] = []string{"publisher"}, 0, "2001:db8::1"
	wantClaims(t, verify(t, "dialects", "api", caller.ask(api.Spec.Identifier, "", from("2001:db8::1")).AccessToken), want)
}
