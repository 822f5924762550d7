package scenarios

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

// fill puts a workload's credential, and what else is the reader's own, into a request as a document writes it down.
func (w workload) fill(document string, others ...string) string {
	return strings.NewReplacer(append(others, "<client_id>", w.id, "<client_secret>", w.secret,
		"<YOUR_CLIENT_ID>", w.id, "<YOUR_CLIENT_SECRET>", w.secret)...).Replace(document)
}

// courseManagement: the nightly job may read approved courses and publish them, and not write any.
func courseManagement(t *testing.T) {
	const courses = "https://courses.example.com/api"
	job := mount(t, "jobs", "publisher")
	job.awaitVerdict("granted", courses)
	// curl -d sends these as they are. The document's job names no audience; the sample's does, as it has no default one.
	ask := func(scope string) answer {
		return job.post("/oauth2/token", formType, job.fill("grant_type=client_credentials&client_id=<client_id>&client_secret=<client_secret>"+
			"&scope="+scope+"&audience="+courses))
	}
	got := ask("courses:read-approved courses:publish")
	wantToken(t, "the job's request", got, "courses:publish courses:read-approved", "")
	if got.ExpiresIn != 600 {
		t.Errorf("the token lives for %d s", got.ExpiresIn)
	}
	wantClaims(t, verify(t, "courses", "course-api", got.AccessToken), map[string]any{
		"aud": courses, "sub": "jobs.publisher", "client_id": "jobs.publisher", "scope": "courses:publish courses:read-approved",
	})
	wantToken(t, "more than it may", ask("courses:publish courses:write"), "courses:publish", "courses:write")
	wantError(t, "a course of its own", ask("courses:write"), "invalid_scope")
	wantError(t, "another API", job.ask("https://payment.example.com/api", ""), "invalid_target")
}

// noSecret: a pod proves itself by the token that kubelet gives it.
func noSecret(t *testing.T) {
	const courses = "https://courses.example.com/api"
	mounted := get(t, &corev1.ConfigMap{}, "jobs", "reporter-endpoint")
	data := map[string][]byte{}
	for key, value := range mounted.Data {
		data[key] = []byte(value)
	}
	pod := workloadOf(t, data)
	projected := get(t, &batchv1.Job{}, "jobs", "reporter").Spec.Template.Spec.Volumes[0].Projected.Sources[0].ServiceAccountToken
	if projected.Audience != pod.issuer {
		t.Errorf("the Job wants a token for %s, the issuer is %s", projected.Audience, pod.issuer)
	}
	kubelet := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		Audiences: []string{projected.Audience}, ExpirationSeconds: projected.ExpirationSeconds,
	}}
	account := &corev1.ServiceAccount{ObjectMeta: named("jobs", "reporter")}
	if err := world.Admin.SubResource("token").Create(ctx, account, kubelet); err != nil {
		t.Fatal(err)
	}
	ask := func(scope string) answer {
		return pod.post("/oauth2/token", formType, url.Values{
			"grant_type": {"client_credentials"}, "audience": {courses}, "scope": {scope},
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
			"client_assertion":      {kubelet.Status.Token},
		}.Encode())
	}
	var got answer
	suite.Eventually(t, func() string {
		if got = ask(""); got.status != http.StatusOK {
			return got.String()
		}
		return ""
	})
	wantToken(t, "the reporter", got, "courses:read-published", "")
	wantClaims(t, verify(t, "courses", "course-api", got.AccessToken), map[string]any{"sub": "jobs.reporter"})
	wantError(t, "what the publisher may", ask("courses:publish"), "invalid_scope")
}

// cartAndPayment: the role checkout lets the cart service create payments, and not read them.
func cartAndPayment(t *testing.T) {
	const body = "grant_type=client_credentials&resource=https://payment.example.com/api"
	cart := mount(t, "cart", "cart-service")
	cart.awaitVerdict("granted", "https://payment.example.com/api")
	ask := func(rest string) answer { return cart.post("/oidc/token", formType, body+rest, cart.basic) }

	got := ask("")
	wantToken(t, "the resource alone", got, "write:payment", "")
	wantClaims(t, verify(t, "payment", "payment-service", got.AccessToken), map[string]any{
		"aud": "https://payment.example.com/api", "sub": "cart.cart-service", "scope": "write:payment",
	})
	wantToken(t, "what the role has", ask("&scope=write:payment"), "write:payment", "")
	wantToken(t, "both", ask("&scope=write:payment read:payment"), "write:payment", "read:payment")
	wantToken(t, "both, the other way round", ask("&scope=read:payment write:payment"), "write:payment", "read:payment")
	wantError(t, "what the role has not", ask("&scope=read:payment"), "invalid_scope")
	wantError(t, "its own API, which is none", cart.ask("https://cart.example.com/api", ""), "invalid_target")
	wantError(t, "two resources", ask("&resource=https://cart.example.com/api"), "invalid_target")
	awaitWishes(t, "cart", "cart-service", "payment/payment-service Granted []")
}

