package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	k8syaml "sigs.k8s.io/yaml"
)

// Formats of answers.
const (
	formatText     = ""
	formatWide     = "wide"
	formatJSON     = "json"
	formatYAML     = "yaml"
	formatMarkdown = "markdown"
)

// addOutput gives a command -o.
func addOutput(cmd *cobra.Command, format *string, formats ...string) {
	cmd.Flags().StringVarP(format, "output", "o", formatText, "Output format: "+strings.Join(formats, ", ")+"; for people if it is left out")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp)) // the flag exists
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if *format != formatText && !slices.Contains(formats, *format) {
			return usage("there is no output format %q: there are %s", *format, strings.Join(formats, ", "))
		}
		return nil
	}
}

// print writes an answer for programs, or else as people shows it.
func (s *session) print(format string, answer any, people func(p *page)) error {
	switch format {
	case formatJSON:
		text, err := json.MarshalIndent(answer, "", "  ")
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(s.Out, "%s\n", text)
		return err
	case formatYAML:
		text, err := k8syaml.Marshal(answer)
		if err != nil {
			return err
		}
		_, err = s.Out.Write(text)
		return err
	}
	p := &page{colours: s.Colours}
	people(p)
	_, err := io.WriteString(s.Out, p.text.String())
	return err
}

// Terminal reports whether colours may be used: on a terminal, unless NO_COLOR or TERM say otherwise.
func Terminal(out *os.File) bool {
	return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(out.Fd()))
}

// colour is a parameter of the escape sequence SGR; "" is none.
type colour string

const (
	ordinary colour = ""
	bold     colour = "1"
	red      colour = "31"
	green    colour = "32"
	yellow   colour = "33"
)

// page is an answer for people.
type page struct {
	colours bool
	text    strings.Builder
}

// line adds a line.
func (p *page) line(format string, args ...any) { p.coloured(ordinary, format, args...) }

// coloured adds a line in one colour.
func (p *page) coloured(c colour, format string, args ...any) {
	text := plain(fmt.Sprintf(format, args...))
	if p.colours && c != ordinary {
		text = "\x1b[" + string(c) + "m" + text + "\x1b[0m"
	}
	p.text.WriteString(text + "\n")
}

// table adds aligned columns below their headings. Columns without any content are left out.
func (p *page) table(headings []string, rows [][]string) {
	if len(rows) == 0 {
		return
	}
	widths := make([]int, len(headings))
	for _, row := range rows {
		for i, cell := range row {
			if row[i] = plain(cell); cell != "" {
				widths[i] = max(widths[i], utf8.RuneCountInString(row[i]), len(headings[i]))
			}
		}
	}
	p.coloured(bold, "%s", aligned(headings, widths))
	for _, row := range rows {
		p.line("%s", aligned(row, widths))
	}
}

func aligned(row []string, widths []int) string {
	var out strings.Builder
	for i, cell := range row {
		if widths[i] > 0 {
			out.WriteString(cell + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
		}
	}
	return strings.TrimRight(out.String(), " ")
}

// notes adds what else one should know, if there is anything.
func (p *page) notes(notes []string) {
	if len(notes) == 0 {
		return
	}
	p.line("")
	p.coloured(bold, "Notes")
	for _, item := range notes {
		p.line("- %s", item)
	}
}

// plain makes text of tenants' harmless for a terminal: what is not to be seen is replaced, and lines are not broken.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case !unicode.IsPrint(r):
			return '\uFFFD'
		}
		return r
	}, text)
}

func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// count is "1 error", "2 errors".
func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}
