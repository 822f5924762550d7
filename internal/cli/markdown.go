package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/m2m-operator/m2m-operator/internal/review"
)

const (
	// maxComment is what a comment may be long: GitHub takes 65536 characters, and a pipeline may add a few.
	maxComment = 60_000
	// maxRemarks is the part of it that notes may take, and maxCell what one text of a table may.
	maxRemarks, maxCell = 10_000, 2_000
)

// markdown is for a comment on a pull request. Where not all changes fit, those that widen access come first.
func markdown(d review.Diff) string {
	remarks := remarks(d.Notes)
	var out strings.Builder
	out.WriteString("### What this changes in access\n\n")
	if len(d.Changes) == 0 {
		out.WriteString("Nothing: clients may do afterwards what they may do now.\n")
		return out.String() + remarks
	}
	if d.Widens {
		out.WriteString("**Access is widened.**\n\n")
	}
	out.WriteString("| | client | scope | API | |\n|---|---|---|---|---|\n")
	room := maxComment - out.Len() - len(remarks) - len(omitted(d.Changes))
	changes := slices.Clone(d.Changes)
	if rows, all := fit(changes, room); all {
		return out.String() + strings.Join(rows, "") + remarks
	}
	slices.SortStableFunc(changes, func(a, b review.Change) int { return cmp.Compare(rank(a), rank(b)) })
	rows, _ := fit(changes, room)
	return out.String() + strings.Join(rows, "") + omitted(changes[len(rows):]) + remarks
}

// rank orders what widens access before what does not.
func rank(c review.Change) int {
	if c.Widens {
		return 0
	}
	return 1
}

// fit are the rows of the first changes that there is room for, and whether these are all.
func fit(changes []review.Change, room int) ([]string, bool) {
	var rows []string
	for _, c := range changes {
		next := row(c)
		if room -= len(next); room < 0 {
			return rows, false
		}
		rows = append(rows, next)
	}
	return rows, true
}

func row(c review.Change) string {
	verb, object := sentence(c)
	if object != "" {
		verb += " " + code(object)
	}
	audience := ""
	if c.Audience != "" {
		audience = code(c.Audience)
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %s |\n", code(c.Sign), code(c.Subject()), verb, audience, code(c.Detail))
}

// omitted counts the changes that there was no room for.
func omitted(changes []review.Change) string {
	widening := 0
	for _, c := range changes {
		widening += 1 - rank(c)
	}
	return fmt.Sprintf("\n**And %s more**, of which %d widen access: kubectl m2m diff lists them all.\n", count(len(changes), "change"), widening)
}

func remarks(notes []string) string {
	if len(notes) == 0 {
		return ""
	}
	out := "\n"
	for i, note := range notes {
		next := "- " + code(note) + "\n"
		if len(out)+len(next) > maxRemarks {
			return out + fmt.Sprintf("- and %s more\n", count(len(notes)-i, "note"))
		}
		out += next
	}
	return out
}

// code is a text as it is, whatever it holds, if it is not too long.
func code(text string) string {
	text = plain(text)
	if len(text) > maxCell {
		text = strings.ToValidUTF8(text[:maxCell], "") + "…"
	}
	return "`` " + strings.NewReplacer("`", "'", "|", `\|`).Replace(text) + " ``"
}
