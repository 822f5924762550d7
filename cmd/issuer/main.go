// Command m2m-issuer is the token server of one TokenIssuer.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/feed"
	"github.com/m2m-operator/m2m-operator/internal/issuer"
	"github.com/m2m-operator/m2m-operator/internal/version"
)

type options struct {
	tokenIssuer string
	namespace   string
	listen      string
	opsListen   string
	kubeconfig  string
	drainDelay  time.Duration
	// Both or none.
	snapshotDir, snapshotKeyFile string

	showVersion bool
}

func main() {
	options, err := parseFlags(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	} else if err != nil {
		os.Exit(2) // parseFlags has said why
	}
	if options.showVersion {
		fmt.Println(version.Version)
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	if err := run(ctx, options, log); err != nil {
		log.Error("failed", "error", err)
		os.Exit(1)
	}
}

func parseFlags(arguments []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("m2m-issuer", flag.ContinueOnError)
	flags.StringVar(&o.tokenIssuer, "token-issuer", "default", "name of the TokenIssuer to serve")
	flags.StringVar(&o.namespace, "namespace", "m2m-system", "namespace that the operator is installed in")
	flags.StringVar(&o.listen, "listen", ":8443", "address for tokens, keys and metadata, with TLS")
	flags.StringVar(&o.opsListen, "ops-listen", ":8081", "address for health and metrics, without TLS")
	flags.StringVar(&o.kubeconfig, "kubeconfig", "", "kubeconfig file; default: $KUBECONFIG, else the pod's ServiceAccount")
	flags.DurationVar(&o.drainDelay, "drain-delay", 5*time.Second, "how long to go on serving after the signal to stop")
	flags.StringVar(&o.snapshotDir, "snapshot-dir", "", "directory, in memory, to keep a snapshot in for a restart while the API server is away; default: none is kept")
	flags.StringVar(&o.snapshotKeyFile, "snapshot-key-file", "", "file with the TokenIssuer's pepper, which the snapshot is encrypted under")
	flags.BoolVar(&o.showVersion, "version", false, "print the version and exit")
	if err := flags.Parse(arguments); err != nil {
		return options{}, err
	}
	var err error
	switch {
	case flags.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case (o.snapshotDir == "") != (o.snapshotKeyFile == ""):
		err = errors.New("--snapshot-dir and --snapshot-key-file go together")
	default:
		return o, nil
	}
	fmt.Fprintln(os.Stderr, err)
	return options{}, err
}

// run serves until the context ends. What the API server says is followed until the last request is answered, so that
// what is taken away while the server drains is taken away there too.
func run(ctx context.Context, o options, log *slog.Logger) error {
	log.Info("starting", "version", version.Version, "tokenIssuer", o.tokenIssuer, "namespace", o.namespace,
		"listen", o.listen, "opsListen", o.opsListen, "kubeconfig", o.kubeconfig, "drainDelay", o.drainDelay.String(),
		"snapshotDir", o.snapshotDir, "snapshotKeyFile", o.snapshotKeyFile)
	config, err := feed.Config(o.kubeconfig)
	if err != nil {
		return err
	}
	public, err := net.Listen("tcp", o.listen)
	if err != nil {
		return err
	}
	ops, err := net.Listen("tcp", o.opsListen)
	if err != nil {
		return err
	}

	state := issuer.NewState(o.tokenIssuer, access.NewIndex(o.namespace))
	server := issuer.New(state, issuer.Options{
		DrainDelay: o.drainDelay, Now: time.Now, Random: rand.Reader, Logger: log, Audit: os.Stdout,
	})

	serving, stopServing := context.WithCancel(ctx)
	defer stopServing()
	feeding, stopFeeding := context.WithCancel(context.WithoutCancel(ctx))
	defer stopFeeding()
	fed := make(chan error, 1)
	go func() {
		defer stopServing() // a server that hears no more of what is taken away must not go on
		fed <- feed.Run(feeding, config, feed.Options{
			Namespace: o.namespace, TokenIssuer: o.tokenIssuer,
			SnapshotDir: o.snapshotDir, SnapshotKeyFile: o.snapshotKeyFile, Logger: log,
		}, state)
	}()
	err = server.Serve(serving, public, ops)
	stopFeeding()
	return errors.Join(err, <-fed)
}