// bigScreenDisplay: two outsourcers, each with its part of hierarchical scopes.
func bigScreenDisplay(t *testing.T) {
	const screen = "https://big-screen.example.com/api"
	a, b := mount(t, "outsourcer-a", "display"), mount(t, "outsourcer-b", "display")
	a.awaitVerdict("granted", screen)
	b.awaitVerdict("granted", screen)
	ask := func(w workload, scope string) answer {
		return w.post("/oidc/token", formType, url.Values{
			"grant_type": {"client_credentials"}, "client_id": {w.id}, "client_secret": {w.secret}, "scope": {scope},
		}.Encode())
	}
	got := ask(a, "announce:read announce:update revenue:read customer user-growth:read")
	wantToken(t, "A", got, "announce:read", "announce:update customer revenue:read user-growth:read")
	if got.ExpiresIn != 3600 {
		t.Errorf("A's token lives for %d s", got.ExpiresIn)
	}
	wantClaims(t, verify(t, "big-screen", "big-screen-display", got.AccessToken), map[string]any{
		"scope": "announce:read", "azp": "outsourcer-a.display", "aud": screen, "rejected_scope": nil,
	})
	got = ask(b, "user-growth:2020:read user-growth:2019:* user-growth:2019:read revenue:create revenue:*:read customer:read")
	wantToken(t, "B", got, "customer:read revenue:*:read revenue:create user-growth:2019:* user-growth:2019:read", "user-growth:2020:read")
	wantClaims(t, verify(t, "big-screen", "big-screen-display", got.AccessToken), map[string]any{
		"scope": "customer:read revenue:*:read revenue:create user-growth:2019:* user-growth:2019:read",
	})
	// All that can be said of announcements, and all that A may of it.
	wantToken(t, "A, in nine forms", ask(a, "announce:1:read announce:*:read announce:read announce:*:* announce:* announce *:*:* *:* *"),
		"announce:*:read announce:1:read announce:read", "* *:* *:*:* announce announce:* announce:*:*")
	wantToken(t, "A, all", ask(a, ""), "announce:*:read", "")
	wantToken(t, "B, all", ask(b, ""), "customer:*:read revenue:*:create revenue:*:read revenue:*:update user-growth:2019:*", "")
	for what, got := range map[string]answer{
		"A what B may":                       ask(a, "revenue:read"),
		"B what A may":                       ask(b, "announce:read"),
		"B another year":                     ask(b, "user-growth:2020:read"),
		"B all years":                        ask(b, "user-growth"),
		"B to delete revenue":                ask(b, "revenue:7:delete"),
		"B what is no scope of the syntax":   ask(b, "revenue::read revenue:1:read:twice"),
		"B to change customers, whoever":     ask(b, "customer:update"),
		"A everything, in the shortest form": ask(a, "*"),
	} {
		wantError(t, what, got, "invalid_scope")
	}
}

// giftDeliveries: a service of the shop asks another one for the way.
func giftDeliveries(t *testing.T) {
	const mappers = "https://world-mappers.shop.example.com/"
	gifts := mount(t, "shop", "gift-deliveries")
	gifts.awaitVerdict("granted", mappers)
	ask := func(audience, scope string) answer {
		request := "{\n" + `  "audience": "<API_IDENTIFIER>",
  "grant_type": "client_credentials",
  "client_id": "<YOUR_CLIENT_ID>",
  "client_secret": "<YOUR_CLIENT_SECRET>"` + scope + "\n}\n"
		return gifts.post("/oauth/token", "application/json", gifts.fill(request, "<API_IDENTIFIER>", audience),
			func(r *http.Request) { r.Header.Set("Cache-Control", "no-cache") })
	}
	got := ask(mappers, "")
	wantToken(t, "Gift Deliveries", got, "read:directions", "")
	wantClaims(t, verify(t, "shop", "world-mappers-api", got.AccessToken), map[string]any{
		"aud": mappers, "sub": "shop.gift-deliveries", "scope": "read:directions",
		"gty": "client-credentials", "azp": "shop.gift-deliveries", "permissions": []string{"read:directions"},
	})
	wantError(t, "addresses", ask(mappers, `, "scope": "read:addresses read:coordinates"`), "invalid_scope")
	wantError(t, "the identifier without its slash", ask(strings.TrimSuffix(mappers, "/"), ""), "invalid_target")

	// Another service of the shop, which somebody else may call.
	wallet, till := newAPI("shop", "wallet", "https://wallet.shop.example.com/", "read:balance"), newClient("shop", "till", nil)
	create(t, wallet, till, newGrant(wallet, till, "read:balance"))
	mount(t, "shop", "till").awaitVerdict("granted", wallet.Spec.Identifier)
	wantError(t, "another service's audience", ask(wallet.Spec.Identifier, ""), "invalid_target")
}

