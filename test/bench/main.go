// Command bench measures what the product costs beside what the machine it runs on makes possible. It prints one table
// and writes it as JSON.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"

	"github.com/m2m-operator/m2m-operator/test/bench/plane"
	"github.com/m2m-operator/m2m-operator/test/bench/report"
	"github.com/m2m-operator/m2m-operator/test/bench/tokens"
)

// The parts that can be measured by themselves.
const (
	partAll    = "all"
	partTokens = "tokens"
	partPlane  = "plane"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if len(os.Args) == 4 && os.Args[1] == plane.RoleProfiled {
		return plane.Profiled(ctx, os.Args[2], os.Args[3])
	}
	if len(os.Args) == 2 && slices.Contains([]string{tokens.RoleIssuer, tokens.RoleBare, tokens.RoleLog}, os.Args[1]) {
		return tokens.Serve(os.Args[1])
	}
	var out, part string
	o, p := tokens.Options{Progress: os.Stderr}, plane.Options{Progress: os.Stderr}
	flag.StringVar(&part, "part", partAll, "what to measure: tokens, plane (the control plane) or all")
	flag.StringVar(&out, "out", "bin", "directory for the table as JSON, and for profiles")
	flag.IntVar(&o.Rounds, "rounds", 7, "how often everything is measured, in turn")
	flag.Float64Var(&o.Scale, "scale", 1, "how many requests each probe sends in a round, as a factor of the ordinary number")
	flag.StringVar(&o.Only, "only", "", "the one section to measure")
	flag.IntVar(&p.Clients, "clients", 50_000, "plane: how many M2MClients an issuer is to know")
	flag.IntVar(&p.APIs, "apis", 5_000, "plane: how many ApiResources")
	flag.IntVar(&p.Grants, "grants", 50_000, "plane: how many ScopeGrants")
	flag.IntVar(&p.Managed, "managed", 5_000, "plane: how many M2MClients are applied at once")
	flag.IntVar(&p.Changes, "changes", 200, "plane: how many changes are timed")
	flag.IntVar(&p.Rounds, "plane-rounds", 5, "plane: how often issuers are started")
	flag.IntVar(&p.ManagedRounds, "managed-rounds", 5, "plane: how often M2MClients are applied at once")
	flag.Parse()
	if part != partAll && part != partTokens && part != partPlane {
		return fmt.Errorf("-part=%s: there are tokens, plane and all", part)
	}
	directory, err := filepath.Abs(out)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(directory, 0o750); err != nil {
		return err
	}
	o.Profiles, p.Profiles = directory, directory
	var rows []report.Row
	if part != partPlane {
		if rows, err = tokens.Measure(ctx, o); err != nil {
			return err
		}
	}
	if part == partPlane || part == partAll && o.Only == "" {
		more, err := plane.Measure(ctx, p)
		if err != nil {
			return err
		}
		rows = append(rows, more...)
	}
	if err := report.Print(os.Stdout, rows); err != nil {
		return err
	}
	return report.Save(filepath.Join(directory, "bench.json"), rows)
}
