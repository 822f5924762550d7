package cli_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/m2m-operator/m2m-operator/internal/cli"
)

const plugin = "kubectl m2m"

var (
	scripts = regexp.MustCompile("(?ms)^ *```(?:sh|yaml)\n(.*?)^ *```")
	inline  = regexp.MustCompile("`(" + plugin + " [^`\n]*)`")
)

// TestDocuments: the command lines of the plugin that the documents show are such: the command is there, with these flags,
// arguments and formats.
func TestDocuments(t *testing.T) {
	total := 0
	err := filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		switch name := entry.Name(); {
		case err != nil:
			return err
		case entry.IsDir() && path != "../.." && (strings.HasPrefix(name, ".") || name == "bin" || name == "node_modules"):
			return fs.SkipDir
		case entry.IsDir() || filepath.Ext(name) != ".md":
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, script := range scripts.FindAllStringSubmatch(string(text), -1) {
			for _, line := range lines(script[1]) {
				total++
				if err := try(line, true); err != nil {
					t.Errorf("%s: %s: %v", path, line, err)
				}
			}
		}
		for _, mention := range inline.FindAllStringSubmatch(string(text), -1) {
			for _, line := range lines(mention[1]) {
				total++
				if err := try(line, false); err != nil {
					t.Errorf("%s: %s: %v", path, line, err)
				}
			}
		}
		return nil
	})
	if err != nil || total < 30 {
		t.Errorf("there are %d command lines: %v", total, err)
	}
}

// TestExamples: those that the commands show themselves.
func TestExamples(t *testing.T) {
	total := 0
	var walk func(command *cobra.Command)
	walk = func(command *cobra.Command) {
		for _, line := range lines(command.Example) {
			total++
			if err := try(line, true); err != nil {
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

// lines are the command lines of the plugin in a script, each up to where the shell ends it.
func lines(script string) (out []string) {
	for line := range strings.SplitSeq(strings.ReplaceAll(script, "\\\n", " "), "\n") {
		for {
			at := strings.Index(line, plugin+" ")
			if at < 0 {
				break
			}
			if comment := strings.Index(line, "#"); comment >= 0 && comment < at {
				break // it is prose
			}
			line = line[at:]
			end := strings.IndexAny(line, "|><&;)#")
			if end < 0 {
				end = len(line)
			}
			out = append(out, strings.TrimSpace(line[:end]))
			line = line[end:]
		}
	}
	return out
}

// try parses a command line as the command would. A mention in prose may leave arguments out, and mean a group.
func try(line string, whole bool) error {
	root := cli.NewCommand(cli.Environment{})
	root.InitDefaultVersionFlag()
	command, rest, err := root.Find(strings.Fields(strings.NewReplacer(plugin, "", `"`, "", "'", "").Replace(line)))
	if err == nil {
		err = command.ParseFlags(rest)
	}
	if err != nil {
		return err
	}
	args := command.Flags().Args()
	switch {
	case !command.Runnable() && (len(args) > 0 || (whole && command.HasParent())):
		return errors.New(command.CommandPath() + " has no such command")
	case !whole || !command.Runnable():
		return nil
	}
	if err := command.ValidateArgs(args); err != nil || command.PreRunE == nil {
		return err
	}
	return command.PreRunE(command, args)
}

func TestWrongLinesAreFound(t *testing.T) {
	for _, line := range []string{
		"explode jobs.publisher", "keys list --nonsense", "keys nonsense", "keys", "explain", "who-can a/b c d", "diff -f a -o xml", "lint -o",
	} {
		if err := try(plugin+" "+line, true); err == nil {
			t.Errorf("%q is taken for a command", line)
		}
	}
	script := "kubectl m2m a | kubectl m2m b - > c # kubectl m2m no\n# kubectl m2m no\ncurl $(kubectl m2m d) && kubectl m2m e \\\n  f\n"
	if got, want := strings.Join(lines(script), "; "), "kubectl m2m a; kubectl m2m b -; kubectl m2m d; kubectl m2m e   f"; got != want {
		t.Errorf("the lines are %q, want %q", got, want)
	}
}