// archiveStorage: one service writes, the other reads.
func archiveStorage(t *testing.T) {
	const storage = "https://service.example.com/api/v2"
	archiver, reader := mount(t, "services", "archiver"), mount(t, "services", "reader")
	ask := func(w workload, scope string) answer {
		return w.post("/service/oauth/token", "application/json", w.fill(
			`{"audience": "<business API endpoint>","grant_type": "client_credentials","client_id": "<YOUR_CLIENT_ID>","client_secret": "<YOUR_CLIENT_SECRET>"`+
				scope+`}`, "<business API endpoint>", storage))
	}
	for _, who := range []struct {
		workload
		may, mayNot string
	}{{archiver, "archive:write", "archive:read"}, {reader, "archive:read", "archive:write"}} {
		who.awaitVerdict("granted", storage)
		got := ask(who.workload, "")
		wantToken(t, who.id, got, who.may, "")
		wantClaims(t, verify(t, "storage", "storage-api", got.AccessToken), map[string]any{
			"aud": storage, "sub": who.id, "scp": []string{who.may}, "cid": who.id, "gty": "client_credentials",
		})
		wantToken(t, who.id+" by name", ask(who.workload, `,"scope":"`+who.may+`"`), who.may, "")
		wantError(t, who.id+" what the other may", ask(who.workload, `,"scope":"`+who.mayNot+`"`), "invalid_scope")
		wantToken(t, who.id+" both", ask(who.workload, `,"scope":"archive:read archive:write"`), who.may, who.mayNot)
	}
	// The reader's scopes are its own: the archiver's secret does not open them.
	thief := reader
	thief.secret = archiver.secret
	if got := thief.ask(storage, ""); got.status != http.StatusUnauthorized || got.Error != "invalid_client" {
		t.Errorf("the reader with the archiver's secret: %s", got)
	}
}

// hooks: a claim by label, refusals by tenant and by network, and a scope that is limited by a condition.
func hooks(t *testing.T) {
	const (
		catalogue, ledger, orders = "https://catalogue.example.com/api", "https://ledger.example.com/api", "https://orders.example.com/api"
		plan                      = "https://example.com/plan"
	)
	storefront, staging, visitor := mount(t, "acme", "storefront"), mount(t, "acme", "storefront-staging"), mount(t, "trial", "visitor")
	for _, who := range []struct {
		workload
		plan any
	}{{storefront, "gold"}, {staging, nil}, {visitor, nil}} {
		who.awaitVerdict("granted", catalogue)
		got := who.ask(catalogue, "")
		wantToken(t, who.id, got, "read:catalogue", "")
		wantClaims(t, verify(t, "back-office", "catalogue", got.AccessToken), map[string]any{plan: who.plan, "sub": who.id})
	}

	inside, outside := from("10.1.2.3"), from("192.0.2.1")
	storefront.awaitVerdict("granted", ledger, inside)
	wantToken(t, "a tenant inside", storefront.ask(ledger, "", inside), "create:entries", "")
	wantDenied(t, "a tenant outside", storefront.ask(ledger, "", outside), "the ledger is for the company network only")
	visitor.awaitVerdict("access_denied", ledger, inside)
	for _, where := range []func(*http.Request){inside, outside} {
		wantDenied(t, "a trial tenant", visitor.ask(ledger, "create:entries", where), "trial tenants may not use the ledger")
	}
	wantError(t, "whom no grant names", staging.ask(ledger, "", inside), "invalid_target")

	storefront.awaitVerdict("granted", orders)
	staging.awaitVerdict("granted", orders)
	wantToken(t, "production", storefront.ask(orders, "read:orders write:orders"), "read:orders write:orders", "")
	wantToken(t, "staging", staging.ask(orders, "read:orders write:orders"), "read:orders", "write:orders")
	wantToken(t, "staging, all", staging.ask(orders, ""), "read:orders", "")
	wantDenied(t, "staging, writing alone", staging.ask(orders, "write:orders"), "orders are written in production only")
}

// awaitWishes waits until a client's status says so of its requests: the API, the state and what is missing.
func awaitWishes(t testing.TB, namespace, name string, want ...string) {
	t.Helper()
	suite.Eventually(t, func() string {
		var got []string
		for _, r := range get(t, &v1alpha1.M2MClient{}, namespace, name).Status.Requests {
			got = append(got, fmt.Sprintf("%s/%s %s %v", r.ApiResource.Namespace, r.ApiResource.Name, r.State, r.Missing))
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			return fmt.Sprintf("status.requests is %q, want %q", got, want)
		}
		return ""
	})
}
