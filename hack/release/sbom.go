package main

import (
	"bytes"
	"cmp"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

const product = "github.com/m2m-operator/m2m-operator"

// sbom lists, as CycloneDX JSON, the binaries and the modules that the linker says are in them, and which is in which.
func sbom(o options) ([]byte, error) {
	root := cdx.Component{
		BOMRef: "m2m-operator", Type: cdx.ComponentTypeApplication, Name: "m2m-operator", Version: o.version,
		PackageURL: "pkg:golang/" + product + "@" + o.version, Licenses: &cdx.Licenses{{License: &cdx.License{ID: "Apache-2.0"}}},
	}
	components := map[string]cdx.Component{}
	contents := map[string][]string{}
	for _, path := range o.files {
		info, err := buildinfo.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if info.Main.Path != product {
			return nil, fmt.Errorf("%s is of %s", path, info.Main.Path)
		}
		name := strings.TrimSuffix(filepath.Base(path), ".exe")
		components[name] = cdx.Component{BOMRef: name, Type: cdx.ComponentTypeApplication, Name: name, Version: o.version}
		contents[root.BOMRef] = append(contents[root.BOMRef], name)
		for _, module := range append(info.Deps, &debug.Module{Path: "std", Version: strings.TrimPrefix(info.GoVersion, "go")}) {
			component := componentOf(module)
			components[component.BOMRef] = component
			contents[name] = append(contents[name], component.BOMRef)
		}
	}
	return encode(o, root, components, contents)
}

// componentOf is a module; its hash is that of go.sum, over the module's files.
func componentOf(module *debug.Module) cdx.Component {
	if module.Replace != nil {
		module = module.Replace
	}
	purl := "pkg:golang/" + module.Path + "@" + module.Version
	component := cdx.Component{BOMRef: purl, Type: cdx.ComponentTypeLibrary, Name: module.Path, Version: module.Version, PackageURL: purl}
	sum, _ := strings.CutPrefix(module.Sum, "h1:")
	if hash, err := base64.StdEncoding.DecodeString(sum); err == nil && len(hash) > 0 {
		component.Hashes = &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(hash)}}
	}
	return component
}

func encode(o options, root cdx.Component, components map[string]cdx.Component, contents map[string][]string) ([]byte, error) {
	bom := cdx.NewBOM()
	bom.Metadata = &cdx.Metadata{Timestamp: o.created.Format(time.RFC3339), Component: &root}
	sorted := slices.SortedFunc(maps.Values(components), func(a, b cdx.Component) int { return cmp.Compare(a.BOMRef, b.BOMRef) })
	bom.Components = &sorted
	dependencies := []cdx.Dependency{}
	for _, ref := range slices.Sorted(maps.Keys(contents)) {
		parts := contents[ref]
		slices.Sort(parts)
		parts = slices.Compact(parts)
		dependencies = append(dependencies, cdx.Dependency{Ref: ref, Dependencies: &parts})
	}
	bom.Dependencies = &dependencies
	var out bytes.Buffer
	encoder := cdx.NewBOMEncoder(&out, cdx.BOMFileFormatJSON)
	encoder.SetPretty(true)
	err := encoder.EncodeVersion(bom, cdx.SpecVersion1_6) // what scanners read; the newest is ahead of them
	return out.Bytes(), err
}
