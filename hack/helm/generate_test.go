package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"
)

// TestGenerated: the chart says what config says now.
func TestGenerated(t *testing.T) {
	fresh := t.TempDir()
	if err := generate(config, fresh); err != nil {
		t.Fatal(err)
	}
	made := 0
	err := filepath.WalkDir(fresh, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		made++
		name, err := filepath.Rel(fresh, path)
		if err != nil {
			return err
		}
		want, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if got, err := os.ReadFile(filepath.Join(chartDirectory, name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("config/chart/%s is stale (%v): run `make chart-generate`", name, err)
		}
		return nil
	})
	if err != nil || made < 10 {
		t.Errorf("%d files: %v", made, err)
	}
}

func TestTemplatesTakeNoBraces(t *testing.T) {
	if _, err := template(source{from: "rbac/x.yaml"}, []byte("a: '{{ .x }}'\n")); err == nil {
		t.Error("a manifest with braces is made a template")
	}
}

// TestPack: the same bytes twice, and a chart that Helm takes, with the versions and the image that were asked for.
func TestPack(t *testing.T) {
	s := stamp{version: "1.2.3", appVersion: "v1.2.3", repository: "registry.example.com/m2m-operator"}
	first, err := pack(chartDirectory, s)
	if err != nil {
		t.Fatal(err)
	}
	second, err := pack(chartDirectory, s)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, second) {
		t.Error("two archives of one chart differ")
	}
	c, err := loader.LoadArchive(bytes.NewReader(first))
	if err != nil {
		t.Fatal(err)
	}
	if c.Name() != "m2m-operator" || c.Metadata.Version != "1.2.3" || c.AppVersion() != "v1.2.3" {
		t.Errorf("the chart is %+v", c.Metadata)
	}
	if image := c.Values["image"].(map[string]any); image["repository"] != s.repository {
		t.Errorf("the image is %v", image)
	}
	if len(c.Schema) == 0 || len(c.Templates) != len(loadChart(t).Templates) || len(c.Files) != len(loadChart(t).Files) {
		t.Errorf("it holds %d templates and %d files", len(c.Templates), len(c.Files))
	}
}

func TestBadArguments(t *testing.T) {
	for _, args := range [][]string{
		nil, {"lint"}, {"package"}, {"package", "-version", "1.2.3", "-app-version", "v1"}, {"package", "-unknown"},
		{"package", "-version", "one", "-app-version", "v1", "-o", t.TempDir()},
		{"package", "-version", "1.02.3", "-app-version", "v1", "-o", t.TempDir()},
		{"package", "-version", "1.2", "-app-version", "v1", "-o", t.TempDir()},
		{"package", "-version", "v1.2.3", "-app-version", "v1", "-o", t.TempDir()},
		{"package", "-version", "1.2.3-rc.01", "-app-version", "v1", "-o", t.TempDir()},
		{"package", "-version", "1.2.3", "-app-version", "v1", "-o", filepath.Join(t.TempDir(), "nowhere")},
		{"package", "-version", "1.2.3", "-app-version", "v1", "-o", t.TempDir(), "more"},
	} {
		if err := run(args); err == nil {
			t.Errorf("%q is taken", args)
		}
	}
}
