// Package workload says what the manager deploys for a TokenIssuer: pure functions from its spec to
// ApplyConfigurations, the same bytes for the same input.
package workload

import (
	"encoding/json"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"
	appsv1ac "k8s.io/client-go/applyconfigurations/apps/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"
	policyv1ac "k8s.io/client-go/applyconfigurations/policy/v1"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/manifests"
)

const (
	// ServiceAccountName is what all issuers run as; its rights are in config/rbac.
	ServiceAccountName = "m2m-issuer"

	containerName = "issuer"
	portHTTPS     = 8443
	portOps       = 8081
	user          = 65532

	// drainSeconds is how long an issuer goes on serving after SIGTERM: until no endpoint leads to it any more.
	drainSeconds = 5
	// graceSeconds leaves time for the drain and for the requests that have begun.
	graceSeconds = 30

	tokenPath = "/var/run/secrets/kubernetes.io/serviceaccount"

	// snapshotPath is where an issuer keeps what it needs when its container restarts while the API server is away, and
	// keyPath where the pepper is that it is encrypted under.
	snapshotPath = "/var/run/m2m/snapshot"
	keyPath      = "/var/run/m2m/key"
)

// snapshotSize bounds what a snapshot takes of the container's memory; 50,000 clients need less.
var snapshotSize = resource.MustParse("256Mi")

const (
	volumeAccess   = "kube-api-access"
	volumeSnapshot = "snapshot"
	volumeKey      = "snapshot-key"
)

// Issuer is what the workload of a TokenIssuer is made of.
type Issuer struct {
	*v1alpha1.TokenIssuer
	// Namespace that the operator is installed in.
	Namespace string
	// Image that holds /m2m-issuer.
	Image string
}

// selector labels never change: a Deployment's selector is immutable.
func (i Issuer) selector() map[string]string {
	return map[string]string{"app.kubernetes.io/name": "m2m-issuer", "app.kubernetes.io/instance": i.Name}
}

func (i Issuer) labels() map[string]string {
	labels := i.selector()
	labels[manifests.LabelManagedBy] = manifests.ManagedBy
	labels[manifests.LabelIssuer] = i.Name
	return labels
}

func (i Issuer) owner() *metav1ac.OwnerReferenceApplyConfiguration {
	return metav1ac.OwnerReference().WithAPIVersion(v1alpha1.GroupVersion.String()).WithKind("TokenIssuer").
		WithName(i.Name).WithUID(i.UID).WithController(true)
}

func (i Issuer) spec() v1alpha1.TokenIssuerDeployment {
	spec := v1alpha1.TokenIssuerDeployment{}
	if i.Spec.Deployment != nil {
		spec = *i.Spec.Deployment.DeepCopy()
	}
	if spec.Replicas == 0 {
		spec.Replicas = 2
	}
	if spec.Resources == nil {
		spec.Resources = &corev1.ResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("96Mi")},
			Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("512Mi")},
		}
	}
	return spec
}

// ServiceAccount that all issuers run as. It belongs to the installation, not to one TokenIssuer.
func (i Issuer) ServiceAccount() *corev1ac.ServiceAccountApplyConfiguration {
	return corev1ac.ServiceAccount(ServiceAccountName, i.Namespace).
		WithLabels(map[string]string{manifests.LabelManagedBy: manifests.ManagedBy}).
		WithAutomountServiceAccountToken(false)
}

// Service that answers token requests at the issuer's default URL.
func (i Issuer) Service() *corev1ac.ServiceApplyConfiguration {
	return corev1ac.Service(i.ServiceName(), i.Namespace).
		WithLabels(i.labels()).WithOwnerReferences(i.owner()).
		WithSpec(corev1ac.ServiceSpec().
			WithType(corev1.ServiceTypeClusterIP).
			WithSelector(i.selector()).
			WithPorts(corev1ac.ServicePort().WithName("https").WithPort(443).WithProtocol(corev1.ProtocolTCP).
				WithTargetPort(intstr.FromString("https")).WithAppProtocol("https")))
}

