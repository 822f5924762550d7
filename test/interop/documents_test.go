//go:build interop

package interop

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

// deviation is where we do not do as a document says, and why.
type deviation struct{ from, to, why string }

// Why words of a document are replaced that stand for what is the reader's own.
const (
	host       = "the host is ours"
	credential = "the credentials are ours"
	verified   = "the verifier's audience and issuer are ours"
)

// adapt is a piece of a document, with every deviation made. A deviation from what the document does not say is a
// mistake in the list.
func adapt(t *testing.T, piece string, deviations ...deviation) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata/documents", piece))
	if err != nil {
		t.Fatal(err)
	}
	adapted := string(text)
	for _, d := range deviations {
		if d.why == "" || !strings.Contains(adapted, d.from) {
			t.Fatalf("%s: no %q to replace, or no reason to", piece, d.from)
		}
		adapted = strings.ReplaceAll(adapted, d.from, d.to)
	}
	return adapted
}

var placeholder = regexp.MustCompile(`// DOCUMENT (\S+)`)

// program puts pieces of documents into a script of node/documents, and returns its path.
func program(t *testing.T, script string, pieces map[string]string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("node/documents", script))
	if err != nil {
		t.Fatal(err)
	}
	whole := placeholder.ReplaceAllStringFunc(string(text), func(line string) string {
		name := placeholder.FindStringSubmatch(line)[1]
		piece, ok := pieces[name]
		if !ok {
			t.Fatalf("%s wants %s", script, name)
		}
		return piece
	})
	path := filepath.Join(scripts, strings.ReplaceAll(t.Name(), "/", "-")+filepath.Ext(script))
	if err := os.WriteFile(path, []byte(whole), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// httpRequest is a request as documents write one down: a line with method and URL, one with a header, and a body.
var httpRequest = regexp.MustCompile(`^(\S+) (\S+)\n(\S+: \S+)\n(?s)(\{.*\})\s*$`)

// sendDocumented has curl send a request that is written down so.
func (i *issuer) sendDocumented(t *testing.T, text string) outcome {
	t.Helper()
	parts := httpRequest.FindStringSubmatch(text)
	if parts == nil {
		t.Fatalf("not a request: %q", text)
	}
	return i.curl(t, "--request", parts[1], "--url", parts[2], "--header", parts[3], "--data", parts[4])
}

func TestAuth0(t *testing.T) {
	ensureWorld(t)
	i := slash // Auth0's issuers end in a slash
	t.Run("request", func(t *testing.T) {
		request := func(secret string) outcome {
			return i.sendDocumented(t, adapt(t, "auth0/request.http",
				deviation{"<YOUR_AUTH0_DOMAIN>", i.server.Address, host},
				deviation{"<API_IDENTIFIER>", audience, "the audience is ours"},
				deviation{"<YOUR_CLIENT_ID>", i.caller.ID, credential},
				deviation{"<YOUR_CLIENT_SECRET>", secret, credential},
			))
		}
		i.wantOutcome(t, "request", request(i.caller.Secret), audience, scopes)
		if got := request("wrong"); got.Error != "invalid_client" {
			t.Errorf("a wrong secret: %+v", got)
		}
	})
	t.Run("Gift Deliveries", func(t *testing.T) {
		script := program(t, "auth0.cjs", map[string]string{"auth0/get-access-token.js": adapt(t, "auth0/get-access-token.js")})
		run := func(secret string) string {
			command := i.command(t, nil, "node", script)
			command.Env = append(command.Env, "AUTH0_DOMAIN="+i.server.Address, "RESOURCE_SERVER="+audience,
				"AUTH0_CLIENT_ID="+i.caller.ID, "AUTH0_CLIENT_SECRET="+secret)
			return output(t, command)
		}
		got := parse[struct{ Token string }](t, run(i.caller.Secret))
		i.wantClaims(t, "Gift Deliveries", got.Token, audience, scopes)
		refused := parse[struct{ Failure outcome }](t, run("wrong"))
		if refused.Failure.Error != "invalid_client" {
			t.Errorf("a wrong secret: %+v", refused)
		}
	})
}

func TestLoginRadius(t *testing.T) {
	ensureWorld(t)
	i := slash // LoginRadius's issuers end in a slash
	const management = "https://api.loginradius.com/identity/v2/manage"
	i.newAPI(t, "management", management, "profile:read", "profile:create")
	i.grant(t, "management", "publisher", "profile:read", "profile:create")
	i.awaitGrant(t, i.caller, management)

	common := []deviation{
		{"<LoginRadiusAppName>.hub.loginradius.com", i.server.Address, host},
		{"tokenContent-Type", "token\nContent-Type", "the document lost its line breaks"},
		{"json{", "json\n{", "the document lost its line breaks"},
		{"<YOUR_CLIENT_ID>", i.caller.ID, credential},
		{"<YOUR_CLIENT_SECRET>", i.caller.Secret, credential},
	}
	got := i.sendDocumented(t, adapt(t, "loginradius/management.http", common...))
	i.wantOutcome(t, "management", got, management, "profile:create profile:read")

	for _, path := range []string{"/service/oauth/token", "/services/oauth/token"} {
		got := i.sendDocumented(t, adapt(t, "loginradius/business.http", append(common,
			deviation{"/service/oauth/token", path, "the document names both paths, and a third place by a short link"},
			deviation{"<business API endpoint>", audience, "the audience is ours"})...))
		i.wantOutcome(t, path, got, audience, scopes)
	}

	lost := deviation{`\`, "", "the document lost its line breaks"}
	api := i.verifyingAPI(t)
	for audience, script := range map[string]string{
		management: adapt(t, "loginradius/management-call.sh", lost,
			deviation{"https://api.loginradius.com", api, host},
			deviation{"{uid}", "1", "the reader is to fill it in"},
			deviation{"eyJhb……….jVZ2w", i.tokenFor(t, i.caller, management), credential},
			deviation{"{apiKey}", "{apiKey}'", "the quotation mark is not closed"},
		),
		audience: adapt(t, "loginradius/business-call.sh", lost,
			deviation{"< API URL >", api + " ", host},
			deviation{"eyJh………VZ2w", i.tokenFor(t, i.caller, audience), credential},
		),
	} {
		if got := output(t, i.command(t, nil, "bash", "-c", script)); got != audience {
			t.Errorf("the API got a token for %q, want %q", got, audience)
		}
	}
}

// verifyingAPI answers with the audience of the token that it gets.
func (i *issuer) verifyingAPI(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		keys := oidc.NewRemoteKeySet(oidc.ClientContext(ctx, i.http), i.endpoint("/.well-known/jwks.json"))
		verifier := oidc.NewVerifier(i.url, keys, &oidc.Config{SkipClientIDCheck: true, SupportedSigningAlgs: []string{"RS256"}})
		verified, err := verifier.Verify(ctx, token)
		if err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, verified.Audience[0])
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestLogto(t *testing.T) {
	ensureWorld(t)
	i := oidcPath // Logto's token endpoint is /oidc/token
	const payments = "https://payment.example.com/api"
	i.newAPI(t, "payment-service", payments, "read:payment", "write:payment")
	cart := i.newClient(t, "jobs-"+i.name, "cart-service", nil)
	i.grant(t, "payment-service", "cart-service", "write:payment")
	i.awaitGrant(t, cart, payments)

	// The document's curl command and JavaScript are not in its text; this is what it says of them.
	body := adapt(t, "logto/body.txt")
	request := func(user, body string) outcome {
		return i.curl(t, "--request", "POST", "--url", "https://"+i.server.Address+"/oidc/token", "--user", user,
			"--header", "Content-Type: application/x-www-form-urlencoded", "--data", body)
	}
	for scope, rejected := range map[string]string{
		"": "", "&scope=write:payment": "", "&scope=write:payment read:payment": "read:payment", "&scope=read:payment write:payment": "read:payment",
	} {
		got := request(cart.ID+":"+cart.Secret, body+scope)
		i.wantOutcome(t, body+scope, got, payments, "write:payment")
		if got.Rejected != rejected {
			t.Errorf("%s: rejected %q, want %q", scope, got.Rejected, rejected)
		}
	}
	if got := request(cart.ID+":wrong", body); got.Error != "invalid_client" {
		t.Errorf("a wrong secret: %+v", got)
	}

	input, tokens := i.input(t), i.tokens(t)
	input["tokens"], input["jwksUri"] = tokens, "https://"+i.server.Address+"/oidc/jwks"
	wantVerdicts(t, tokens, verdictsOf(t, i.run(t, input, "node", "jose.mjs")))
}

func TestWSO2(t *testing.T) {
	ensureWorld(t)
	i := root
	api := i.serve(t, program(t, "wso2-api.mjs", map[string]string{
		"wso2/authentication.ts": adapt(t, "wso2/authentication.ts",
			deviation{"https://localhost:9444/oauth2/jwks", i.url + "/oauth2/jwks", host},
			deviation{" as GetVerificationKey", "", "it is TypeScript, and the type is not imported"},
			deviation{"MPydZFwuXfZfhdqHB_FnHRIjUKYa", audience, verified},
			deviation{"https://localhost:9444/oauth2/token", i.url, verified},
		),
		"wso2/scopes.ts": adapt(t, "wso2/scopes.ts",
			deviation{"...\n", "if (req.method === 'PATCH') { requiredScope = 'courses:publish'; }\n", "the document leaves this out"},
			deviation{"(expectedScope: string)", "(expectedScope)", "it is TypeScript"},
		),
		"wso2/create-course.ts": adapt(t, "wso2/create-course.ts",
			deviation{"checkScope,", "checkRequiredScope,", "checkScope is no handler, but makes one: the request would hang"},
		),
	}))
	tokens := i.tokens(t)
	wantStatuses(t, api, "GET", "/api/courses?status=approved", tokens, 200, 401)
	if status, body := call(t, api, "POST", "/api/courses", tokens[good]); status != 500 || !strings.Contains(body, "Missing required scope: courses:write") {
		t.Errorf("a course is created without the scope: %d %s", status, body)
	}

	job := func(secret string) (string, error) {
		script := adapt(t, "wso2/publish-courses.sh",
			deviation{"https://localhost:9443", i.url, host},
			deviation{"http://localhost:3000", api, host},
			deviation{"<client_id>", i.caller.ID, credential},
			deviation{"<client_secret>", secret, credential},
			deviation{"curl -k", `curl --cacert "$CA"`, "-k takes any certificate, and so gives the secret to anybody"},
			deviation{`date -j -f "%Y-%m-%d" "${startDate}"`, `date -d "${startDate}"`, "-j and -f are BSD's"},
		)
		command := i.command(t, nil, "bash", "-c", script)
		command.Env = append(command.Env, "CA="+i.caFile)
		text, err := command.CombinedOutput()
		return string(text), err
	}
	printed, err := job(i.caller.Secret)
	if err != nil || !strings.Contains(printed, "Publishing course: Compilers") || strings.Count(printed, "Course published successfully") != 1 {
		t.Errorf("the job: %v\n%s", err, printed)
	}
	if _, left := call(t, api, "GET", "/api/courses?status=approved", tokens[good]); strings.Contains(left, "Compilers") || !strings.Contains(left, "Far away") {
		t.Errorf("after the job these are approved: %s", left)
	}
	if printed, err := job("wrong"); err == nil || !strings.Contains(printed, "Failed to retrieve access token") {
		t.Errorf("the job with a wrong secret: %v\n%s", err, printed)
	}
}

func TestAuthing(t *testing.T) {
	ensureWorld(t)
	i := oidcPath // Authing's issuers end in /oidc
	const screen = "https://big-screen-display.example.com"
	declared := []v1alpha1.ScopeName{"announce:read", "announce:update", "write:article", "user-growth:2019:*",
		"user-growth:2019:read", "user-growth:2020:read", "revenue:create", "revenue:*:read", "customer:read"}
	i.newAPI(t, "big-screen-display", screen, declared...)
	outsourcer := func(name string, granted ...v1alpha1.ScopeName) credentials {
		c := i.newClient(t, "jobs-"+i.name, name, func(c *v1alpha1.M2MClient) { c.Spec.DefaultAudience = screen })
		i.grant(t, "big-screen-display", name, granted...)
		i.awaitGrant(t, c, screen)
		return c
	}
	a := outsourcer("a", "announce:read")
	b := outsourcer("b", "write:article", "user-growth:2019:*", "user-growth:2019:read", "revenue:create", "revenue:*:read", "customer:read")

	request := func(c credentials, scope string) outcome {
		script := program(t, "authing-request.cjs", map[string]string{"authing/request.js": adapt(t, "authing/request.js",
			deviation{"{application domain name}.authing.cn", i.server.Address, host},
			deviation{"{Programming access account Key}", c.ID, credential},
			deviation{"{Programming access account Secret}", c.Secret, credential},
			deviation{"{Permission items, separated by spaces}", scope, "the reader is to fill it in"},
		)})
		return parse[outcome](t, output(t, i.command(t, nil, "node", script)))
	}
	got := request(a, "announce:read announce:update revenue:read customer user-growth:read")
	i.wantOutcome(t, "A", got, screen, "announce:read")
	wantScopes(t, got.Rejected, "announce:update revenue:read customer user-growth:read")
	got = request(b, "user-growth:2020:read user-growth:2019:* user-growth:2019:read revenue:create revenue:*:read customer:read")
	wantScopes(t, got.Rejected, "user-growth:2020:read")
	if got := request(credentials{a.ID, "wrong"}, "announce:read"); got.Error != "invalid_client" {
		t.Errorf("a wrong secret: %+v", got)
	}

	api := i.serve(t, program(t, "authing-api.cjs", map[string]string{"authing/api.js": adapt(t, "authing/api.js",
		deviation{"require('express-jwt')", "require('express-jwt').expressjwt", "express-jwt's main export is named since version 7"},
		deviation{"https://{application domain name}.authing.cn", "https://" + i.server.Address, host},
		deviation{"{Programming access account ID}", screen, verified},
		deviation{"req.user.", "req.auth.", "express-jwt says who it is in req.auth since version 7"},
		deviation{"split('').incldues(", "split(' ').includes(", "spelling, and scopes are separated by spaces"},
		deviation{"app.listen(port)", "listens(app.listen(port))", "the test wants to know where"},
	)}))
	if status, body := call(t, api, "POST", "/article", request(b, "write:article").AccessToken); status != 200 || body != "Secured Resource" {
		t.Errorf("B's article: %d %s", status, body)
	}
	if status, body := call(t, api, "POST", "/article", i.tokenFor(t, a, screen)); status != 401 || !strings.Contains(body, "Unauthorized") {
		t.Errorf("A's article: %d %s", status, body)
	}
	for name, token := range i.tokens(t) { // none is for this API
		if status, body := call(t, api, "POST", "/article", token); status != 401 {
			t.Errorf("a token %s: %d %s", name, status, body)
		}
	}
}
