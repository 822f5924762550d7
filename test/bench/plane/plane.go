package plane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/hack/controlplane"
	"github.com/m2m-operator/m2m-operator/internal/feed"
	"github.com/m2m-operator/m2m-operator/internal/manifests"
	"github.com/m2m-operator/m2m-operator/test/bench/report"
)

const (
	installNamespace = "m2m-system"
	tokenIssuer      = "default"
	// startTimeout bounds every wait for a process.
	startTimeout = 10 * time.Minute
)

// Options of a measurement.
type Options struct {
	// Clients, APIs and Grants are how many M2MClients, ApiResources and ScopeGrants the issuer is to know.
	Clients, APIs, Grants int
	// Managed is how many M2MClients are applied at once.
	Managed int
	// Changes is how many changes are timed.
	Changes int
	// Rounds in which an issuer is started, and ManagedRounds in which M2MClients are applied.
	Rounds, ManagedRounds int
	// Profiles is the directory that profiles are written to.
	Profiles string
	// Progress is told what was done.
	Progress io.Writer
}

// bench is a control plane with what is measured on it.
type bench struct {
	Options
	plane *controlplane.ControlPlane
	admin client.WithWatch
	dir   string // programs, kubeconfigs and snapshots
	world world
	rows  []report.Row
	began time.Time
}

// Measure measures everything.
func Measure(ctx context.Context, o Options) (rows []report.Row, err error) {
	b := &bench{Options: o, began: time.Now()}
	defer func() { err = errors.Join(err, b.stop()) }()
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"a control plane", b.start},
		{"the manager", b.manager},
		{"a plain loop that writes the same", b.plainLoop},
		{"an issuer", b.issuer},
	} {
		if err := step.do(ctx); err != nil {
			return nil, fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return b.rows, nil
}

// tell what was done.
func (b *bench) tell(format string, arguments ...any) {
	_, _ = fmt.Fprintf(b.Progress, "%6s  "+format+"\n", append([]any{time.Since(b.began).Round(time.Second)}, arguments...)...)
}

// start brings up the control plane, and builds the programs.
func (b *bench) start(ctx context.Context) error {
	ctrl.SetLogger(logr.Discard())
	var err error
	if b.dir, err = os.MkdirTemp("", "m2m-bench-"); err != nil {
		return err
	}
	root, err := controlplane.RepoRoot()
	if err != nil {
		return err
	}
	build := exec.CommandContext(ctx, "go", "build", "-o", b.dir+"/", "./cmd/issuer", "./cmd/manager") //nolint:gosec // a directory of our own
	build.Dir, build.Stderr = root, os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("build the programs: %w", err)
	}
	if b.plane, err = controlplane.Start(ctx, controlplane.Options{}); err != nil {
		return err
	}
	if err := b.plane.InstallManifests(ctx, filepath.Join(root, "config/crd/bases"), filepath.Join(root, "config/rbac")); err != nil {
		return err
	}
	if b.admin, err = client.NewWithWatch(b.plane.Admin(), client.Options{Scheme: feed.NewScheme()}); err != nil {
		return err
	}
	for _, account := range []string{"m2m-manager", "m2m-issuer"} {
		kubeconfig, err := b.plane.ServiceAccountKubeconfig(ctx, installNamespace, account)
		if err != nil {
			return err
		}
		if err := controlplane.WriteKubeconfig(b.kubeconfig(account), kubeconfig); err != nil {
			return err
		}
	}
	b.tell("the control plane is up")
	if err := b.namespaces(ctx); err != nil {
		return err
	}
	return b.admin.Create(ctx, &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: tokenIssuer}})
}

func (b *bench) stop() error {
	var err error
	if b.plane != nil {
		err = b.plane.Stop()
	}
	return errors.Join(err, os.RemoveAll(b.dir))
}

func (b *bench) kubeconfig(account string) string { return filepath.Join(b.dir, account+".kubeconfig") }

// pepperFile is where an issuer reads what its snapshot is encrypted under.
func (b *bench) pepperFile(ctx context.Context) (string, error) {
	var secret corev1.Secret
	if err := b.admin.Get(ctx, types.NamespacedName{Namespace: installNamespace, Name: manifests.PepperName(tokenIssuer)}, &secret); err != nil {
		return "", err
	}
	path := filepath.Join(b.dir, "pepper")
	return path, os.WriteFile(path, secret.Data[manifests.KeyPepper], 0o600)
}

// fixed is as many times the same limit, which is a goal and not a measurement.
func fixed(limit float64, n int) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = limit
	}
	return out
}

// row of figures that are limited by a goal in their own unit.
func (b *bench) row(section, name, unit string, measured []float64, goal float64) {
	b.compare(section, name, unit, measured, "goal", fixed(goal, len(measured)), 1)
}

// compare with something that was measured too. A goal of zero is none.
func (b *bench) compare(section, name, unit string, measured []float64, limit string, limits []float64, goal float64) {
	row := report.NewRow(section, name, unit, measured, limit, limits, goal)
	b.rows = append(b.rows, row)
	b.tell("%s: %s: %.2f %s, %s %.2f", section, name, row.Measured, unit, limit, row.LimitMeasured)
}
