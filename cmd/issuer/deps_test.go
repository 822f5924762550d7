package main

import (
	"os/exec"
	"strings"
	"testing"
)

// TestDependencies: the token server cannot reconcile anything, because it does not link what reconciles.
func TestDependencies(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	dependencies := strings.Fields(string(out))
	if len(dependencies) < 100 {
		t.Fatalf("go list names %d packages, which cannot be all", len(dependencies))
	}
	for _, dependency := range dependencies {
		for _, forbidden := range []string{
			"sigs.k8s.io/controller-runtime/pkg/manager",
			"sigs.k8s.io/controller-runtime/pkg/controller",
			"sigs.k8s.io/controller-runtime/pkg/reconcile",
			"sigs.k8s.io/controller-runtime/pkg/webhook",
			"github.com/m2m-operator/m2m-operator/controllers",
		} {
			if dependency == forbidden || strings.HasPrefix(dependency, forbidden+"/") {
				t.Errorf("m2m-issuer links %s: find the import with `go mod why %s`, and move what it needs to internal/", dependency, dependency)
			}
		}
	}
}
