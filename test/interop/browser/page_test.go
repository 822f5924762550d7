//go:build interop

// Package browser looks at the page of kubectl m2m graph in a real browser.
package browser

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/m2m-operator/m2m-operator/internal/cli"
)

const (
	few     = "../../../internal/graph/testdata/world.yaml"
	hostile = "../../../internal/graph/testdata/hostile.yaml"
	// screenshots are kept for people to look at.
	screenshots = "../../../bin/screenshots"
	megabyte    = 1 << 20
)

// page is the file that kubectl m2m graph writes of manifests.
func page(t *testing.T, manifests string) string {
	t.Helper()
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	out, errOut := &bytes.Buffer{}, &bytes.Buffer{}
	e := cli.Environment{
		IOStreams: genericiooptions.IOStreams{In: strings.NewReader(manifests), Out: out, ErrOut: errOut},
		Now:       func() time.Time { return time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC) },
	}
	if code := cli.Run(context.Background(), []string{"graph", "-o", "html", "-f", "-"}, e); code != 0 {
		t.Fatalf("exit status %d: %s", code, errOut)
	}
	file := filepath.Join(t.TempDir(), "access.html")
	if err := os.WriteFile(file, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// many writes manifests of 2,000 clients of 40 namespaces, 30 APIs and 2,030 grants.
func many() string {
	const head = "---\napiVersion: m2m-operator.io/v1alpha1\nkind: "
	out := &bytes.Buffer{}
	for i := range 30 {
		fmt.Fprintf(out, head+"ApiResource\nmetadata: {namespace: api-%d, name: api}\nspec: {identifier: \"https://api-%d.example.com\", "+
			"scopes: [{name: items:read}, {name: items:write}, {name: reports:read}]}\n", i, i)
		fmt.Fprintf(out, head+"ScopeGrant\nmetadata: {namespace: api-%d, name: team}\nspec: {apiResourceRef: {name: api}, scopes: [reports:read], "+
			"subjects: [{namespace: team-%d, selector: {matchLabels: {reports: \"yes\"}}}]}\n", i, i)
	}
	for i := range 2000 {
		reports, expires := "no", ""
		if i%3 == 0 {
			reports = "yes"
		}
		if i%100 == 7 {
			expires = ", expiresAt: \"2026-06-15T00:00:00Z\""
		}
		fmt.Fprintf(out, head+"M2MClient\nmetadata: {namespace: team-%d, name: client-%d, labels: {reports: \"%s\"}}\nspec: {displayName: Client number %d}\n"+
			"status: {nextRotationTime: \"2026-08-01T00:00:00Z\", credentials: [{id: \"%016d\", state: Current, verifier: v, pepperID: p, createdTime: \"2026-05-01T00:00:00Z\"}]}\n",
			i%40, i, reports, i, i)
		if i%50 == 0 {
			continue // nobody grants it anything but by its labels
		}
		fmt.Fprintf(out, head+"ScopeGrant\nmetadata: {namespace: api-%d, name: grant-%d}\nspec: {apiResourceRef: {name: api}, "+
			"subjects: [{namespace: team-%d, name: client-%d}], scopes: [items:read, items:write]%s}\n", i%30, i, i%40, i, expires)
	}
	return out.String()
}

// text of a file.
func text(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

const (
	clientsShown = `document.querySelectorAll('.matrix tbody tr:not(.more)').length`
	shown        = `document.getElementById('shown').value`
	focused      = `(document.activeElement.id || document.activeElement.textContent)`
	background   = `getComputedStyle(document.body).backgroundColor`
)

// set changes a filter as a person does, as far as the page can tell.
func (b *browser) set(id, property, value string) {
	b.t.Helper()
	b.eval(fmt.Sprintf(`{ const e = document.getElementById(%q); e.%s = %s; e.dispatchEvent(new Event('input', {bubbles: true})); 0 }`, id, property, value))
}

// reset clears the filters.
func (b *browser) reset() {
	b.t.Helper()
	b.eval(`document.getElementById('clear').click()`)
}

// untroubled: the page said nothing, asked nobody for anything, and shows nothing that is not for people.
func (b *browser) untroubled() {
	b.t.Helper()
	b.want(`/\[object|undefined|NaN|Infinity/.exec(document.body.innerText)`, "<nil>")
	for _, trouble := range b.trouble {
		b.t.Error(trouble)
	}
	b.trouble = nil
}

// fits: the page is no wider than the screen.
func (b *browser) fits() {
	b.t.Helper()
	b.want(`document.documentElement.scrollWidth <= innerWidth`, "true")
	b.want(`[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('.skip, thead')).length`, "0")
}

func TestTenClients(t *testing.T) {
	b := start(t)
	b.look(1280, 900, "light")
	b.open(page(t, text(t, few)))
	b.want(clientsShown, "10")
	b.want(shown, "10 of 10 clients, 9 of 9 grants")
	b.want(`document.querySelector('main section').id`, "problems")
	b.screenshot("ten-light", true)
	b.eval(`document.querySelectorAll('details').forEach(details => { details.open = false })`)
	b.look(1280, 1320, "light")
	b.screenshot("ten", false) // docs/cli has one of these

	b.set("search", "value", `'NIGHTLY'`)
	b.want(clientsShown, "1")
	b.set("search", "value", `'nothing has this name'`)
	b.want(`document.getElementById('matrix').textContent`, "No client fits the filters.")
	b.reset()
	b.want(clientsShown, "10")
	b.set("namespace", "value", `'fleet'`)
	b.want(clientsShown, "5")
	b.reset()
	b.set("api", "selectedIndex", `[...document.getElementById('api').options].findIndex(o => o.textContent === 'pay/payments')`)
	b.want(clientsShown, "1")
	b.want(`document.querySelectorAll('.matrix thead th').length`, "2")
	b.reset()
	b.set("client", "value", `'jobs.publisher'`)
	b.want(clientsShown, "1")
	b.reset()
	b.set("expiring", "checked", "true")
	b.want(shown, "2 of 10 clients, 1 of 9 grants")
	b.reset()
	b.set("problematic", "checked", "true")
	b.want(clientsShown, "1")
	b.reset()
	b.want(`[...document.querySelectorAll('input, select')].every(e => e.labels.length === 1)`, "true")
	b.want(`[...document.querySelectorAll('table')].every(e => e.querySelector('thead th[scope=col]') && e.querySelector('tbody th[scope=row]'))`, "true")
	b.untroubled()
}

// TestTenantsWriteText: what tenants write into every field is shown as text, and does nothing.
func TestTenantsWriteText(t *testing.T) {
	b := start(t)
	b.look(1280, 900, "light")
	b.open(page(t, text(t, hostile)))
	b.eval(`document.querySelectorAll('.matrix tbody button').forEach(button => button.click())`)
	b.want(`String(window.struck)`, "undefined")
	b.want(`document.querySelectorAll('main :is(img, script, iframe, svg, a, style)').length`, "0")
	b.want(`document.querySelector('.matrix tbody th .quiet').textContent`, `</script><img src=x onerror="window.struck=1"> name`)
	b.want(`document.getElementById('access').textContent.includes('\u202e')`, "false")
	for _, trouble := range b.trouble {
		t.Error(trouble)
	}
}

// TestThemes: the system's, until the button says another.
func TestThemes(t *testing.T) {
	b := start(t)
	b.look(1280, 900, "dark")
	b.open(page(t, text(t, few)))
	dark := b.eval(background)
	b.screenshot("ten-dark", true)
	b.eval(`document.getElementById('theme').click()`)
	light := b.eval(background)
	if dark == light {
		t.Errorf("the theme is %s in the light and in the dark", dark)
	}
	b.look(1280, 900, "light")
	b.want(background, light)
	b.eval(`document.getElementById('theme').click()`)
	b.want(background, dark)
	b.untroubled()
}

func TestPhone(t *testing.T) {
	b := start(t)
	for name, file := range map[string]string{"ten": page(t, text(t, few)), "many": page(t, many())} {
		b.look(375, 812, "light")
		b.open(file)
		b.fits()
		b.screenshot(name+"-phone-filters", false)
		b.want(`[...document.querySelectorAll('tr.more')].filter(e => e.getBoundingClientRect().height > 0).length`, "0")
		b.eval(`document.querySelectorAll('.matrix tbody button').forEach(button => button.click())`)
		b.fits()
		b.eval(`document.querySelector('.matrix tbody button').click()`)
		for _, section := range []string{"problems", "access", "grants", "secrets"} {
			b.eval(`document.getElementById('` + section + `').scrollIntoView()`)
			b.screenshot(name+"-phone-"+section, false)
		}
	}
	b.untroubled()
}

// TestKeyboard: everything is done by keys alone, and the focus is to be seen.
func TestKeyboard(t *testing.T) {
	b := start(t)
	b.look(1280, 900, "light")
	b.open(page(t, text(t, few)))
	b.press("Tab")
	b.want(focused, "Skip to the access")
	b.want(`document.activeElement.getBoundingClientRect().left >= 0`, "true")
	for range 20 {
		if b.eval(focused) == "search" {
			break
		}
		b.press("Tab")
		b.want(`getComputedStyle(document.activeElement).outlineStyle`, "solid")
	}
	b.want(focused, "search")
	b.write("publisher")
	b.press("Enter") // which submits nothing
	b.want(clientsShown, "1")
	for range 40 {
		if b.eval(focused) == "jobs.publisher" {
			break
		}
		b.press("Tab")
	}
	b.press("Enter")
	b.want(`document.activeElement.getAttribute('aria-expanded')`, "true")
	b.want(`document.querySelector('tr.more:not([hidden])').textContent.includes('by ScopeGrant courses/nightly-publisher')`, "true")
	b.eval(`document.querySelector('.matrix').scrollIntoView()`)
	b.screenshot("ten-details", false)
	b.press(" ")
	b.want(`document.activeElement.getAttribute('aria-expanded')`, "false")
	b.untroubled()
}

// TestTwoThousandClients: the page is of a bearable size, and draws no more at a time than can be looked at.
func TestTwoThousandClients(t *testing.T) {
	file := page(t, many())
	if info, err := os.Stat(file); err != nil || info.Size() > 4*megabyte {
		t.Errorf("the page has %d bytes (%v)", info.Size(), err)
	}
	b := start(t)
	b.look(1280, 900, "light")
	b.open(file)
	b.want(clientsShown, "50")
	b.screenshot("many-light", false)
	b.want(shown, "2,000 of 2,000 clients, 1,990 of 1,990 grants")
	if count, err := strconv.Atoi(b.eval(`document.querySelectorAll('main *').length`)); err != nil || count > 15000 {
		t.Errorf("%d elements are drawn at once (%v)", count, err)
	}
	b.eval(`document.querySelector('#matrix .pager button:last-child').click()`)
	b.want(`document.querySelector('#matrix .pager').textContent.includes('Page 2 of 40')`, "true")
	b.want(focused, "Next")
	b.set("search", "value", `'number 1234'`)
	b.want(clientsShown, "1")
	b.reset()
	b.set("expiring", "checked", "true")
	b.want(clientsShown, "20")
	b.reset()
	b.set("problematic", "checked", "true")
	b.want(clientsShown, "30") // nobody granted them anything
	b.screenshot("many-problems", false)
	b.reset()
	t.Logf("a search takes %s ms", b.eval(`(() => { const from = performance.now(), e = document.getElementById('search'); e.value = 'client-19'; e.dispatchEvent(new Event('input', {bubbles: true})); return Math.round(performance.now() - from) })()`))
	b.untroubled()
}
