package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

var (
	fenced  = regexp.MustCompile("(?ms)^ *```.*?^ *```")
	code    = regexp.MustCompile("`[^`\n]*`")
	link    = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#{1,6} +(.*?) *$`)
	linked  = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
)

// anchors are the places in a document that a link can lead to, as GitHub names them.
func anchors(text string) map[string]bool {
	out := map[string]bool{}
	for _, match := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		title := strings.ReplaceAll(linked.ReplaceAllString(match[1], "$1"), "`", "")
		name := strings.Map(func(r rune) rune {
			switch {
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				return unicode.ToLower(r)
			case r == ' ':
				return '-'
			}
			return -1
		}, title)
		unique := name
		for i := 1; out[unique]; i++ {
			unique = fmt.Sprintf("%s-%d", name, i)
		}
		out[unique] = true
	}
	return out
}

// brokenLinks of a document are those within the repository that lead nowhere; checked counts all of them.
func brokenLinks(document string) (broken []string, checked int, err error) {
	text, err := os.ReadFile(document)
	if err != nil {
		return nil, 0, err
	}
	prose := code.ReplaceAllString(fenced.ReplaceAllString(string(text), ""), "")
	for _, match := range link.FindAllStringSubmatch(prose, -1) {
		target, anchor, _ := strings.Cut(match[1], "#")
		if strings.Contains(target, ":") {
			continue // of another site
		}
		checked++
		path := document
		if target != "" {
			path = filepath.Join(filepath.Dir(document), target)
		}
		info, err := os.Stat(path)
		if err != nil {
			broken = append(broken, match[1])
			continue
		}
		if anchor == "" {
			continue
		}
		there, err := os.ReadFile(path)
		if info.IsDir() || err != nil || !anchors(string(there))[anchor] {
			broken = append(broken, match[1])
		}
	}
	return broken, checked, nil
}

// TestLinks: those between the documents lead somewhere.
func TestLinks(t *testing.T) {
	total := 0
	for _, document := range documents(t) {
		broken, checked, err := brokenLinks(document)
		if err != nil {
			t.Fatal(err)
		}
		total += checked
		for _, target := range broken {
			t.Errorf("%s: %s leads nowhere", strings.TrimPrefix(document, root+"/"), target)
		}
	}
	if total < 100 {
		t.Errorf("there are %d links", total)
	}
}

func TestBrokenLinksAreFound(t *testing.T) {
	directory := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(directory, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("other.md", "# The `other` one, [linked](x)\n\n```sh\n# No heading\n```\n\n## Twice\n\n## Twice\n")
	document := write("document.md", "# Own\n[a](other.md) [b](#own) [c](other.md#the-other-one-linked) [d](other.md#twice-1) [e](https://example.com/x#y) "+
		"`[f](code.md)`\n```\n[g](block.md)\n```\n[h](gone.md) [i](#gone) [j](other.md#no-heading) [k](other.md#twice-2) [l](.#own)\n")
	broken, checked, err := brokenLinks(document)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(broken, " "), "gone.md #gone other.md#no-heading other.md#twice-2 .#own"; got != want || checked != 9 {
		t.Errorf("of %d links %q lead nowhere, want %q of 9", checked, got, want)
	}
}
