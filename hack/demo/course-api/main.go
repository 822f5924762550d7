// Command course-api is the API of the course-management example: it lets a request do what the scopes of its access
// token say. It knows nothing of Kubernetes: it reads four files, as mounted from the ApiResource's verifier ConfigMap,
// and verifies tokens with a standard library.
//
// It speaks plain HTTP, for an example that runs on one machine. A bearer token belongs on TLS: put a proxy before it,
// or take net/http's ListenAndServeTLS.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	verifierDir := flag.String("verifier-dir", "/etc/course-api/verifier",
		"directory with the files issuer, audience, jwks_uri and ca.crt: the ApiResource's verifier ConfigMap")
	listen := flag.String("listen", ":8080", "address to answer on")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *verifierDir, *listen); err != nil {
		fmt.Fprintln(os.Stderr, "course-api:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop has run
	}
}

func run(ctx context.Context, verifierDir, listen string) error {
	tokens, err := newVerifier(ctx, verifierDir)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler:           newAPI(tokens, sampleCourses(time.Now())),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		IdleTimeout:       time.Minute,
	}
	log.Printf("answering on %s for audience %s, tokens of %s", listener.Addr(), tokens.audience, tokens.issuer)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := server.Shutdown(drain); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}
