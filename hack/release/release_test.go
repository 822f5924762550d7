package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

var created = time.Unix(1_700_000_000, 0).UTC()

func write(t *testing.T, directory, name, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(directory, name)
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestArchives: the same bytes whatever the files' times, owners' rights and order are, and everything is in them.
func TestArchives(t *testing.T) {
	one, two := t.TempDir(), t.TempDir()
	first := []string{write(t, one, "tool", "binary", 0o700), write(t, one, "LICENSE", "text", 0o600)}
	second := []string{write(t, two, "LICENSE", "text", 0o644), write(t, two, "tool", "binary", 0o755)}
	if err := os.Chtimes(second[0], created, created); err != nil {
		t.Fatal(err)
	}
	contents := map[string]func(*testing.T, []byte) []string{"x.tar.gz": tarContents, "x.zip": zipContents}
	for name, list := range contents {
		a, err := archive(options{out: name, created: created, files: first})
		if err != nil {
			t.Fatal(err)
		}
		b, err := archive(options{out: name, created: created, files: second})
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a, b) {
			t.Errorf("%s: two archives of the same files differ", name)
		}
		want := "[LICENSE 644 text tool 755 binary]"
		if got := fmt.Sprint(list(t, a)); got != want {
			t.Errorf("%s holds %s, want %s", name, got, want)
		}
	}
	if _, err := archive(options{out: "x.rar", files: first}); err == nil {
		t.Error("a name that is of no known archive is taken")
	}
}

func tarContents(t *testing.T, data []byte) (out []string) {
	t.Helper()
	compressed, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	reader := tar.NewReader(compressed)
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		text, readErr := io.ReadAll(reader)
		if err != nil || readErr != nil {
			t.Fatal(err, readErr)
		}
		if !header.ModTime.Equal(created) || header.Uname != "" || header.Uid != 0 {
			t.Errorf("%s is of %v and %q", header.Name, header.ModTime, header.Uname)
		}
		out = append(out, fmt.Sprintf("%s %o %s", header.Name, header.Mode, text))
	}
}

func zipContents(t *testing.T, data []byte) (out []string) {
	t.Helper()
	reader, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range reader.File {
		opened, err := file.Open()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(opened)
		if err != nil || !file.Modified.Equal(created) {
			t.Errorf("%s is of %v (%v)", file.Name, file.Modified, err)
		}
		out = append(out, fmt.Sprintf("%s %o %s", file.Name, file.Mode().Perm(), text))
	}
	return out
}

func TestChecksums(t *testing.T) {
	directory := t.TempDir()
	write(t, directory, "b", "2", 0o600)
	write(t, directory, "a", "1", 0o600)
	out := write(t, directory, "SHA256SUMS", "of an earlier run", 0o600)
	got, err := checksums(options{out: out, files: []string{directory}})
	if want := fmt.Sprintf("%x  a\n%x  b\n", sha256.Sum256([]byte("1")), sha256.Sum256([]byte("2"))); err != nil || string(got) != want {
		t.Errorf("%s%v, want %s", got, err, want)
	}
	if _, err := checksums(options{out: out, files: []string{t.TempDir()}}); err == nil {
		t.Error("nothing has checksums")
	}
}

// TestEncode: each module once, with the hash of go.sum, a replaced one by what replaces it, in an order of its own.
func TestEncode(t *testing.T) {
	sum := "h1:1Kqa2YOtVukyxsbjWd+1svPabNdzVKL2+ukCnu2G3C4="
	library := componentOf(&debug.Module{Path: "example.com/library", Version: "v1.2.3", Sum: sum})
	replaced := componentOf(&debug.Module{Path: "example.com/gone", Version: "v0.1.0", Replace: &debug.Module{Path: "example.com/kept", Version: "v2.0.0"}})
	root := cdx.Component{BOMRef: "m2m-operator", Type: cdx.ComponentTypeApplication, Name: "m2m-operator", Version: "v1"}
	encoded, err := encode(options{created: created}, root,
		map[string]cdx.Component{replaced.BOMRef: replaced, library.BOMRef: library},
		map[string][]string{"tool": {replaced.BOMRef, library.BOMRef, library.BOMRef}})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(encoded), `"specVersion": "1.6"`) {
		t.Errorf("it is of another version than scanners read:\n%s", encoded)
	}
	var bom cdx.BOM
	if err := json.Unmarshal(encoded, &bom); err != nil {
		t.Fatal(err)
	}
	var purls []string
	for _, c := range *bom.Components {
		purls = append(purls, c.PackageURL)
	}
	want := "pkg:golang/example.com/kept@v2.0.0 pkg:golang/example.com/library@v1.2.3"
	if got := strings.Join(purls, " "); got != want {
		t.Errorf("components are %s, want %s", got, want)
	}
	if got := strings.Join(*(*bom.Dependencies)[0].Dependencies, " "); got != want {
		t.Errorf("the tool holds %s, want %s", got, want)
	}
	if hashes := *(*bom.Components)[1].Hashes; len(hashes) != 1 || hashes[0].Value != "d4aa9ad983ad56e932c6c6e359dfb5b2f3da6cd77354a2f6fae9029eed86dc2e" {
		t.Errorf("hashes are %v", hashes)
	}
	if bom.Metadata.Timestamp != "2023-11-14T22:13:20Z" {
		t.Errorf("it is of %s", bom.Metadata.Timestamp)
	}
}

// TestForeignBinaries have no place in the product's SBOM; nor has what is no binary of Go's.
func TestForeignBinaries(t *testing.T) {
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{own, write(t, t.TempDir(), "script", "#!/bin/sh\n", 0o700)} {
		if _, err := sbom(options{files: []string{path}}); err == nil {
			t.Errorf("%s is taken", path)
		}
	}
}

func TestBadArguments(t *testing.T) {
	for _, args := range [][]string{nil, {"upload"}, {"archive"}, {"archive", "-o", "x.zip"}, {"checksums", "."}, {"archive", "-created", "today"}} {
		if err := run(args); err == nil {
			t.Errorf("%q is taken", args)
		}
	}
}
