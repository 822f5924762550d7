package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"io"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// writeDocker writes the archive of one image in the form of `docker save`.
func writeDocker(w io.Writer, ref reference, image v1.Image) error {
	tag, err := ref.tag()
	if err != nil {
		return err
	}
	return tarball.Write(tag, image, w)
}

// writeOCI writes an OCI image layout as one archive: an index of one image, which is the index of all its platforms.
func writeOCI(w io.Writer, ref reference, platforms []v1.Platform, images []v1.Image) error {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for i, image := range images {
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &platforms[i]}})
	}
	descriptor, err := partial.Descriptor(index)
	if err != nil {
		return err
	}
	descriptor.Annotations = map[string]string{
		"io.containerd.image.name":          ref.String(), // what containerd names it
		"org.opencontainers.image.ref.name": ref.Tag(),    // what OCI tools look it up by
	}
	top, err := json.Marshal(v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{*descriptor}})
	if err != nil {
		return err
	}
	layout := layoutWriter{tar: tar.NewWriter(w)}
	layout.file("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`))
	layout.file("index.json", top)
	layout.directory("blobs/")
	layout.directory("blobs/sha256/")
	raw, err := index.RawManifest()
	layout.blob(descriptor.Digest, raw, err)
	for _, image := range images {
		layout.image(image)
	}
	if layout.err != nil {
		return layout.err
	}
	return layout.tar.Close()
}

// layoutWriter writes the files of an OCI image layout, each blob once, and keeps the first error.
type layoutWriter struct {
	tar     *tar.Writer
	written []v1.Hash
	err     error
}

func (l *layoutWriter) image(image v1.Image) {
	digest, err := image.Digest()
	l.fail(err)
	manifest, err := image.RawManifest()
	l.blob(digest, manifest, err)
	name, err := image.ConfigName()
	l.fail(err)
	config, err := image.RawConfigFile()
	l.blob(name, config, err)
	layers, err := image.Layers()
	l.fail(err)
	for _, layer := range layers {
		digest, err := layer.Digest()
		l.fail(err)
		content, err := readLayer(layer)
		l.blob(digest, content, err)
	}
}

func readLayer(layer v1.Layer) ([]byte, error) {
	r, err := layer.Compressed()
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	return io.ReadAll(r)
}

// blob writes content under its digest; err is that of reading it.
func (l *layoutWriter) blob(digest v1.Hash, content []byte, err error) {
	l.fail(err)
	if l.err != nil || slices.Contains(l.written, digest) {
		return
	}
	l.written = append(l.written, digest)
	l.file("blobs/"+digest.Algorithm+"/"+digest.Hex, content)
}

func (l *layoutWriter) file(name string, content []byte) {
	l.header(tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(content))})
	if l.err == nil {
		_, err := io.Copy(l.tar, bytes.NewReader(content))
		l.fail(err)
	}
}

func (l *layoutWriter) directory(name string) {
	l.header(tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755})
}

func (l *layoutWriter) header(header tar.Header) {
	if l.err == nil {
		l.fail(l.tar.WriteHeader(&header))
	}
}

func (l *layoutWriter) fail(err error) {
	if l.err == nil {
		l.err = err
	}
}
