package main

import (
	"debug/elf"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestReference tells what a Pod spec's image comes to, and what is refused.
func TestReference(t *testing.T) {
	for given, want := range map[string]string{
		"localhost/m2m-operator:3fe0dde-dirty":    "localhost/m2m-operator:3fe0dde-dirty",
		"m2m-operator/m2m-operator:v1":            "docker.io/m2m-operator/m2m-operator:v1",
		"course-api:e2e":                          "docker.io/library/course-api:e2e",
		"registry.example:5000/a/m2m-operator:v1": "registry.example:5000/a/m2m-operator:v1",
		"localhost/m2m-operator:v1-2-g3fe0dde":    "localhost/m2m-operator:v1-2-g3fe0dde",
	} {
		got, err := parseReference(given)
		if err != nil || got.String() != want {
			t.Errorf("%s is %v, %v, want %s", given, got, err, want)
			continue
		}
		if tag, err := got.tag(); err != nil || tag.String() != want {
			t.Errorf("%s is written as %s, %v", given, tag, err)
		}
	}
	for given, want := range map[string]string{
		"":                                       "want NAME:TAG",
		"localhost/m2m-operator":                 "want NAME:TAG",
		"localhost/m2m-operator:":                "want NAME:TAG",
		"localhost/m2m-operator:v1+build":        "no +",
		"localhost/m2m-operator:release/v1":      "no /",
		"localhost/M2M:v1":                       "want NAME:TAG",
		"localhost/m2m-operator:latest":          "another tag than latest",
		"a:v1@sha256:" + strings.Repeat("0", 64): "want NAME:TAG",
		"a:" + strings.Repeat("0", 129):          "at most 128",
	} {
		if got, err := parseReference(given); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q gives %v, %v, want an error that says %q", given, got, err, want)
		}
	}
}

// TestRefusals: nothing is packed that could not run, and nothing is left behind.
func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	script, foreign, dynamic, static := filepath.Join(dir, "script"), filepath.Join(dir, "foreign"), filepath.Join(dir, "dynamic"), filepath.Join(dir, "static")
	check(t, os.WriteFile(script, []byte("#!/bin/sh\n"), 0o600))
	check(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module m\n"), 0o600))
	check(t, os.WriteFile(filepath.Join(dir, "main.go"), []byte("package main\n\nfunc main() {}\n"), 0o600))
	env := []string{"CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOFLAGS="}
	command(t, dir, env, "go", "build", "-o", static, ".")
	content, err := os.ReadFile(static)
	check(t, err)
	binary.LittleEndian.PutUint32(content[64:], uint32(elf.PT_INTERP)) // the first segment's type
	check(t, os.WriteFile(dynamic, content, 0o600))
	command(t, dir, append(env, "GOARCH=arm64"), "go", "build", "-o", foreign, ".")
	out := filepath.Join(dir, "out", "x")
	good := []string{"-ref", ref, "-o", out, "-platform", "linux/amd64", "-binary", "a=" + static}
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "say where"},
		{[]string{"-ref", ref, "-o", out}, "say what to pack"},
		{[]string{"-o", out, "-binary", "a=" + static}, "want NAME:TAG"},
		{append(good, "extra"), "unexpected argument"},
		{append(good, "-binary", "b"), "NAME=PATH"},
		{append(good, "-binary", "../b=x"), "NAME=PATH"},
		{append(good, "-platform", "windows/amd64"), "linux/amd64 or linux/arm64"},
		{append(good, "-platform", "linux/s390x"), "linux/amd64 or linux/arm64"},
		{append(good, "-binary", "b="+filepath.Join(dir, "missing")), "paths must be absolute"},
		{append(good, "-binary", "b="+script), "CGO_ENABLED=0 GOOS=linux GOARCH=amd64 go build"},
		{append(good, "-binary", "b="+foreign), "is for EM_AARCH64, want EM_X86_64"},
		{append(good, "-binary", "b="+dynamic), "linked dynamically"},
	} {
		if err := run(c.args, io.Discard); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q gives %v, want an error that says %q", c.args, err, c.want)
		}
	}
	if files, _ := filepath.Glob(out + "*"); len(files) > 0 {
		t.Errorf("left behind: %v", files)
	}
	check(t, run(good, io.Discard))
	if files, _ := filepath.Glob(out + "*"); len(files) != 1 || files[0] != out+"-amd64.tar" {
		t.Errorf("wrote %v, want one archive", files)
	}
}
