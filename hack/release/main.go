// Command release makes of built files what is published:
//
//	go -C hack/release run . archive -created UNIX -o /abs/m2m-issuer-linux-amd64.tar.gz /abs/m2m-issuer /abs/LICENSE
//	go -C hack/release run . sbom -created UNIX -version v1.2.3 -o /abs/sbom.cdx.json /abs/m2m-manager /abs/m2m-issuer
//	go -C hack/release run . checksums -o /abs/dist/SHA256SUMS /abs/dist
//
// The same files and flags give the same bytes: times are those that are given, and names are sorted.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

type options struct {
	out, version string
	created      time.Time
	files        []string
}

func run(args []string) error {
	commands := map[string]func(options) ([]byte, error){"archive": archive, "sbom": sbom, "checksums": checksums}
	if len(args) == 0 || commands[args[0]] == nil {
		return errors.New("want archive, sbom or checksums")
	}
	var o options
	var created int64
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.StringVar(&o.out, "o", "", "the file to write")
	flags.StringVar(&o.version, "version", "", "the product's version, for the SBOM")
	flags.Int64Var(&created, "created", 0, "the time to write into it, in seconds since 1970")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	if o.out == "" || flags.NArg() == 0 {
		return errors.New("want -o and files")
	}
	o.created, o.files = time.Unix(created, 0).UTC(), flags.Args()
	contents, err := commands[args[0]](o)
	if err != nil {
		return err
	}
	return os.WriteFile(o.out, contents, 0o644)
}
