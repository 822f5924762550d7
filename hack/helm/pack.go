package main

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"fmt"
	"path"
	"regexp"
	"slices"
	"time"

	"github.com/Masterminds/semver/v3"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"sigs.k8s.io/yaml"
)

// stamp is what a packed chart is stamped with.
type stamp struct {
	version, appVersion string
	// repository of the image, "" for the one in values.yaml.
	repository string
}

var repositoryLine = regexp.MustCompile(`(?m)^  repository: .*$`)

// pack is the chart as a gzipped tarball. Helm's own packing writes the time of packing into it.
func pack(directory string, s stamp) ([]byte, error) {
	if _, err := semver.StrictNewVersion(s.version); err != nil { // Helm itself takes 1.02.3, and registries do not
		return nil, fmt.Errorf("version %q: %w", s.version, err)
	}
	c, err := loader.Load(directory)
	if err != nil {
		return nil, err
	}
	c.Metadata.Version, c.Metadata.AppVersion = s.version, s.appVersion
	if err := c.Validate(); err != nil {
		return nil, err
	}
	contents := slices.Clone(c.Raw)
	for i, file := range contents {
		data := file.Data
		switch {
		case file.Name == "Chart.yaml":
			if data, err = yaml.Marshal(c.Metadata); err != nil {
				return nil, err
			}
		case file.Name == "values.yaml" && s.repository != "":
			if found := len(repositoryLine.FindAll(data, -1)); found != 1 {
				return nil, fmt.Errorf("values.yaml has %d lines for the image's repository", found)
			}
			data = repositoryLine.ReplaceAllLiteral(data, []byte("  repository: "+s.repository))
		}
		contents[i] = &chart.File{Name: file.Name, Data: data}
	}
	slices.SortFunc(contents, func(a, b *chart.File) int { return cmp.Compare(a.Name, b.Name) })
	return tarball(c.Name(), contents)
}

func tarball(root string, contents []*chart.File) ([]byte, error) {
	var out bytes.Buffer
	zipped := gzip.NewWriter(&out)
	archive := tar.NewWriter(zipped)
	for _, file := range contents {
		header := &tar.Header{Name: path.Join(root, file.Name), Mode: 0o644, Size: int64(len(file.Data)), ModTime: time.Unix(0, 0)}
		if err := archive.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := archive.Write(file.Data); err != nil {
			return nil, err
		}
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	if err := zipped.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