// PodDisruptionBudget lets one issuer go at a time.
func (i Issuer) PodDisruptionBudget() *policyv1ac.PodDisruptionBudgetApplyConfiguration {
	return policyv1ac.PodDisruptionBudget(i.ServiceName(), i.Namespace).
		WithLabels(i.labels()).WithOwnerReferences(i.owner()).
		WithSpec(policyv1ac.PodDisruptionBudgetSpec().
			WithMaxUnavailable(intstr.FromInt32(1)).
			WithSelector(metav1ac.LabelSelector().WithMatchLabels(i.selector())))
}

// Deployment of the token servers. A new one must serve before an old one goes. The error says which part of
// spec.deployment cannot be used.
func (i Issuer) Deployment() (*appsv1ac.DeploymentApplyConfiguration, error) {
	spec := i.spec()
	pod, err := i.pod(spec)
	if err != nil {
		return nil, err
	}
	podLabels := maps.Clone(spec.PodLabels)
	if podLabels == nil {
		podLabels = map[string]string{}
	}
	maps.Copy(podLabels, i.labels())
	return appsv1ac.Deployment(i.ServiceName(), i.Namespace).
		WithLabels(i.labels()).WithOwnerReferences(i.owner()).
		WithSpec(appsv1ac.DeploymentSpec().
			WithReplicas(spec.Replicas).
			WithSelector(metav1ac.LabelSelector().WithMatchLabels(i.selector())).
			WithStrategy(appsv1ac.DeploymentStrategy().WithType("RollingUpdate").WithRollingUpdate(
				appsv1ac.RollingUpdateDeployment().WithMaxSurge(intstr.FromInt32(1)).WithMaxUnavailable(intstr.FromInt32(0)))).
			WithTemplate(corev1ac.PodTemplateSpec().
				WithLabels(podLabels).WithAnnotations(spec.PodAnnotations).
				WithSpec(pod))), nil
}

func (i Issuer) pod(spec v1alpha1.TokenIssuerDeployment) (*corev1ac.PodSpecApplyConfiguration, error) {
	container, err := i.container(spec)
	if err != nil {
		return nil, err
	}
	pod := corev1ac.PodSpec().
		WithServiceAccountName(ServiceAccountName).
		WithAutomountServiceAccountToken(false). // the projected one below instead
		WithEnableServiceLinks(false).
		WithTerminationGracePeriodSeconds(graceSeconds).
		WithSecurityContext(corev1ac.PodSecurityContext().
			WithRunAsNonRoot(true).WithRunAsUser(user).WithRunAsGroup(user).WithFSGroup(user).
			WithSeccompProfile(corev1ac.SeccompProfile().WithType(corev1.SeccompProfileTypeRuntimeDefault))).
		WithContainers(container).
		WithVolumes(accessVolume(), snapshotVolume(), i.keyVolume()).
		WithNodeSelector(spec.NodeSelector)
	if spec.PriorityClassName != "" {
		pod.WithPriorityClassName(spec.PriorityClassName)
	}
	if err := i.place(pod, spec); err != nil {
		return nil, err
	}
	return pod, nil
}

// place says on which nodes the pods run.
func (i Issuer) place(pod *corev1ac.PodSpecApplyConfiguration, spec v1alpha1.TokenIssuerDeployment) error {
	if err := convert("affinity", spec.Affinity, &pod.Affinity); err != nil {
		return err
	}
	if err := convert("tolerations", spec.Tolerations, &pod.Tolerations); err != nil {
		return err
	}
	if len(spec.TopologySpreadConstraints) > 0 {
		return convert("topologySpreadConstraints", spec.TopologySpreadConstraints, &pod.TopologySpreadConstraints)
	}
	for _, key := range []string{corev1.LabelHostname, corev1.LabelTopologyZone} {
		pod.WithTopologySpreadConstraints(corev1ac.TopologySpreadConstraint().
			WithMaxSkew(1).WithTopologyKey(key).WithWhenUnsatisfiable(corev1.ScheduleAnyway).
			WithLabelSelector(metav1ac.LabelSelector().WithMatchLabels(i.selector())))
	}
	return nil
}

