//go:build soak

package soak

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/m2m-operator/m2m-operator/controllers"
	"github.com/m2m-operator/m2m-operator/internal/feed"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

// asManager makes the test binary a manager. Its value is what the manager needs, in JSON.
const asManager = "M2M_SOAK_MANAGER"

type managerOptions struct {
	Kubeconfig string
	// Endpoints are the issuers behind the addresses of EndpointSlices, which may not be loopback.
	Endpoints map[string]string
}

// manage does what m2m-manager does, with leader election, another clock for keys, and other ways to issuers.
func manage() int {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	ctrl.SetLogger(logr.FromSlogHandler(log.Handler()))
	klog.SetSlogLogger(log)
	if err := runManager(ctx, log); err != nil {
		fmt.Fprintln(os.Stderr, "manager:", err)
		return 1
	}
	return 0
}

func runManager(ctx context.Context, log *slog.Logger) error {
	var o managerOptions
	if err := json.Unmarshal([]byte(os.Getenv(asManager)), &o); err != nil {
		return err
	}
	restConfig, err := feed.Config(o.Kubeconfig)
	if err != nil {
		return err
	}
	restConfig.QPS = -1
	mgr, err := ctrl.NewManager(restConfig, ctrl.Options{
		Scheme: feed.NewScheme(), Cache: controllers.CacheOptions(suite.InstallNamespace),
		Controller:     config.Controller{MaxConcurrentReconciles: 8},
		LeaderElection: true, LeaderElectionID: "m2m-manager", LeaderElectionNamespace: suite.InstallNamespace,
		LeaderElectionReleaseOnCancel: true,
		Metrics:                       metricsserver.Options{BindAddress: "0"}, HealthProbeBindAddress: "0",
	})
	if err != nil {
		return err
	}
	started := time.Now()
	if err := controllers.Add(ctx, mgr, controllers.Options{
		Namespace: suite.InstallNamespace, Now: time.Now, Random: rand.Reader, RotationsPerMinute: 60,
		Elapsed: func() time.Duration { return haste * time.Since(started) },
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, o.Endpoints[address])
		},
	}); err != nil {
		return err
	}
	go func() {
		<-mgr.Elected()
		log.Info("leading")
	}()
	return mgr.Start(ctx)
}
