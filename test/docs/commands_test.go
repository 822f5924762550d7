package docs

import (
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/m2m-operator/m2m-operator/internal/cli"
)

const plugin = "kubectl m2m"

var mention = regexp.MustCompile("`(" + plugin + " [^`\n]*)`")

// TestCommands: the command lines of kubectl m2m that the documents show are such: the command is there, with these flags,
// arguments and formats.
func TestCommands(t *testing.T) {
	total := 0
	check := func(document, script string, whole bool) {
		for _, line := range commandLines(script) {
			total++
			if err := parse(line, whole); err != nil {
				t.Errorf("%s: %s: %v", strings.TrimPrefix(document, root+"/"), line, err)
			}
		}
	}
	for _, document := range documents(t) {
		for _, block := range append(blocks(t, document, "sh"), blocks(t, document, "yaml")...) {
			check(document, block, true)
		}
		text, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range mention.FindAllStringSubmatch(string(text), -1) {
			check(document, match[1], false)
		}
	}
	if total < 50 {
		t.Errorf("there are %d command lines", total)
	}
}

// TestCommandExamples: those that the commands show themselves.
func TestCommandExamples(t *testing.T) {
	total := 0
	var walk func(command *cobra.Command)
	walk = func(command *cobra.Command) {
		for _, line := range commandLines(command.Example) {
			total++
			if err := parse(line, true); err != nil {
				t.Errorf("%s: %v", line, err)
			}
		}
		for _, child := range command.Commands() {
			walk(child)
		}
	}
	walk(cli.NewCommand(cli.Environment{}))
	if total < 10 {
		t.Errorf("there are %d examples", total)
	}
}

// commandLines are those of kubectl m2m in a script, each up to where the shell ends it.
func commandLines(script string) (out []string) {
	for line := range strings.SplitSeq(strings.ReplaceAll(script, "\\\n", " "), "\n") {
		for {
			at := strings.Index(line, plugin+" ")
			if at < 0 || strings.Contains(line[:at], "#") { // none, or in a comment
				break
			}
			line = line[at:]
			end := strings.IndexAny(line, "|><&;)#")
			if end < 0 {
				end = len(line)
			}
			out = append(out, strings.Join(strings.Fields(line[:end]), " "))
			line = line[end:]
		}
	}
	return out
}

// parse takes a command line as the command would. One that is mentioned, and not whole, may leave arguments out, and
// name a group of commands.
func parse(line string, whole bool) error {
	top := cli.NewCommand(cli.Environment{})
	top.InitDefaultVersionFlag()
	command, rest, err := top.Find(strings.Fields(strings.NewReplacer(plugin, "", `"`, "", "'", "").Replace(line)))
	if err != nil {
		return err
	}
	if err := command.ParseFlags(rest); err != nil {
		return err
	}
	args := command.Flags().Args()
	switch {
	case command.HasSubCommands() && (len(args) > 0 || (whole && command.HasParent())):
		return errors.New(command.CommandPath() + " is a group of commands, and has no such one")
	case command.HasSubCommands() || !whole:
		return nil
	}
	if err := command.ValidateArgs(args); err != nil || command.PreRunE == nil {
		return err
	}
	return command.PreRunE(command, args)
}

func TestWrongCommandsAreFound(t *testing.T) {
	for _, line := range []string{
		"explode jobs.publisher", "keys list --nonsense", "keys nonsense", "keys", "explain", "who-can a/b c d", "diff -f a -o xml", "lint -o",
	} {
		if err := parse(plugin+" "+line, true); err == nil {
			t.Errorf("%q is taken for a command", line)
		}
	}
	script := "kubectl m2m a | kubectl m2m b - > c # kubectl m2m no\n# kubectl m2m no\ncurl $(kubectl m2m d) && kubectl m2m e \\\n  f\n"
	if got, want := strings.Join(commandLines(script), "; "), "kubectl m2m a; kubectl m2m b -; kubectl m2m d; kubectl m2m e f"; got != want {
		t.Errorf("the lines are %q, want %q", got, want)
	}
}