func (i Issuer) container(spec v1alpha1.TokenIssuerDeployment) (*corev1ac.ContainerApplyConfiguration, error) {
	container := corev1ac.Container().
		WithName(containerName).
		WithImage(i.Image).
		WithCommand("/m2m-issuer").
		WithArgs("--token-issuer="+i.Name, "--namespace="+i.Namespace, fmt.Sprintf("--listen=:%d", portHTTPS),
			fmt.Sprintf("--ops-listen=:%d", portOps), fmt.Sprintf("--drain-delay=%ds", drainSeconds),
			"--snapshot-dir="+snapshotPath, "--snapshot-key-file="+keyPath+"/"+manifests.KeyPepper).
		WithPorts(
			corev1ac.ContainerPort().WithName("https").WithContainerPort(portHTTPS).WithProtocol(corev1.ProtocolTCP),
			corev1ac.ContainerPort().WithName("ops").WithContainerPort(portOps).WithProtocol(corev1.ProtocolTCP)).
		WithReadinessProbe(probe("/readyz", 1).WithFailureThreshold(2)).
		WithLivenessProbe(probe("/livez", 10).WithFailureThreshold(3)).
		WithSecurityContext(corev1ac.SecurityContext().
			WithAllowPrivilegeEscalation(false).WithReadOnlyRootFilesystem(true).
			WithCapabilities(corev1ac.Capabilities().WithDrop("ALL"))).
		WithVolumeMounts(
			corev1ac.VolumeMount().WithName(volumeAccess).WithMountPath(tokenPath).WithReadOnly(true),
			corev1ac.VolumeMount().WithName(volumeSnapshot).WithMountPath(snapshotPath),
			corev1ac.VolumeMount().WithName(volumeKey).WithMountPath(keyPath).WithReadOnly(true))
	return container, convert("resources", spec.Resources, &container.Resources)
}

func probe(path string, period int32) *corev1ac.ProbeApplyConfiguration {
	return corev1ac.Probe().WithPeriodSeconds(period).WithTimeoutSeconds(2).
		WithHTTPGet(corev1ac.HTTPGetAction().WithPath(path).WithPort(intstr.FromString("ops")))
}

// accessVolume is what the automatic mount would hold: a token for the API server alone, and its authority.
func accessVolume() *corev1ac.VolumeApplyConfiguration {
	return corev1ac.Volume().WithName(volumeAccess).WithProjected(corev1ac.ProjectedVolumeSource().WithSources(
		corev1ac.VolumeProjection().WithServiceAccountToken(
			corev1ac.ServiceAccountTokenProjection().WithPath("token").WithExpirationSeconds(3600)),
		corev1ac.VolumeProjection().WithConfigMap(corev1ac.ConfigMapProjection().WithName("kube-root-ca.crt").
			WithItems(corev1ac.KeyToPath().WithKey("ca.crt").WithPath("ca.crt"))),
	))
}

// snapshotVolume is in memory: it holds keys and verifiers, if encrypted, which belong on no disk, and it lives and ends
// with the pod.
func snapshotVolume() *corev1ac.VolumeApplyConfiguration {
	return corev1ac.Volume().WithName(volumeSnapshot).WithEmptyDir(corev1ac.EmptyDirVolumeSource().
		WithMedium(corev1.StorageMediumMemory).WithSizeLimit(snapshotSize))
}

// keyVolume holds the pepper. It is optional, for the pod may be there first: then it comes later.
func (i Issuer) keyVolume() *corev1ac.VolumeApplyConfiguration {
	return corev1ac.Volume().WithName(volumeKey).WithSecret(corev1ac.SecretVolumeSource().
		WithSecretName(manifests.PepperName(i.Name)).WithOptional(true).WithDefaultMode(0o440).
		WithItems(corev1ac.KeyToPath().WithKey(manifests.KeyPepper).WithPath(manifests.KeyPepper)))
}

// convert copies what the user wrote in Kubernetes' own types into an ApplyConfiguration.
func convert[From, To any](field string, from From, to *To) error {
	text, err := json.Marshal(from)
	if err == nil && string(text) != "null" {
		err = json.Unmarshal(text, to)
	}
	if err != nil {
		return fmt.Errorf("spec.deployment.%s: %w", field, err)
	}
	return nil
}
