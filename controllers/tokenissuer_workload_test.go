package controllers_test

import (
	"context"
	"fmt"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

func TestWorkloadComesBackWhenDeleted(t *testing.T) {
	newIssuer(t, "deployed", nil)
	for _, object := range []client.Object{
		&appsv1.Deployment{}, &corev1.Service{}, &policyv1.PodDisruptionBudget{}, &corev1.ServiceAccount{},
	} {
		name := "m2m-issuer-deployed"
		if _, shared := object.(*corev1.ServiceAccount); shared {
			name = "m2m-issuer"
		}
		suite.Eventually(t, func() string {
			if err := admin.Get(context.Background(), client.ObjectKey{Namespace: installNamespace, Name: name}, object); err != nil {
				return err.Error()
			}
			return ""
		})
		uid := object.GetUID()
		if err := admin.Delete(context.Background(), object); err != nil {
			t.Fatal(err)
		}
		suite.Eventually(t, func() string {
			err := admin.Get(context.Background(), client.ObjectKey{Namespace: installNamespace, Name: name}, object)
			if apierrors.IsNotFound(err) || object.GetUID() == uid {
				return fmt.Sprintf("%T is not back: %v", object, err)
			}
			return ""
		})
	}
}

func TestWorkloadIsHealedWhenEdited(t *testing.T) {
	newIssuer(t, "edited", nil)
	deployment := get(t, &appsv1.Deployment{}, installNamespace, "m2m-issuer-edited")
	zero := int32(0)
	deployment.Spec.Replicas = &zero
	deployment.Spec.Template.Spec.Containers[0].Image = "evil:1"
	deployment.Annotations = map[string]string{"theirs": "stays"}
	suite.Save(t, admin, deployment)
	service := get(t, &corev1.Service{}, installNamespace, "m2m-issuer-edited")
	service.Spec.Selector["app.kubernetes.io/instance"] = "other"
	suite.Save(t, admin, service)
	suite.Eventually(t, func() string {
		d := get(t, &appsv1.Deployment{}, installNamespace, "m2m-issuer-edited")
		s := get(t, &corev1.Service{}, installNamespace, "m2m-issuer-edited")
		if *d.Spec.Replicas != 2 || d.Spec.Template.Spec.Containers[0].Image != image || s.Spec.Selector["app.kubernetes.io/instance"] != "edited" {
			return fmt.Sprintf("replicas %d, image %s, selector %v", *d.Spec.Replicas, d.Spec.Template.Spec.Containers[0].Image, s.Spec.Selector)
		}
		if d.Annotations["theirs"] != "stays" {
			t.Fatal("somebody else's annotation is gone")
		}
		return ""
	})
}

// TestPullSecretsStay: those that an installation gives the issuers' ServiceAccount are not the manager's to take away.
func TestPullSecretsStay(t *testing.T) {
	newIssuer(t, "pulling", nil)
	account := get(t, &corev1.ServiceAccount{}, installNamespace, "m2m-issuer")
	automount := true
	account.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "registry"}}
	account.AutomountServiceAccountToken = &automount
	suite.Save(t, admin, account)
	suite.Eventually(t, func() string {
		account = get(t, account, installNamespace, "m2m-issuer")
		if *account.AutomountServiceAccountToken {
			return "the manager has not applied the ServiceAccount again"
		}
		return ""
	})
	if len(account.ImagePullSecrets) != 1 || account.ImagePullSecrets[0].Name != "registry" {
		t.Errorf("it has the pull secrets %v", account.ImagePullSecrets)
	}
}

func TestDeploymentFollowsTheSpec(t *testing.T) {
	issuer := newIssuer(t, "shaped", func(s *v1alpha1.TokenIssuerSpec) {
		s.Deployment = &v1alpha1.TokenIssuerDeployment{
			Replicas: 5, NodeSelector: map[string]string{"disk": "fast"}, PriorityClassName: "system-cluster-critical",
			PodLabels: map[string]string{"team": "platform"}, PodAnnotations: map[string]string{"note": "hello"},
			Tolerations: []corev1.Toleration{{Key: "dedicated", Operator: corev1.TolerationOpExists}},
		}
	})
	pod := get(t, &appsv1.Deployment{}, installNamespace, "m2m-issuer-shaped").Spec.Template
	if pod.Spec.NodeSelector["disk"] != "fast" || pod.Spec.PriorityClassName != "system-cluster-critical" || pod.Labels["team"] != "platform" ||
		pod.Annotations["note"] != "hello" || len(pod.Spec.Tolerations) != 1 {
		t.Errorf("template %+v", pod)
	}
	issuer.Spec.Deployment = nil
	suite.Save(t, admin, issuer)
	suite.Eventually(t, func() string {
		d := get(t, &appsv1.Deployment{}, installNamespace, "m2m-issuer-shaped")
		if *d.Spec.Replicas != 2 || len(d.Spec.Template.Spec.NodeSelector) != 0 || len(d.Spec.Template.Spec.Tolerations) != 0 {
			return "what the spec does not ask for any more is still there"
		}
		return ""
	})
}

func TestRefusedWorkloadIsReported(t *testing.T) {
	issuer := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "refused"}}
	issuer.Spec.Deployment = &v1alpha1.TokenIssuerDeployment{Tolerations: []corev1.Toleration{{Key: "a", Operator: "Sometimes"}}}
	create(t, issuer)
	awaitCondition(t, issuer, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonWorkloadRefused)
	awaitCondition(t, issuer, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonWorkloadRefused)
}

func TestIssuerWithoutReadyPodsIsNotReady(t *testing.T) {
	unavailable.Store("m2m-issuer-down", true)
	issuer := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "down"}}
	create(t, issuer)
	awaitCondition(t, issuer, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonNoReadyIssuer)
	awaitCondition(t, issuer, v1alpha1.ConditionStalled, metav1.ConditionFalse, v1alpha1.ReasonProgressing)
	unavailable.Delete("m2m-issuer-down")
	awaitReady(t, issuer)
}

func TestChangedURLIsWarnedOf(t *testing.T) {
	issuer := newIssuer(t, "renamed", nil)
	issuer.Spec.URL = "https://renamed.example.com"
	suite.Save(t, admin, issuer)
	awaitEvent(t, "TokenIssuer", "renamed", v1alpha1.ReasonIssuerURLChanged)
}
