//go:build e2e

package e2e

import (
	"testing"
	"time"
)

// TestE2E runs the tests one after the other on one cluster. Each makes what it needs, so that any can run alone.
func TestE2E(t *testing.T) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T)
	}{
		{"Install", testInstall},
		{"Denial", testDenial},
		{"Healing", testHealing},
		{"Recreation", testRecreation},
		{"Rights", testRights},
		{"Courses", testCourses},
		{"Rotation", testRotation},
		{"Disruption", testDisruption},
		{"Upgrade", testUpgrade},
		{"Uninstall", testUninstall},
	} {
		passed := t.Run(test.name, func(t *testing.T) {
			begin := time.Now()
			say("%s ...", test.name)
			test.run(t)
			say("%s took %.1f s", test.name, time.Since(begin).Seconds())
		})
		if !passed && test.name == "Install" {
			t.Fatal("no test can pass where it cannot be installed")
		}
	}
}
