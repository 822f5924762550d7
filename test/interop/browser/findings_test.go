//go:build interop

package browser

import "testing"

const (
	firstGrants  = `[...document.querySelectorAll('#grant-list tbody th')].slice(0, 2).map(e => e.firstChild.textContent).join()`
	lastGrant    = `[...document.querySelectorAll('#grant-list tbody th')].pop().firstChild.textContent`
	firstClients = `[...document.querySelectorAll('.matrix tbody tr:not(.more) th button')].slice(0, 3).map(e => e.textContent).join()`
	problems     = `document.querySelectorAll('#problem-list li').length`
	address      = `location.hash`
)

// press a button of the page by its text.
func (b *browser) button(text string) {
	b.t.Helper()
	b.want(`(() => { const e = [...document.querySelectorAll('button')].find(e => e.textContent === '`+text+`'); e?.click(); return Boolean(e) })()`, "true")
}

// TestFindings: a search finds whatever is wrong or asked for, every problem leads to what it is of, and what ends next
// comes first.
func TestFindings(t *testing.T) {
	b := start(t)
	b.look(1280, 900, "light")
	b.open(page(t, text(t, few)))
	b.want(problems, "10")
	for search, clients := range map[string]string{
		"RotationOverdue": "1", "courses:delete": "1", "NotGranted": "1", "serviceaccount": "1", "client.authentication ==": "1", "suspended": "1",
	} {
		b.set("search", "value", `'`+search+`'`)
		if got := b.eval(clientsShown); got != clients {
			t.Errorf("%q finds %s clients, want %s", search, got, clients)
		}
	}
	b.set("search", "value", `'UnknownScope'`)
	b.want(shown, "1 of 10 clients, 1 of 9 grants")
	b.reset()
	b.set("expiring", "checked", "true")
	b.want(problems, "2") // of the issuer, whose certificate ends
	b.reset()

	b.want(firstGrants, "courses/editors,courses/summer")
	b.want(lastGrant, "pay/outsourcer")
	b.button("ScopeGrant pay/outsourcer")
	b.want(focused, "grants")
	b.want(firstGrants, "pay/outsourcer")
	b.reset()
	b.button("TokenIssuer default")
	b.want(focused, "keys")
	b.want(shown, "10 of 10 clients, 9 of 9 grants")
	b.button("ApiResource courses/duplicate")
	b.want(focused, "access")
	b.want(`document.getElementById('api').value`, "courses/duplicate")
	b.reset()

	b.set("sort", "value", `'problems'`)
	b.want(firstClients, "jobs.importer,fleet.sensor-1,fleet.sensor-2")
	b.set("sort", "value", `'end'`)
	b.want(firstClients, "jobs.publisher,jobs.reporter,shop.checkout")
	b.screenshot("ten-sorted", false)
	b.untroubled()
}

// TestAddress: what is looked for can be linked to, and links within the page leave it as it is.
func TestAddress(t *testing.T) {
	b := start(t)
	b.look(1280, 900, "light")
	file := page(t, text(t, few))
	b.open(file)
	b.want(address, "")
	b.button("ScopeGrant pay/outsourcer")
	b.want(address, "#search=pay%2Foutsourcer")
	b.set("namespace", "value", `'pay'`)
	b.set("problematic", "checked", "true")
	b.want(address, "#search=pay%2Foutsourcer&namespace=pay&problematic=yes")
	b.eval(`document.querySelector('nav a[href="#grants"]').click()`)
	b.want(focused, "grants")
	b.want(address, "#search=pay%2Foutsourcer&namespace=pay&problematic=yes")
	b.reset()
	b.want(address, "")

	b.open(file + "#api=pay%2Fpayments&sort=end&expiring=yes")
	b.want(`document.getElementById('api').value + document.getElementById('sort').value + document.getElementById('expiring').checked`, "pay/paymentsendtrue")
	b.eval(`document.getElementById('clear').click(); location.hash = 'search=NIGHTLY'`)
	b.until(clientsShown, "1")
	b.eval(`location.hash = 'search=outsourcer'`)
	b.until(shown, "0 of 10 clients, 1 of 9 grants")
	b.open(file + "#api=nobody%2Fnothing&sort=__proto__&namespace=none&other=1") // which is of another cluster's page
	b.want(shown, "10 of 10 clients, 9 of 9 grants")
	b.open(file + "#grants")
	b.want(focused, "grants")
	b.untroubled()
}

// TestPrint: on paper is everything that fits the filters, with what they are; and then the page is as it was.
func TestPrint(t *testing.T) {
	b := start(t)
	b.look(1280, 900, "light")
	b.open(page(t, many()))
	b.want(firstClients, "team-0.client-0,team-0.client-40,team-0.client-80")
	b.eval(`document.querySelector('#matrix .pager button:last-child').click()`)
	second := b.eval(firstClients)
	b.eval(`document.querySelector('.matrix tbody button').click()`)
	b.eval(`dispatchEvent(new Event('beforeprint'))`)
	b.want(clientsShown, "2000")
	b.want(`document.querySelectorAll('#grant-list tbody tr').length`, "1990")
	b.want(`document.querySelectorAll('#problem-list li').length`, "30")
	b.want(`document.querySelectorAll('.pager').length`, "0")
	b.want(`document.querySelectorAll('tr.more:not([hidden])').length`, "1")
	b.eval(`dispatchEvent(new Event('afterprint'))`)
	b.want(clientsShown, "50")
	b.want(firstClients, second)

	b.set("search", "value", `'number 12'`)
	b.look(720, 900, "light")
	b.call("Emulation.setEmulatedMedia", map[string]any{"media": "print"})
	b.want(`[...document.querySelectorAll('tr.more')].filter(e => e.getBoundingClientRect().height > 0).length`, "0")
	b.fits() // as paper cuts off what does not
	b.screenshot("many-paper", false)
	b.want(`getComputedStyle(document.getElementById('shown')).display !== 'none' && getComputedStyle(document.getElementById('search').parentNode).display`, "none")
	b.want(`document.querySelector('nav').textContent.includes('2,000 clients')`, "true")
	b.untroubled()
}
