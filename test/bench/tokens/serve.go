package tokens

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"syscall"
	"time"

	"github.com/m2m-operator/m2m-operator/internal/garbage"
	"github.com/m2m-operator/m2m-operator/internal/issuer"
)

// The roles of processes.
const (
	RoleIssuer = "issuer"
	RoleBare   = "bare"
	// RoleLog reads what an issuer logs, and forgets it.
	RoleLog = "log"
)

// answersFD is the file descriptor that a server process answers commands at. Its standard output is the audit log's, as
// that of m2m-issuer is.
const answersFD = 3

// addresses are where a server process listens.
type addresses struct{ Plain, TLS string }

// usage is what a server process has consumed so far.
type usage struct {
	// CPU time, user and system.
	CPU time.Duration
	// Allocations, as objects.
	Allocations uint64
}

// Serve is the life of a process of such a role. A server reads its world from standard input, serves it, and obeys commands
// from there until its end.
func Serve(role string) error {
	if role == RoleLog {
		_, err := io.Copy(io.Discard, os.Stdin)
		return err
	}
	commands := bufio.NewReader(os.Stdin)
	answers := json.NewEncoder(os.NewFile(answersFD, "answers"))
	line, err := commands.ReadBytes('\n')
	if err != nil {
		return err
	}
	var w world
	if err := json.Unmarshal(line, &w); err != nil {
		return err
	}
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	secure, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	serve := serveIssuer
	if role == RoleBare {
		serve = serveBare
	}
	if err := serve(w, plain, secure, failed); err != nil {
		return err
	}
	if err := answers.Encode(addresses{Plain: plain.Addr().String(), TLS: secure.Addr().String()}); err != nil {
		return err
	}
	go func() { failed <- obey(commands, answers) }()
	return <-failed
}

// serveIssuer serves what m2m-issuer serves, and the public port's without TLS too.
func serveIssuer(w world, plain, secure net.Listener, failed chan<- error) error {
	state, err := w.fill()
	if err != nil {
		return err
	}
	debug.FreeOSMemory() // as m2m-issuer does once it knows everything
	garbage.LeaveRoom()
	ops, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := issuer.New(state, issuer.Options{
		Now: time.Now, Random: rand.Reader, Logger: slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})), Audit: os.Stdout,
	})
	go func() { failed <- server.Serve(context.Background(), secure, ops) }()
	go func() { failed <- server.ServeWithoutTLS(plain) }()
	return nil
}

// serveBare serves what is compared with, as net/http does by itself.
func serveBare(w world, plain, secure net.Listener, failed chan<- error) error {
	handler, err := newBare(w)
	if err != nil {
		return err
	}
	certificate, err := tls.X509KeyPair(w.Certificate, w.PrivateKey)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler, TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate}}} //nolint:gosec // it is as bare as it can be, and nobody else's
	go func() { failed <- server.Serve(plain) }()
	go func() { failed <- server.ServeTLS(secure, "", "") }()
	return nil
}

// obey carries out one command after the other, and answers each.
func obey(commands *bufio.Reader, answers *json.Encoder) error {
	for {
		line, err := commands.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		command, path, _ := strings.Cut(strings.TrimSpace(line), " ")
		if err := carryOut(command, path); err != nil {
			return fmt.Errorf("%s: %w", command, err)
		}
		spent, err := used()
		if err != nil {
			return err
		}
		if err := answers.Encode(spent); err != nil {
			return err
		}
	}
}

// The commands to a server process. It answers each by what it has consumed so far.
const (
	commandUsage       = "usage"
	commandProfile     = "profile"
	commandStopProfile = "stop-profile"
	commandHeap        = "heap"
)

func carryOut(command, path string) error {
	switch command {
	case commandUsage:
		return nil
	case commandProfile:
		file, err := os.Create(path) //nolint:gosec // the path is the parent process's
		if err != nil {
			return err
		}
		return pprof.StartCPUProfile(file)
	case commandStopProfile:
		pprof.StopCPUProfile()
		return nil
	case commandHeap:
		runtime.GC()
		file, err := os.Create(path) //nolint:gosec // the path is the parent process's
		if err != nil {
			return err
		}
		return errors.Join(pprof.Lookup("heap").WriteTo(file, 0), file.Close())
	}
	return errors.New("unknown command")
}

// used asks the kernel and the runtime what this process has consumed.
func used() (usage, error) {
	var kernel syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &kernel); err != nil {
		return usage{}, err
	}
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	return usage{
		CPU:         time.Duration(syscall.TimevalToNsec(kernel.Utime) + syscall.TimevalToNsec(kernel.Stime)),
		Allocations: memory.Mallocs,
	}, nil
}
