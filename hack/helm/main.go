// Command helm makes and packs the Helm chart of config/chart:
//
//	go -C hack/helm run . generate
//	go -C hack/helm run . package -version 1.2.3 -app-version v1.2.3 -repository registry.example.com/m2m-operator -o /abs/dist
//
// generate writes the parts of the chart that say what config says elsewhere: definitions, RBAC, NetworkPolicies,
// what Prometheus is told, and the schema of a TokenIssuer's spec. package writes m2m-operator-VERSION.tgz, in which
// nothing is from the machine's clock or its files' times: the same chart gives the same bytes.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	if err := run(os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "helm:", err)
		os.Exit(1)
	}
}

// config is the repository's directory of that name, seen from this module, where `go -C hack/helm` and its tests run.
var config = filepath.Join("..", "..", "config")

func run(args []string) error {
	if len(args) == 0 {
		return errors.New("want generate or package")
	}
	switch args[0] {
	case "generate":
		return generate(config, filepath.Join(config, "chart"))
	case "package":
		return packChart(args[1:])
	}
	return fmt.Errorf("unknown command %q: want generate or package", args[0])
}

func packChart(args []string) error {
	var s stamp
	var out string
	flags := flag.NewFlagSet("package", flag.ContinueOnError)
	flags.StringVar(&s.version, "version", "", "the chart's version, as semver.org has it")
	flags.StringVar(&s.appVersion, "app-version", "", "the operator's version, which is the image's tag")
	flags.StringVar(&s.repository, "repository", "", "the image's name without its tag; default: as in values.yaml")
	flags.StringVar(&out, "o", "", "the directory to write to")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if s.version == "" || s.appVersion == "" || out == "" || flags.NArg() > 0 {
		return errors.New("want -version, -app-version and -o, and nothing else but -repository")
	}
	archive, err := pack(filepath.Join(config, "chart"), s)
	if err != nil {
		return err
	}
	path := filepath.Join(out, "m2m-operator-"+s.version+".tgz")
	if err := os.WriteFile(path, archive, 0o644); err != nil {
		return err
	}
	fmt.Println(path)
	return nil
}
