package workload_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/manifests/workload"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestGolden(t *testing.T) {
	plain := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "default", UID: "uid"}}
	shaped := plain.DeepCopy()
	shaped.Spec.Deployment = &v1alpha1.TokenIssuerDeployment{
		Replicas: 3,
		Resources: &corev1.ResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("0.5")}, Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1024Mi")},
		},
		NodeSelector:      map[string]string{"disk": "fast", "arch": "arm64"},
		Tolerations:       []corev1.Toleration{{Key: "dedicated", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule}},
		Affinity:          &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{{TopologyKey: "kubernetes.io/hostname"}}}},
		PriorityClassName: "system-cluster-critical",
		PodLabels:         map[string]string{"team": "platform", "app.kubernetes.io/name": "must not win"},
		PodAnnotations:    map[string]string{"note": "hello"},
		TopologySpreadConstraints: []corev1.TopologySpreadConstraint{{
			MaxSkew: 1, TopologyKey: "rack", WhenUnsatisfiable: corev1.DoNotSchedule,
		}},
	}
	deployment := func(i *v1alpha1.TokenIssuer) any {
		d, err := workload.Issuer{TokenIssuer: i, Namespace: "m2m-system", Image: "m2m-operator:v1"}.Deployment()
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	w := workload.Issuer{TokenIssuer: plain, Namespace: "m2m-system", Image: "m2m-operator:v1"}
	for name, object := range map[string]any{
		"deployment": deployment(plain), "deployment-shaped": deployment(shaped),
		"service": w.Service(), "pod-disruption-budget": w.PodDisruptionBudget(), "service-account": w.ServiceAccount(),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := yaml.Marshal(object)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", name+".yaml")
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != string(want) {
				t.Errorf("differs from %s (-update rewrites it):\n%s", file, got)
			}
		})
	}
}
