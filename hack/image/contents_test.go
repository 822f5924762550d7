package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// contents is an image as read back, without the library that wrote it.
type contents struct {
	config struct {
		Architecture, OS string
		Created          time.Time
		Config           struct {
			User, WorkingDir     string
			Entrypoint, Cmd, Env []string
			Labels               map[string]string
		}
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		}
	}
	tags  []string
	files map[string]entry
}

type entry struct {
	directory bool
	mode      int64
	content   []byte
}

// String keeps a comparison's failure readable.
func (e entry) String() string {
	return fmt.Sprintf("%v %o %x", e.directory, e.mode, sha256.Sum256(e.content))
}

type descriptor struct {
	MediaType, Digest string
	Size              int
	Platform          struct{ OS, Architecture string }
	Annotations       map[string]string
}

func readDocker(t *testing.T, path string) contents {
	t.Helper()
	archive := readTar(t, path)
	var manifest []struct {
		Config           string
		RepoTags, Layers []string
	}
	check(t, json.Unmarshal(archive["manifest.json"], &manifest))
	if len(manifest) != 1 {
		t.Fatalf("%s holds %d images, want one", path, len(manifest))
	}
	var layers [][]byte
	for _, layer := range manifest[0].Layers {
		layers = append(layers, archive[layer])
	}
	image := readImage(t, archive[manifest[0].Config], layers)
	image.tags = manifest[0].RepoTags
	return image
}

// readOCI gives the images of an OCI archive by architecture.
func readOCI(t *testing.T, path string) map[string]contents {
	t.Helper()
	archive := readTar(t, path)
	blob := func(d descriptor) []byte {
		content, ok := archive["blobs/"+strings.Replace(d.Digest, ":", "/", 1)]
		if got := fmt.Sprintf("sha256:%x", sha256.Sum256(content)); !ok || got != d.Digest || len(content) != d.Size {
			t.Fatalf("%s: %s is missing or other than its digest says", path, d.Digest)
		}
		return content
	}
	var top, index struct{ Manifests []descriptor }
	check(t, json.Unmarshal(archive["index.json"], &top))
	if len(top.Manifests) != 1 || top.Manifests[0].Annotations["io.containerd.image.name"] != ref ||
		top.Manifests[0].Annotations["org.opencontainers.image.ref.name"] != version {
		t.Fatalf("%s: index.json names %+v, want one image, %s", path, top.Manifests, ref)
	}
	if string(archive["oci-layout"]) != `{"imageLayoutVersion":"1.0.0"}` {
		t.Errorf("%s: oci-layout says %s", path, archive["oci-layout"])
	}
	check(t, json.Unmarshal(blob(top.Manifests[0]), &index))
	images := map[string]contents{}
	for _, d := range index.Manifests {
		var manifest struct {
			MediaType string
			Config    descriptor
			Layers    []descriptor
		}
		check(t, json.Unmarshal(blob(d), &manifest))
		if manifest.MediaType != "application/vnd.oci.image.manifest.v1+json" || d.Platform.OS != "linux" {
			t.Errorf("%s: a %s for %s", path, manifest.MediaType, d.Platform.OS)
		}
		var layers [][]byte
		for _, layer := range manifest.Layers {
			layers = append(layers, blob(layer))
		}
		images[d.Platform.Architecture] = readImage(t, blob(manifest.Config), layers)
	}
	return images
}

