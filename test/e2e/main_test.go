//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	kuberuntime "k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

// What all tests share, set by TestMain.
var (
	root       string // of the repository
	kubectlBin string
	kubeconfig string
	config     *rest.Config
	kube       client.Client
	clients    kubernetes.Interface
	image      = "localhost/m2m-operator:e2e"
	baseImage  string // of the previous commit
)

var started = time.Now()

// say prints a line of progress.
func say(format string, args ...any) {
	fmt.Printf("%6.1f s  %s\n", time.Since(started).Seconds(), fmt.Sprintf(format, args...))
}

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	if root, err = filepath.Abs("../.."); err != nil {
		return 1, err
	}
	if given := os.Getenv("E2E_IMAGE"); given != "" {
		image = given
	}
	baseImage = image + "-base"
	load := strings.Fields(os.Getenv("E2E_LOAD_IMAGE"))
	if os.Getenv("E2E_USE_CURRENT_CLUSTER") == "1" {
		if kubeconfig, err = currentKubeconfig(); err != nil {
			return 1, err
		}
	} else {
		script := filepath.Join(root, "hack/cluster/cluster.sh")
		load = []string{script, "load-image"}
		var down func() error
		if down, err = bringUp(script); err != nil {
			return 1, err
		}
		defer func() { err = errors.Join(err, down()) }()
	}
	if err := connect(); err != nil {
		return 1, err
	}
	tarballs, err := pack()
	if err != nil {
		return 1, err
	}
	for _, tarball := range tarballs {
		if len(load) == 0 {
			break
		}
		if _, err := command(root, load[0], append(load[1:], tarball)...); err != nil {
			return 1, err
		}
	}
	say("images loaded")
	return m.Run(), nil
}

// bringUp starts a cluster of our own.
func bringUp(script string) (down func() error, err error) {
	say("bringing up a cluster (KEEP=1 leaves it)")
	up := exec.Command(script, "up")
	up.Stdout, up.Stderr = os.Stdout, os.Stderr
	if err := up.Run(); err != nil {
		return nil, fmt.Errorf("bring up a cluster: %w", err)
	}
	if err := os.Setenv("NO_PROXY", strings.TrimPrefix(os.Getenv("NO_PROXY")+",198.18.0.0/15", ",")); err != nil { // where its addresses are
		return nil, err
	}
	kubeconfig = filepath.Join(root, "bin/cluster/admin.kubeconfig")
	return func() error {
		if os.Getenv("KEEP") == "1" {
			say("the cluster is still up: KUBECONFIG=%s", kubeconfig)
			return nil
		}
		say("taking the cluster down")
		_, err := command(root, script, "down")
		return err
	}, nil
}

// currentKubeconfig is the one file that $KUBECONFIG names, relative to the repository if it is relative.
func currentKubeconfig() (string, error) {
	file := os.Getenv("KUBECONFIG")
	if file == "" {
		return "", errors.New("E2E_USE_CURRENT_CLUSTER=1 needs KUBECONFIG to name the file of the cluster that may be used")
	}
	if !filepath.IsAbs(file) {
		file = filepath.Join(root, file)
	}
	return file, nil
}

func connect() error {
	var err error
	if kubectlBin, err = exec.LookPath("kubectl"); err != nil || os.Getenv("E2E_USE_CURRENT_CLUSTER") != "1" {
		assets, err := command(root, filepath.Join(root, "hack/kubernetes/assets.sh"))
		if err != nil {
			return err
		}
		kubectlBin = filepath.Join(strings.TrimSpace(assets), "kubectl")
	}
	if config, err = clientcmd.BuildConfigFromFlags("", kubeconfig); err != nil {
		return err
	}
	config.QPS = -1
	scheme := kuberuntime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(apiextensionsv1.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	if clients, err = kubernetes.NewForConfig(config); err != nil {
		return err
	}
	kube, err = client.New(config, client.Options{Scheme: scheme})
	return err
}

// pack makes the images of the binaries that make image and make image-demo have built, under the tests' own tags: the
// operator's of $E2E_BASE_BINARIES, if that is set, under the one that the upgrade begins with.
func pack() (tarballs []string, err error) {
	binaries := filepath.Join(root, "bin/linux-"+runtime.GOARCH)
	build := exec.Command("go", "build", "-buildvcs=false", "-trimpath", "-o", binaries+"/", "./test/e2e/loader")
	build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if output, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the loader: %w: %s", err, output)
	}
	for _, i := range []struct {
		ref, name string
		binaries  []string
	}{
		{image, "m2m-operator", []string{"m2m-manager", "m2m-issuer"}},
		{baseImage, "m2m-operator-base", []string{"m2m-manager", "m2m-issuer"}},
		{"localhost/course-api:demo", "course-api", []string{"course-api"}},
		{"localhost/publisher:demo", "publisher", []string{"publisher"}},
		{"localhost/loader:e2e", "loader", []string{"loader"}},
	} {
		out := filepath.Join(root, "bin/e2e", i.name)
		args := []string{"-C", "hack/image", "run", ".", "-platform", "linux/" + runtime.GOARCH, "-ref", i.ref, "-o", out}
		from := binaries
		if base := os.Getenv("E2E_BASE_BINARIES"); i.ref == baseImage && base != "" {
			from = base
		}
		for _, binary := range i.binaries {
			args = append(args, "-binary", binary+"="+filepath.Join(from, binary))
		}
		if _, err := command(root, "go", args...); err != nil {
			return nil, err
		}
		tarballs = append(tarballs, out+"-"+runtime.GOARCH+".tar")
	}
	return tarballs, nil
}

// command runs a program and returns what it prints; all of that is in the error if it fails.
func command(dir, name string, args ...string) (string, error) {
	c := exec.Command(name, args...)
	var stdout, stderr bytes.Buffer
	c.Dir, c.Stdout, c.Stderr = dir, &stdout, &stderr
	if err := c.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w: %s%s", filepath.Base(name), strings.Join(args, " "), err, stdout.String(), stderr.String())
	}
	return stdout.String(), nil
}

func kubectl(t *testing.T, args ...string) string {
	t.Helper()
	output, err := command(root, kubectlBin, append([]string{"--kubeconfig", kubeconfig}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	return output
}

// await tries until check returns "", and fails with what it said last.
func await(t *testing.T, limit time.Duration, what string, check func(ctx context.Context) string) time.Duration {
	t.Helper()
	begin := time.Now()
	for {
		why := check(t.Context())
		took := time.Since(begin)
		if why == "" {
			return took
		}
		if took > limit {
			t.Fatalf("%s: not within %s: %s", what, limit, why)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
