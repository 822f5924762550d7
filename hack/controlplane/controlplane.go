// Package controlplane brings up a real kube-apiserver and etcd, on this machine, without a cluster and without
// containers: for tests, for the demo, and for a person who wants to try something.
//
// Nothing else runs: no controller manager, no scheduler, no kubelet. So Pods stay Pending, deleted Namespaces stay
// Terminating, ownerReferences collect no garbage and ClusterRoles do not aggregate. Authorization is RBAC, as in a
// cluster; the ServiceAccount admission plugin is off, because nothing here makes default ServiceAccounts.
package controlplane

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

const (
	// processTimeout bounds the start and the stop of each process: about four seconds on an idle machine, much more
	// on one that compiles something at the same time.
	processTimeout = 90 * time.Second
	// startAttempts: each attempt picks fresh ports, which another process may take before they are bound.
	startAttempts = 3
)

// Options of a control plane. The zero value is a good one.
type Options struct {
	// Dir is where the control plane's own directory is made: data, certificates, process ids. Default: the system's
	// directory for temporary files. What is made there is removed by Stop.
	Dir string

	// LogDir is where etcd.log and kube-apiserver.log are written; it is made if need be, and stays. Default: inside
	// the control plane's own directory.
	LogDir string

	// APIServerArgs are flags of kube-apiserver, without dashes, that come on top of the usual ones or replace them.
	APIServerArgs map[string]string
}

// ControlPlane is a running kube-apiserver with its etcd.
type ControlPlane struct {
	dir             string
	logDir          string
	plane           *envtest.ControlPlane
	reaper          *reaper
	admin           *rest.Config
	adminKubeconfig []byte
	client          client.Client
}

// Start brings up a control plane and waits until it answers. ctx bounds the start only; Stop ends the control plane.
// If this process ends without Stop, however it ends, the control plane ends with it.
func Start(ctx context.Context, opts Options) (*ControlPlane, error) {
	assets, err := findAssets(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(opts.Dir, "m2m-controlplane-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for the control plane: %w", err)
	}
	cp := &ControlPlane{dir: dir, logDir: opts.LogDir}
	if cp.logDir == "" {
		cp.logDir = filepath.Join(dir, "log")
	}
	if err := cp.start(ctx, assets, opts); err != nil {
		return nil, errors.Join(err, cp.Stop())
	}
	return cp, nil
}

func (cp *ControlPlane) start(ctx context.Context, assets string, opts Options) error {
	if err := os.MkdirAll(cp.logDir, 0o750); err != nil {
		return fmt.Errorf("make the log directory: %w", err)
	}
	var err error
	if cp.reaper, err = startReaper(cp.dir); err != nil {
		return err
	}
	for attempt := 1; ; attempt++ {
		if err = cp.launch(assets, opts, attempt); err == nil {
			break
		}
		err = fmt.Errorf("start the control plane: %w\n%s", err, cp.logTails())
		if attempt == startAttempts || ctx.Err() != nil {
			return err
		}
	}
	admin, err := cp.UserConfig("admin", "system:masters")
	if err != nil {
		return err
	}
	cp.admin = admin
	if cp.adminKubeconfig, err = Kubeconfig(admin, "default"); err != nil {
		return err
	}
	if cp.client, err = client.New(admin, client.Options{}); err != nil {
		return fmt.Errorf("make a client for the new API server: %w", err)
	}
	return cp.awaitDefaultNamespace(ctx)
}

// launch starts both processes on fresh ports and a fresh store.
func (cp *ControlPlane) launch(assets string, opts Options, attempt int) error {
	apiServerLog, err := cp.openLog("kube-apiserver")
	if err != nil {
		return err
	}
	defer func() { _ = apiServerLog.Close() }() // the process has its own copy
	etcdLog, err := cp.openLog("etcd")
	if err != nil {
		return err
	}
	defer func() { _ = etcdLog.Close() }()

	home := filepath.Join(cp.dir, fmt.Sprintf("attempt-%d", attempt))
	certs, data := filepath.Join(home, "certificates"), filepath.Join(home, "etcd")
	for _, d := range []string{certs, data} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return err
		}
	}
	etcd := &envtest.Etcd{
		DataDir: data, Out: etcdLog, Err: etcdLog,
		StartTimeout: processTimeout, StopTimeout: processTimeout,
	}
	// The store lives as long as this process: nothing is gained by waiting for the disk.
	etcd.Configure().Set("unsafe-no-fsync", "true")
	apiServer := &envtest.APIServer{
		CertDir: certs, Out: apiServerLog, Err: apiServerLog,
		StartTimeout: processTimeout, StopTimeout: processTimeout,
	}
	apiServer.Configure().Set("authorization-mode", "RBAC").Set("profiling", "false")
	for flag, value := range opts.APIServerArgs {
		apiServer.Configure().Set(flag, value)
	}
	if etcd.Path, err = cp.reaper.wrap(filepath.Join(assets, "etcd")); err != nil {
		return err
	}
	if apiServer.Path, err = cp.reaper.wrap(filepath.Join(assets, "kube-apiserver")); err != nil {
		return err
	}
	cp.plane = &envtest.ControlPlane{Etcd: etcd, APIServer: apiServer, KubectlPath: filepath.Join(assets, "kubectl")}
	return cp.plane.Start()
}

// awaitDefaultNamespace: the API server says that it is healthy shortly before it has made this namespace.
func (cp *ControlPlane) awaitDefaultNamespace(ctx context.Context) error {
	err := wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, processTimeout, true,
		func(ctx context.Context) (bool, error) {
			return cp.client.Get(ctx, client.ObjectKey{Name: "default"}, &corev1.Namespace{}) == nil, nil
		})
	if err != nil {
		return fmt.Errorf("wait for the namespace default: %w", err)
	}
	return nil
}

// Kubectl is the path of a kubectl of the API server's version.
func (cp *ControlPlane) Kubectl() string { return cp.plane.KubectlPath }

// Stop ends both processes and removes what the control plane has written, but for a LogDir that was asked for.
//
// They are killed: asked politely, kube-apiserver waits a minute for clients that still watch, and there is nothing to
// lose.
func (cp *ControlPlane) Stop() error {
	var err error
	if cp.reaper != nil {
		err = cp.reaper.finish()
	}
	return errors.Join(err, os.RemoveAll(cp.dir))
}
