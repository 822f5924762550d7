package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/hack/controlplane"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

// replica is a manager's process.
type replica struct {
	*exec.Cmd
	log  *suite.Log
	done chan struct{}
	err  error // when done
}

func startReplica(t *testing.T, binary, kubeconfig string) *replica {
	t.Helper()
	r := &replica{log: suite.NewLog(io.Discard), done: make(chan struct{})}
	r.Cmd = exec.Command(binary, "--kubeconfig", kubeconfig, "--namespace", suite.InstallNamespace, "--metrics-listen", "0", "--health-listen", "0")
	r.Stdout, r.Stderr = r.log, r.log
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		r.err = r.Wait()
		close(r.done)
	}()
	t.Cleanup(func() {
		_ = r.Process.Kill()
		<-r.done
	})
	return r
}

// TestLostLeaseEndsTheProcess: the second of two managers waits, works as soon as the lease is free, and the first, whose
// lease was taken away, does not go on beside it.
func TestLostLeaseEndsTheProcess(t *testing.T) {
	world, err := suite.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = world.Stop() })
	binary := filepath.Join(t.TempDir(), "m2m-manager")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	contents, err := world.Plane.ServiceAccountKubeconfig(t.Context(), suite.InstallNamespace, "m2m-manager")
	if err == nil {
		err = controlplane.WriteKubeconfig(kubeconfig, contents)
	}
	if err != nil {
		t.Fatal(err)
	}
	first := startReplica(t, binary, kubeconfig)
	holder := awaitHolder(t, world.Admin, "")
	second := startReplica(t, binary, kubeconfig)
	suite.Eventually(t, func() string {
		if !strings.Contains(second.log.String(), "Attempting to acquire leader lease") {
			return "the second replica does not ask for the lease"
		}
		return ""
	})
	if strings.Contains(second.log.String(), "Starting workers") {
		t.Error("the second replica works without the lease")
	}

	lease := takeLease(t, world.Admin)
	taken := time.Now()
	select {
	case <-first.done:
	case <-time.After(time.Duration(*lease.Spec.LeaseDurationSeconds) * time.Second):
		t.Fatalf("the lease was somebody else's for %ds, and the process that had it goes on:\n%s", *lease.Spec.LeaseDurationSeconds, first.log)
	}
	t.Logf("the process has ended %.1f s after its lease was taken away", time.Since(taken).Seconds())
	var exit *exec.ExitError
	if !errors.As(first.err, &exit) || exit.ExitCode() != 1 || !strings.Contains(first.log.String(), "leader election lost") {
		t.Errorf("it ended with %v:\n%s", first.err, first.log)
	}

	if now := awaitHolder(t, world.Admin, thief); now == holder {
		t.Error("the process that has ended holds the lease")
	}
	t.Logf("the other replica has the lease after %.1f s", time.Since(taken).Seconds())
	issuer := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	if err := world.Admin.Create(t.Context(), issuer); err != nil {
		t.Fatal(err)
	}
	suite.Eventually(t, func() string {
		if err := world.Admin.Get(t.Context(), client.ObjectKeyFromObject(issuer), issuer); err != nil || issuer.Status.PepperID == "" {
			return "the other replica does not work: " + second.log.String()
		}
		return ""
	})
	if err := second.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	<-second.done
	if second.err != nil {
		t.Errorf("asked to end, the manager says %v:\n%s", second.err, second.log)
	}
}

const thief = "somebody-else"

func leaseOf(t *testing.T, admin client.Client) (*coordinationv1.Lease, error) {
	t.Helper()
	lease := &coordinationv1.Lease{}
	return lease, admin.Get(context.Background(), client.ObjectKey{Namespace: suite.InstallNamespace, Name: "m2m-manager"}, lease)
}

// awaitHolder waits until somebody else than before holds the lease.
func awaitHolder(t *testing.T, admin client.Client, before string) (holder string) {
	t.Helper()
	suite.Eventually(t, func() string {
		lease, err := leaseOf(t, admin)
		if err != nil {
			return err.Error()
		}
		if lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity == before || *lease.Spec.HolderIdentity == "" {
			return "nobody takes the lease"
		}
		holder = *lease.Spec.HolderIdentity
		return ""
	})
	return holder
}

// takeLease writes another holder into it, whatever the present one writes at the same time.
func takeLease(t *testing.T, admin client.Client) *coordinationv1.Lease {
	t.Helper()
	lease, err := leaseOf(t, admin)
	if err != nil {
		t.Fatal(err)
	}
	holder, now := thief, metav1.NewMicroTime(time.Now())
	lease.Spec.HolderIdentity, lease.Spec.RenewTime, lease.Spec.AcquireTime = &holder, &now, &now
	suite.Save(t, admin, lease)
	return lease
}
