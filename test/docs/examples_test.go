package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestExamples: what the pages on integrations show is what is tested: each of the example files, whole.
func TestExamples(t *testing.T) {
	pages, err := filepath.Glob(filepath.Join(root, "docs/integrations/*.md"))
	if err != nil {
		t.Fatal(err)
	}
	var shown strings.Builder
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		shown.Write(text)
	}
	files := 0
	err = filepath.WalkDir(filepath.Join(root, "docs/integrations/examples"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		files++
		text, err := os.ReadFile(path)
		if !strings.Contains(shown.String(), "\n"+string(text)+"```\n") {
			t.Errorf("no page shows %s as it is", path)
		}
		return err
	})
	if err != nil || files < 6 {
		t.Errorf("there are %d examples: %v", files, err)
	}
}

// TestPolicy: the admission policy that the page shows is the sample's, which is tested.
func TestPolicy(t *testing.T) {
	sample, err := os.ReadFile(filepath.Join(root, "config/samples/management-api/policy.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	shown := 0
	for _, block := range blocks(t, filepath.Join(root, "docs/management-api.md"), "yaml") {
		if strings.Contains(block, "matchConditions:") {
			shown++
			if !strings.Contains(string(sample), "\n"+block) {
				t.Errorf("the sample has no\n%s", block)
			}
		}
	}
	if shown != 1 {
		t.Errorf("the page shows %d policies", shown)
	}
}
