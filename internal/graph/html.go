package graph

import (
	"crypto/sha256"
	_ "embed" // the page's parts
	"encoding/base64"
	"html/template"
	"io"
	"strconv"
)

var (
	//go:embed page/page.html
	page string
	//go:embed page/style.css
	style string
	//go:embed page/script.js
	script string

	pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{"count": count}).Parse(page))

	// policy lets run and apply what the page was made with, and nothing else; and lets the page fetch nothing at all.
	// Nothing in the page makes HTML from text, which trusted types hold it to where the browser knows them.
	policy = "default-src 'none'; script-src '" + hash(script) + "'; style-src '" + hash(style) + "'; " +
		"base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)

// hash names an inline script or style in a Content-Security-Policy (CSP Level 3, section 2.3.1).
func hash(content string) string {
	sum := sha256.Sum256([]byte(content))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// count writes a number as the page's script does: 2,000.
func count(n int) string {
	text := strconv.Itoa(n)
	for at := len(text) - 3; at > 0; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return text
}

// HTML writes the model as a page that is all there is to it: it can be opened from a file, or mailed.
func HTML(out io.Writer, m Model) error {
	return pageTemplate.Execute(out, struct {
		Model
		Policy string
		Style  template.CSS
		Script template.JS
	}{m, policy, template.CSS(style), template.JS(script)}) //nolint:gosec // both are this package's own files
}
