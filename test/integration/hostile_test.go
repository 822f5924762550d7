package integration

import (
	"testing"

	"github.com/m2m-operator/m2m-operator/test/canary"
)

// TestHostileRequestsLeaveNoTrace sends requests with something in every place where it does not belong. That nothing of
// it was written down anywhere is found out at the end of the run.
func TestHostileRequestsLeaveNoTrace(t *testing.T) {
	ensureIssuer(t)
	const api = "https://hostile.example.com"
	newAPI(t, "courses", "hostile", api, "read")
	create(t, grantOf("courses", "hostile", "hostile", "jobs", "hostile", "read"))
	id, secret := newCaller(t, "jobs", "hostile", nil)
	awaitVerdict(t, "granted", id, secret, "audience", api)
	caller := canary.Caller{ClientID: id, Secret: secret, Audience: api}
	for _, issuer := range issuers {
		for _, endpoint := range []string{"/machines/oauth2/token", "/machines/oauth2/introspect"} {
			for _, request := range world.Canary.HostileRequests("https://"+issuer.Address+endpoint, caller) {
				if a := do(t, issuer, request); a.status < 200 || a.status >= 500 {
					t.Errorf("%s: %d %s", endpoint, a.status, a.body)
				}
			}
		}
	}
	awaitVerdict(t, "granted", id, secret, "audience", api)
}
