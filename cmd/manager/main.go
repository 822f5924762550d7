// Command m2m-manager runs the controllers: it writes credential Secrets, verifier ConfigMaps, signing keys and
// certificates, and says in status how it went.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/yaml"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/controllers"
	"github.com/m2m-operator/m2m-operator/internal/feed"
	"github.com/m2m-operator/m2m-operator/internal/version"
)

type options struct {
	kubeconfig    string
	namespace     string
	metricsListen string
	healthListen  string
	leaderElect   bool
	issuerImage   string
	defaultIssuer bool
	defaultSpec   v1alpha1.TokenIssuerSpec
	rotations     int
	showVersion   bool
}

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "m2m-manager:", err)
		os.Exit(1)
	}
}

func parse(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("m2m-manager", flag.ContinueOnError)
	flags.StringVar(&o.kubeconfig, "kubeconfig", "", "kubeconfig file; default: $KUBECONFIG, else the pod's ServiceAccount")
	flags.StringVar(&o.namespace, "namespace", "m2m-system", "namespace that the operator is installed in")
	flags.StringVar(&o.metricsListen, "metrics-listen", ":8080", "address for Prometheus metrics (https, for those who may get /metrics), 0 for none")
	flags.StringVar(&o.healthListen, "health-listen", ":8081", "address for /healthz and /readyz")
	flags.BoolVar(&o.leaderElect, "leader-elect", true, "work only while holding the lease, so that several replicas can run")
	flags.StringVar(&o.issuerImage, "issuer-image", "", "image that token issuers are deployed from; default: this pod's own (named by $POD_NAME); outside of pods none are deployed")
	flags.BoolVar(&o.defaultIssuer, "create-default-issuer", false, `make the TokenIssuer "default", once in the life of an installation that has none`)
	flags.Func("default-issuer-spec", "the spec of the TokenIssuer that --create-default-issuer makes, as JSON; default: {}", func(text string) error {
		return yaml.UnmarshalStrict([]byte(text), &o.defaultSpec)
	})
	flags.IntVar(&o.rotations, "rotations-per-minute", 60, "how many client secrets may be rotated a minute because it is time; rotations on command, and what heals, do not count")
	flags.BoolVar(&o.showVersion, "version", false, "print the version and exit")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q: only flags are taken", flags.Arg(0))
	}
	if o.rotations < 1 {
		return o, fmt.Errorf("--rotations-per-minute=%d: must be at least 1", o.rotations)
	}
	return o, nil
}

func run(ctx context.Context, args []string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	if o.showVersion {
		fmt.Println(version.Version)
		return nil
	}
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	ctrl.SetLogger(logr.FromSlogHandler(log.Handler()))
	klog.SetSlogLogger(log)
	log.Info("starting m2m-manager", "version", version.Version, "namespace", o.namespace, "leaderElect", o.leaderElect)
	restConfig, err := feed.Config(o.kubeconfig)
	if err != nil {
		return err
	}
	mgr, err := newManager(restConfig, o)
	if err != nil {
		return err
	}
	if o.issuerImage, err = issuerImage(ctx, mgr.GetAPIReader(), o); err != nil {
		return err
	}
	all := controllers.Options{
		Namespace: o.namespace, Image: o.issuerImage, Now: time.Now, Random: rand.Reader, RotationsPerMinute: o.rotations,
	}
	if o.defaultIssuer {
		all.DefaultIssuer = &o.defaultSpec
	}
	if err := controllers.Add(ctx, mgr, all); err != nil {
		return err
	}
	if err := metrics.Registry.Register(&controllers.Metrics{Reader: mgr.GetClient(), Now: time.Now}); err != nil {
		return err
	}
	return mgr.Start(ctx)
}

func newManager(restConfig *rest.Config, o options) (ctrl.Manager, error) {
	restConfig.QPS = -1 // the API server's priority and fairness is the judge of load
	mgr, err := ctrl.NewManager(restConfig, ctrl.Options{
		Scheme:                        feed.NewScheme(),
		Cache:                         controllers.CacheOptions(o.namespace),
		Controller:                    config.Controller{MaxConcurrentReconciles: 8},
		LeaderElection:                o.leaderElect,
		LeaderElectionID:              "m2m-manager",
		LeaderElectionNamespace:       o.namespace,
		LeaderElectionReleaseOnCancel: true,
		Metrics: metricsserver.Options{
			BindAddress: o.metricsListen, SecureServing: true, FilterProvider: filters.WithAuthenticationAndAuthorization,
		},
		HealthProbeBindAddress: o.healthListen,
	})
	if err != nil {
		return nil, err
	}
	return mgr, errors.Join(mgr.AddHealthzCheck("ping", healthz.Ping), mgr.AddReadyzCheck("ping", healthz.Ping))
}

// issuerImage is the image that issuers are deployed from: one image holds both programs, so that they are always of
// one version.
func issuerImage(ctx context.Context, reader client.Reader, o options) (string, error) {
	name := os.Getenv("POD_NAME")
	if o.issuerImage != "" || name == "" {
		return o.issuerImage, nil
	}
	pod := &corev1.Pod{}
	if err := reader.Get(ctx, types.NamespacedName{Namespace: o.namespace, Name: name}, pod); err != nil {
		return "", fmt.Errorf("read this pod for its image: %w; or give --issuer-image", err)
	}
	return pod.Spec.Containers[0].Image, nil
}
