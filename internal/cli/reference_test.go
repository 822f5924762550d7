package cli_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/m2m-operator/m2m-operator/internal/cli"
)

// reference is where the pages are, beside one that a person wrote.
const reference = "../../docs/cli"

// TestReference: the reference in docs/cli is that of the commands. -update, or `make reference`, writes it anew.
func TestReference(t *testing.T) {
	fresh := t.TempDir()
	command := cli.NewCommand(cli.Environment{})
	untag(command)
	if err := doc.GenMarkdownTree(command, fresh); err != nil {
		t.Fatal(err)
	}
	pages := names(t, fresh)
	if len(pages) < 15 {
		t.Fatalf("there are %d pages", len(pages))
	}
	if *update {
		for page := range names(t, reference) {
			if err := os.Remove(filepath.Join(reference, page)); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.CopyFS(reference, os.DirFS(fresh)); err != nil {
			t.Fatal(err)
		}
	}
	for page := range names(t, reference) {
		if !pages[page] {
			t.Errorf("docs/cli/%s is of no command: make reference", page)
		}
	}
	for page := range pages {
		want, err := os.ReadFile(filepath.Join(fresh, page))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join(reference, page)); err != nil || string(got) != string(want) {
			t.Errorf("docs/cli/%s is stale: make reference (%v)", page, err)
		}
	}
}

// untag leaves out the date of the generation.
func untag(command *cobra.Command) {
	command.DisableAutoGenTag = true
	for _, child := range command.Commands() {
		untag(child)
	}
}

func names(t *testing.T, folder string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "kubectl_m2m*.md"))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]bool{}
	for _, file := range files {
		out[filepath.Base(file)] = true
	}
	return out
}
