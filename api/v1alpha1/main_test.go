package v1alpha1_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/hack/controlplane"
)

// api speaks to a real API server that serves the generated definitions: what is true of the Go types and the CRDs is
// what it accepts and refuses. It refuses fields that it does not know, so that a typing error in a test is seen.
var api client.Client

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "the tests of the kinds need a control plane:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	ctx := context.Background()
	cp, err := controlplane.Start(ctx, controlplane.Options{})
	if err != nil {
		return 1, err
	}
	defer func() {
		if stopErr := cp.Stop(); err == nil {
			err = stopErr
		}
	}()
	root, err := controlplane.RepoRoot()
	if err != nil {
		return 1, err
	}
	if err := cp.InstallManifests(ctx, filepath.Join(root, definitionsDir)); err != nil {
		return 1, err
	}
	s := runtime.NewScheme()
	if err := scheme.AddToScheme(s); err != nil {
		return 1, err
	}
	if err := v1alpha1.AddToScheme(s); err != nil {
		return 1, err
	}
	c, err := client.New(cp.Admin(), client.Options{Scheme: s})
	if err != nil {
		return 1, err
	}
	api = client.WithFieldValidation(c, metav1.FieldValidationStrict)
	return m.Run(), nil
}
