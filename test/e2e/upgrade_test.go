//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// testUpgrade applies config/default with the image of the previous commit, and then upgrades to the present one.
func testUpgrade(t *testing.T) {
	install(t, image)
	ensureCaller(t)
	l := startLoad(t)
	for _, to := range []string{baseImage, image} {
		l.phase(t, "upgrade to "+to, func(t *testing.T) {
			kubectl(t, "apply", "-k", overlay(t, to))
			await(t, 2*time.Minute, "image "+to, func(ctx context.Context) string {
				d := &appsv1.Deployment{}
				if err := kube.Get(ctx, client.ObjectKey{Namespace: system, Name: issuerName}, d); err != nil {
					return err.Error()
				}
				if got := d.Spec.Template.Spec.Containers[0].Image; got != to {
					return fmt.Sprintf("still %s", got)
				}
				return ""
			})
			awaitRollout(t, managers, 2)
			awaitRollout(t, issuerName, 2)
		})
	}
	total, _ := l.now(t)
	say("%s", total)
}
