// Command image packs static binaries into a container image, without a container engine, a registry or a base image:
//
//	go -C hack/image run . -ref localhost/m2m-operator:v1.2.3 -o /abs/bin/m2m-operator \
//	    -platform linux/amd64 -platform linux/arm64 -created "$(git log -1 --format=%ct)" -revision "$(git rev-parse HEAD)" \
//	    -binary m2m-manager=/abs/bin/linux-{arch}/m2m-manager -binary m2m-issuer=/abs/bin/linux-{arch}/m2m-issuer
//
// The image holds these binaries at /, /etc/ssl/certs/ca-certificates.crt and nothing else. It runs as 65532:65532; its
// entrypoint is the first binary, so a Deployment of another one says `command: ["/m2m-issuer"]`. The same binaries and
// flags give the same bytes: nothing is taken from the machine's clock, user or file times.
//
// Written are one Docker archive per platform (OUT-amd64.tar), which `docker load`, `ctr -n k8s.io images import` and
// `kind load image-archive` take, and with more than one platform an OCI archive of all (OUT.oci.tar), which they take as
// well, save for `docker load` with Docker's classic image store; it is the one to copy to a registry.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

type options struct {
	ref       reference
	out       string
	platforms []v1.Platform
	created   time.Time
	revision  string
	binaries  []program
}

func parse(args []string) (options, error) {
	var o options
	var ref string
	var created int64
	flags := flag.NewFlagSet("image", flag.ContinueOnError)
	flags.StringVar(&ref, "ref", "", "the image's name and tag, such as localhost/m2m-operator:v1.2.3")
	flags.StringVar(&o.out, "o", "", "where to write: OUT-ARCH.tar, and OUT.oci.tar if there are several platforms")
	flags.Func("platform", "linux/ARCH; repeat it for more (default: this machine's architecture)", func(s string) error {
		platform, err := v1.ParsePlatform(s)
		if err != nil || platform.OS != "linux" || machines[platform.Architecture] == 0 {
			return errors.New("want linux/amd64 or linux/arm64")
		}
		o.platforms = append(o.platforms, *platform)
		return nil
	})
	flags.Int64Var(&created, "created", 0, "creation time in Unix seconds, such as the commit's; never the clock's")
	flags.StringVar(&o.revision, "revision", "", "the commit that the binaries were built from")
	flags.Func("binary", "NAME=PATH of a static binary, {arch} in PATH being replaced; repeat it for more", func(s string) error {
		name, path, ok := strings.Cut(s, "=")
		if !ok || path == "" || !validName(name) {
			return errors.New("want NAME=PATH, NAME being a file name")
		}
		o.binaries = append(o.binaries, program{name: name, path: path})
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	o.created = time.Unix(created, 0).UTC()
	switch {
	case flags.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q: only flags are taken", flags.Arg(0))
	case o.out == "":
		return o, errors.New("say where to write: -o bin/m2m-operator")
	case len(o.binaries) == 0:
		return o, errors.New("say what to pack: -binary NAME=PATH")
	}
	if len(o.platforms) == 0 {
		o.platforms = []v1.Platform{{OS: "linux", Architecture: runtime.GOARCH}}
	}
	var err error
	o.ref, err = parseReference(ref)
	return o, err
}

// run packs one image per platform and writes the archives.
func run(args []string, stdout io.Writer) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	certificates, err := layerOf(file{name: "/etc/ssl/certs/ca-certificates.crt", mode: 0o644, content: caCertificates()}, o.created)
	if err != nil {
		return err
	}
	var images []v1.Image
	for _, platform := range o.platforms {
		image, err := build(o, platform, certificates)
		if err != nil {
			return err
		}
		images = append(images, image)
		path := fmt.Sprintf("%s-%s.tar", o.out, platform.Architecture)
		if err := write(path, stdout, func(w io.Writer) error { return writeDocker(w, o.ref, image) }); err != nil {
			return err
		}
	}
	if len(images) > 1 {
		path := o.out + ".oci.tar"
		if err := write(path, stdout, func(w io.Writer) error { return writeOCI(w, o.ref, o.platforms, images) }); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintln(stdout, "image", o.ref)
	return err
}

// write makes the file at once or not at all: an interrupted run leaves no half of an archive behind.
func write(path string, stdout io.Writer, content func(io.Writer) error) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	temporary, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(temporary.Name())
		}
	}()
	if err := errors.Join(content(temporary), temporary.Chmod(0o644), temporary.Sync()); err != nil {
		_ = temporary.Close()
		return fmt.Errorf("%s: %w", path, err)
	}
	info, err := temporary.Stat()
	if err := errors.Join(err, temporary.Close()); err != nil {
		return err
	}
	if err := os.Rename(temporary.Name(), path); err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "wrote %s (%.1f MiB)\n", path, float64(info.Size())/(1<<20))
	return err
}
