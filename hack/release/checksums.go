package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
)

// checksums are those of the files in a directory, as sha256sum writes and checks them.
func checksums(o options) ([]byte, error) {
	var out bytes.Buffer
	for _, directory := range o.files {
		entries, err := os.ReadDir(directory)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			path := filepath.Join(directory, e.Name())
			if e.IsDir() || path == filepath.Clean(o.out) {
				continue
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return nil, err
			}
			fmt.Fprintf(&out, "%x  %s\n", sha256.Sum256(data), e.Name())
		}
	}
	if out.Len() == 0 {
		return nil, fmt.Errorf("there are no files in %q", o.files)
	}
	return out.Bytes(), nil
}
