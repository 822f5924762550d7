package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// terminal writes what the demo says. It colours only what a person sees.
type terminal struct {
	out      io.Writer
	colour   bool
	sections int
}

func newTerminal(f *os.File) *terminal {
	info, err := f.Stat()
	isTerminal := err == nil && info.Mode()&os.ModeCharDevice != 0
	return &terminal{out: f, colour: isTerminal && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
}

const (
	bold  = "1"
	dim   = "2"
	red   = "31"
	green = "32"
	cyan  = "36"
)

func (t *terminal) paint(code, text string) string {
	if !t.colour {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// line is the one place that writes. Whoever could be told that it failed would be told here.
func (t *terminal) line(format string, args ...any) {
	_, _ = fmt.Fprintf(t.out, format+"\n", args...)
}

// section begins a numbered chapter.
func (t *terminal) section(title string) {
	t.sections++
	t.line("\n%s", t.paint(bold, fmt.Sprintf("%d. %s", t.sections, title)))
}

// say writes a sentence of the story.
func (t *terminal) say(format string, args ...any) {
	t.line("   %s", fmt.Sprintf(format, args...))
}

// ok says what was checked and holds.
func (t *terminal) ok(format string, args ...any) {
	t.line("   %s %s", t.paint(green, "✓"), fmt.Sprintf(format, args...))
}

// okTook is ok with the time that it took.
func (t *terminal) okTook(took time.Duration, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	t.line("   %s %-78s %s", t.paint(green, "✓"), text, t.paint(dim, fmt.Sprintf("%6.1f s", took.Seconds())))
}

// command shows what is run.
func (t *terminal) command(format string, args ...any) {
	t.line("   %s", t.paint(cyan, "$ "+fmt.Sprintf(format, args...)))
}

// block shows the output of something, as it is.
func (t *terminal) block(text string) {
	for line := range strings.Lines(strings.TrimRight(text, "\n")) {
		t.line("%s", strings.TrimRight("     "+line, " \n"))
	}
}

// showEnd of a log.
func (t *terminal) showEnd(path string) {
	t.say("The end of %s:", path)
	t.block(tail(path, 8))
}

func (t *terminal) failed(format string, args ...any) {
	t.line("\n%s", t.paint(red, "✗ "+fmt.Sprintf(format, args...)))
}

func (t *terminal) verdict(format string, args ...any) {
	t.line("\n%s", t.paint(bold+";"+green, fmt.Sprintf(format, args...)))
}
