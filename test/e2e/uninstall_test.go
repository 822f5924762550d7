//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// testUninstall takes everything away in three orders. None may hang or leave anything.
func testUninstall(t *testing.T) {
	everything := func(t *testing.T) {
		kubectl(t, "delete", "-k", overlay(t, image), "--ignore-not-found", "--timeout=90s")
	}
	for _, order := range []struct {
		name string
		do   func(t *testing.T)
	}{
		{"as installed", everything},
		{"definitions first", func(t *testing.T) {
			kubectl(t, "delete", "-k", filepath.Join(root, "config/crd"), "--timeout=90s")
			everything(t)
		}},
		{"namespace first", func(t *testing.T) {
			kubectl(t, "delete", "namespace", system, "--timeout=90s")
			everything(t)
		}},
	} {
		install(t, image)
		ensureCaller(t)
		ensureCourses(t)
		begin := time.Now()
		order.do(t)
		say("uninstall, %s: %.1f s", order.name, time.Since(begin).Seconds())
		took := await(t, 2*time.Minute, "nothing left", func(context.Context) string { return leftovers(t) })
		say("nothing is left %.1f s later", took.Seconds())
	}
}

// leftovers are objects of the operator, by name or by label.
func leftovers(t *testing.T) string {
	t.Helper()
	var left []string
	for _, line := range strings.Fields(kubectl(t, "get", "-o", "name",
		"customresourcedefinitions,clusterroles,clusterrolebindings,namespaces,validatingwebhookconfigurations,mutatingwebhookconfigurations,apiservices,priorityclasses")) {
		if strings.Contains(line, "m2m") {
			left = append(left, line)
		}
	}
	for _, line := range strings.Split(strings.TrimSpace(kubectl(t, "get", "-A", "--no-headers", "-l", "app.kubernetes.io/managed-by=m2m-operator",
		"secrets,configmaps,services,serviceaccounts,deployments,poddisruptionbudgets,pods,roles,rolebindings,networkpolicies,leases")), "\n") {
		if line != "" {
			left = append(left, line)
		}
	}
	if len(left) > 0 {
		return fmt.Sprintf("%d left: %s", len(left), strings.Join(left, "; "))
	}
	return ""
}
