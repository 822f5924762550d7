package main

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"debug/elf"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

const (
	version  = "v0.0.0-image-test"
	ref      = "localhost/m2m-operator:" + version
	created  = 1700000000
	certFile = "/etc/ssl/certs/ca-certificates.crt"
)

// TestMakeImage looks into what `make image` makes: what is in it, and nothing else.
func TestMakeImage(t *testing.T) {
	bin := t.TempDir()
	makeImage(t, bin)
	again := t.TempDir()
	pack(t, bin, again)

	index := readOCI(t, filepath.Join(bin, "m2m-operator.oci.tar"))
	if len(index) != 2 {
		t.Errorf("the OCI archive holds %d images, want 2", len(index))
	}
	for arch, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		t.Run(arch, func(t *testing.T) {
			image := readDocker(t, filepath.Join(bin, "m2m-operator-"+arch+".tar"))
			checkConfig(t, image, arch)
			checkFiles(t, image)
			if image.config.Architecture != index[arch].config.Architecture || fmt.Sprint(image.files) != fmt.Sprint(index[arch].files) {
				t.Error("the OCI archive's image is another than the Docker archive's")
			}
			for _, command := range []string{"manager", "issuer"} {
				checkBinary(t, image.files["/m2m-"+command].content, "./cmd/"+command, arch, machine)
			}
		})
	}
	for _, name := range []string{"m2m-operator-amd64.tar", "m2m-operator-arm64.tar", "m2m-operator.oci.tar"} {
		if sum(t, filepath.Join(bin, name)) != sum(t, filepath.Join(again, name)) {
			t.Errorf("%s: packed twice, and the bytes differ", name)
		}
	}
}

// TestSameBinaryFromElsewhere compiles the token server from a checkout in another directory, holding nothing but what
// .dockerignore lets a `docker build` see, and wants the same bytes.
func TestSameBinaryFromElsewhere(t *testing.T) {
	root, copied, out := repository(t), t.TempDir(), t.TempDir()
	for _, name := range buildContext(t, root) {
		if strings.HasPrefix(name, "go.") {
			content, err := os.ReadFile(filepath.Join(root, name))
			check(t, err, os.WriteFile(filepath.Join(copied, name), content, 0o600))
			continue
		}
		check(t, os.CopyFS(filepath.Join(copied, name), os.DirFS(filepath.Join(root, name))))
	}
	for name, dir := range map[string]string{"here": root, "elsewhere": copied} {
		command(t, dir, []string{"CGO_ENABLED=0", "GOOS=linux"}, "go", "build", "-buildvcs=false", "-trimpath", "-ldflags",
			"-s -w -X github.com/m2m-operator/m2m-operator/internal/version.Version="+version, "-o", filepath.Join(out, name), "./cmd/issuer")
	}
	command(t, copied, nil, "go", "build", "-o", os.DevNull, "./cmd/manager")
	if sum(t, filepath.Join(out, "here")) != sum(t, filepath.Join(out, "elsewhere")) {
		t.Error("the directory that it is compiled in shows in the binary")
	}
}

// TestDockerfile holds the Dockerfile, which no test here can run, to what the packed image is.
func TestDockerfile(t *testing.T) {
	root := repository(t)
	dockerfile, err := os.ReadFile(filepath.Join(root, "Dockerfile"))
	module, err2 := os.ReadFile(filepath.Join(root, "go.mod"))
	check(t, err, err2)
	_, after, _ := strings.Cut(string(module), "\ngo ")
	goVersion := strings.Join(strings.Split(strings.Fields(after)[0], ".")[:2], ".")
	for _, want := range []string{
		"golang:" + goVersion + ".", "\nFROM scratch\n", "\nUSER " + user + "\n", `ENTRYPOINT ["/m2m-manager"]`, certFile, "/m2m-issuer",
		"CGO_ENABLED=0", "-trimpath", "-buildvcs=false", "internal/version.Version=",
		"org.opencontainers.image.title", "org.opencontainers.image.version", "org.opencontainers.image.source",
		"org.opencontainers.image.licenses", "org.opencontainers.image.revision",
	} {
		if !strings.Contains(string(dockerfile), want) {
			t.Errorf("the Dockerfile says nowhere %q", want)
		}
	}
}

// makeImage runs `make image` of the project into a directory of its own.
func makeImage(t *testing.T, bin string) {
	t.Helper()
	command(t, repository(t), nil, "make", "image", "BIN="+bin, "ARCHES=amd64 arm64", "IMAGE="+ref, "VERSION="+version,
		"CREATED="+fmt.Sprint(created), "REVISION=0123abc")
}

// pack packs the same binaries into another directory, at another time.
func pack(t *testing.T, bin, out string) {
	t.Helper()
	check(t, os.Chtimes(filepath.Join(bin, "linux-amd64", "m2m-issuer"), time.Unix(1, 0), time.Unix(1, 0)))
	check(t, run([]string{
		"-ref", ref, "-o", filepath.Join(out, "m2m-operator"), "-platform", "linux/amd64", "-platform", "linux/arm64",
		"-created", fmt.Sprint(created), "-revision", "0123abc",
		"-binary", "m2m-manager=" + bin + "/linux-{arch}/m2m-manager", "-binary", "m2m-issuer=" + bin + "/linux-{arch}/m2m-issuer",
	}, io.Discard))
}

// checkBinary wants a static, stamped binary of the right machine, and runs it if this is such a machine.
func checkBinary(t *testing.T, content []byte, of, arch string, machine elf.Machine) {
	t.Helper()
	program, err := elf.NewFile(bytes.NewReader(content))
	check(t, err)
	libraries, err := program.ImportedLibraries()
	if program.Machine != machine || len(libraries) > 0 || (err != nil && !strings.Contains(err.Error(), "no symbol")) {
		t.Errorf("%s: machine %s, want %s; libraries %v, want none: %v", of, program.Machine, machine, libraries, err)
	}
	info, err := buildinfo.Read(bytes.NewReader(content))
	check(t, err)
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	if "./"+strings.TrimPrefix(info.Path, info.Main.Path+"/") != of || settings["GOARCH"] != arch || settings["GOOS"] != "linux" ||
		settings["CGO_ENABLED"] != "0" || settings["-trimpath"] != "true" || settings["vcs.time"] != "" {
		t.Errorf("%s: built as %s with %v", of, info.Path, settings)
	}
	if !bytes.Contains(content, []byte(version)) {
		t.Errorf("%s does not know its version", of)
	}
	if arch != runtime.GOARCH || runtime.GOOS != "linux" {
		return
	}
	path := filepath.Join(t.TempDir(), "binary")
	check(t, os.WriteFile(path, content, 0o700))
	if got := command(t, ".", nil, path, "--version"); got != version+"\n" {
		t.Errorf("%s --version says %q, want %q", of, got, version)
	}
}

// repository is the directory of the project.
func repository(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	check(t, err)
	return root
}

// buildContext is what .dockerignore lets through.
func buildContext(t *testing.T, root string) []string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, ".dockerignore"))
	check(t, err)
	var names []string
	for line := range strings.Lines(string(content)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "!"); ok {
			names = append(names, name)
		}
	}
	return names
}

func sum(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	check(t, err)
	return fmt.Sprintf("%x", sha256.Sum256(content))
}

func command(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, stderr.Bytes())
	}
	return string(out)
}

func check(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}
