package plane

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"time"

	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/feed"
	"github.com/m2m-operator/m2m-operator/internal/issuer"
)

// RoleProfiled is this program as an issuer that writes down where its time and memory go until it is ready.
const RoleProfiled = "profiled-issuer"

// profile has an issuer profiled.
func (b *bench) profile(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	command := exec.CommandContext(ctx, self, RoleProfiled, b.kubeconfig("m2m-issuer"), b.Profiles) //nolint:gosec // it is this program
	command.Stderr = os.Stderr
	return command.Run()
}

// Profiled runs an issuer until it is ready, and saves profiles of that. It is m2m-issuer, without requests.
func Profiled(ctx context.Context, kubeconfig, directory string) error {
	config, err := feed.Config(kubeconfig)
	if err != nil {
		return err
	}
	public, err1 := net.Listen("tcp", "127.0.0.1:0")
	ops, err2 := net.Listen("tcp", "127.0.0.1:0")
	cpu, err3 := os.Create(filepath.Join(directory, "bench-plane-cpu.pprof")) //nolint:gosec // the path is the parent process's
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(cpu); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	log := slog.New(slog.DiscardHandler)
	state := issuer.NewState(tokenIssuer, access.NewIndex(installNamespace))
	server := issuer.New(state, issuer.Options{Now: time.Now, Random: rand.Reader, Logger: log, Audit: io.Discard})
	ended := make(chan error, 2)
	go func() { ended <- server.Serve(ctx, public, ops) }()
	go func() {
		ended <- feed.Run(ctx, config, feed.Options{Namespace: installNamespace, TokenIssuer: tokenIssuer, Logger: log}, state)
	}()
	err = awaitReady(ctx, ops.Addr().String())
	pprof.StopCPUProfile()
	err = errors.Join(err, cpu.Close(), saveHeap(filepath.Join(directory, "bench-plane-heap.pprof")))
	stop()
	return errors.Join(err, <-ended, <-ended)
}

func saveHeap(path string) error {
	runtime.GC()
	file, err := os.Create(path) //nolint:gosec // the path is the parent process's
	if err != nil {
		return err
	}
	return errors.Join(pprof.Lookup("heap").WriteTo(file, 0), file.Close())
}