// readImage unpacks the layers, which must be owned by root, dated as the image is, and what the configuration lists.
func readImage(t *testing.T, config []byte, layers [][]byte) contents {
	t.Helper()
	image := contents{files: map[string]entry{}}
	check(t, json.Unmarshal(config, &image.config))
	if len(layers) != len(image.config.RootFS.DiffIDs) {
		t.Fatalf("%d layers, want %d", len(layers), len(image.config.RootFS.DiffIDs))
	}
	for i, layer := range layers {
		unzipped, err := gzip.NewReader(bytes.NewReader(layer))
		check(t, err)
		content, err := io.ReadAll(unzipped)
		check(t, err)
		if got := fmt.Sprintf("sha256:%x", sha256.Sum256(content)); got != image.config.RootFS.DiffIDs[i] {
			t.Errorf("layer %d is %s, want %s", i, got, image.config.RootFS.DiffIDs[i])
		}
		each(t, bytes.NewReader(content), func(h *tar.Header, content []byte) {
			if h.Uid != 0 || h.Gid != 0 || h.Uname != "" || !h.ModTime.Equal(image.config.Created) || (h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeDir) {
				t.Errorf("%s has header %+v", h.Name, h)
			}
			name := "/" + strings.TrimSuffix(h.Name, "/")
			if _, ok := image.files[name]; ok {
				t.Errorf("%s is there twice", name)
			}
			image.files[name] = entry{directory: h.Typeflag == tar.TypeDir, mode: h.Mode, content: content}
		})
	}
	return image
}

func readTar(t *testing.T, path string) map[string][]byte {
	t.Helper()
	f, err := os.Open(path)
	check(t, err)
	defer func() { _ = f.Close() }()
	files := map[string][]byte{}
	each(t, f, func(h *tar.Header, content []byte) { files[h.Name] = content })
	return files
}

func each(t *testing.T, r io.Reader, visit func(*tar.Header, []byte)) {
	t.Helper()
	archive := tar.NewReader(r)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		check(t, err)
		content, err := io.ReadAll(archive)
		check(t, err)
		visit(header, content)
	}
}

func checkConfig(t *testing.T, image contents, arch string) {
	t.Helper()
	c := image.config
	if c.OS != "linux" || c.Architecture != arch || !c.Created.Equal(time.Unix(created, 0)) {
		t.Errorf("image for %s/%s of %s, want linux/%s of the time given", c.OS, c.Architecture, c.Created, arch)
	}
	if c.Config.User != "65532:65532" || !slices.Equal(c.Config.Entrypoint, []string{"/m2m-manager"}) || c.Config.Cmd != nil || c.Config.Env != nil {
		t.Errorf("image runs %+v", c.Config)
	}
	if !slices.Equal(image.tags, []string{ref}) {
		t.Errorf("image is tagged %v, want %s", image.tags, ref)
	}
	want := map[string]string{"title": "m2m-operator", "version": version, "revision": "0123abc", "licenses": "Apache-2.0",
		"source": "https://github.com/m2m-operator/m2m-operator"}
	for key, value := range want {
		if got := c.Config.Labels["org.opencontainers.image."+key]; got != value {
			t.Errorf("label %s is %q, want %q", key, got, value)
		}
	}
	if len(c.Config.Labels) != len(want) {
		t.Errorf("labels %v", c.Config.Labels)
	}
}

// checkFiles wants the binaries and the certificates: so there is no shell, and nothing to write to.
func checkFiles(t *testing.T, image contents) {
	t.Helper()
	want := map[string]int64{"/m2m-manager": 0o755, "/m2m-issuer": 0o755, "/etc": 0o755, "/etc/ssl": 0o755, "/etc/ssl/certs": 0o755, certFile: 0o644}
	for name, file := range image.files {
		if mode, ok := want[name]; !ok || file.mode != mode || file.directory != (strings.HasPrefix(certFile, name+"/")) {
			t.Errorf("%s (mode %o) is in the image", name, file.mode)
		}
	}
	if len(image.files) != len(want) {
		t.Errorf("%d files, want %d", len(image.files), len(want))
	}
	count := 0
	for rest := image.files[certFile].content; len(rest) > 0; count++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			t.Fatal("the certificates' file holds something else")
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		check(t, err)
		if !certificate.IsCA {
			t.Errorf("%s is no authority", certificate.Subject)
		}
	}
	if pool := x509.NewCertPool(); !pool.AppendCertsFromPEM(image.files[certFile].content) || count < 100 {
		t.Errorf("%d certificate authorities, want the hundred and more that Mozilla trusts", count)
	}
}
