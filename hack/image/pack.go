package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"debug/elf"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// user is nobody in particular, and a number, which runAsNonRoot can verify.
const user = "65532:65532"

// program is a binary to pack: what it is called in the image and where it is, {arch} being the architecture.
type program struct{ name, path string }

func validName(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/\\ \x00")
}

// build is the image of one platform: the certificates, then a layer per binary.
func build(o options, platform v1.Platform, certificates v1.Layer) (v1.Image, error) {
	additions := []mutate.Addendum{{Layer: certificates, History: history(o.created, "/etc/ssl/certs/ca-certificates.crt")}}
	for _, b := range o.binaries {
		content, err := readStatic(strings.ReplaceAll(b.path, "{arch}", platform.Architecture), platform.Architecture)
		if err != nil {
			return nil, err
		}
		layer, err := layerOf(file{name: "/" + b.name, mode: 0o755, content: content}, o.created)
		if err != nil {
			return nil, err
		}
		additions = append(additions, mutate.Addendum{Layer: layer, History: history(o.created, "/"+b.name)})
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err := mutate.Append(image, additions...)
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Variant = platform.OS, platform.Architecture, platform.Variant
	config.Created = v1.Time{Time: o.created}
	config.Config = v1.Config{
		User:       user,
		WorkingDir: "/",
		Entrypoint: []string{"/" + o.binaries[0].name},
		Labels:     labels(o),
	}
	return mutate.ConfigFile(image, config)
}

func history(created time.Time, what string) v1.History {
	return v1.History{Created: v1.Time{Time: created}, CreatedBy: "hack/image " + what}
}

func labels(o options) map[string]string {
	labels := map[string]string{
		"org.opencontainers.image.title":    o.ref.title(),
		"org.opencontainers.image.version":  o.ref.Tag(),
		"org.opencontainers.image.source":   "https://github.com/m2m-operator/m2m-operator",
		"org.opencontainers.image.licenses": "Apache-2.0",
	}
	if o.revision != "" {
		labels["org.opencontainers.image.revision"] = o.revision
	}
	return labels
}

// file is one to put into a layer.
type file struct {
	name    string
	mode    int64
	content []byte
}

// layerOf is a layer of one file and the directories that lead to it, all owned by root and dated alike.
func layerOf(f file, date time.Time) (v1.Layer, error) {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	name := strings.TrimPrefix(f.name, "/")
	for i, r := range name {
		if r != '/' {
			continue
		}
		header := tar.Header{Typeflag: tar.TypeDir, Name: name[:i+1], Mode: 0o755, ModTime: date}
		if err := w.WriteHeader(&header); err != nil {
			return nil, err
		}
	}
	header := tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: f.mode, ModTime: date, Size: int64(len(f.content))}
	if err := w.WriteHeader(&header); err != nil {
		return nil, err
	}
	if _, err := w.Write(f.content); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	opener := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(archive.Bytes())), nil }
	return tarball.LayerFromOpener(opener, tarball.WithMediaType(types.OCILayer),
		tarball.WithCompressionLevel(gzip.BestSpeed), tarball.WithCompressedCaching)
}

// machines are the architectures that we build for.
var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

// readStatic reads a binary that can run in an image that holds nothing else.
func readStatic(name, arch string) ([]byte, error) {
	remedy := fmt.Sprintf("build it with CGO_ENABLED=0 GOOS=linux GOARCH=%s go build", arch)
	content, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("%w: %s (`go -C` changes the directory: paths must be absolute)", err, remedy)
	}
	parsed, err := elf.NewFile(bytes.NewReader(content))
	if err != nil {
		return nil, fmt.Errorf("%s is no Linux binary: %w: %s", name, err, remedy)
	}
	if want := machines[arch]; parsed.Machine != want {
		return nil, fmt.Errorf("%s is for %s, want %s: %s", name, parsed.Machine, want, remedy)
	}
	for _, segment := range parsed.Progs {
		if segment.Type == elf.PT_INTERP {
			return nil, fmt.Errorf("%s is linked dynamically and would find no loader: %s", name, remedy)
		}
	}
	return content, nil
}
