package controlplane

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// tokenLife outlasts any test and a day of trying things: nothing renews the token.
const tokenLife = 24 * time.Hour

// unlimited turns client-side throttling off: it is there to spare a shared API server, and this one is not.
const unlimited = -1

// Admin may do everything. The caller owns the copy.
func (cp *ControlPlane) Admin() *rest.Config { return rest.CopyConfig(cp.admin) }

// AdminKubeconfig is Admin as the contents of a kubeconfig file.
func (cp *ControlPlane) AdminKubeconfig() []byte { return slices.Clone(cp.adminKubeconfig) }

// UserConfig is a person with a client certificate: no rights but what RBAC binds to the name or the groups.
func (cp *ControlPlane) UserConfig(name string, groups ...string) (*rest.Config, error) {
	user, err := cp.plane.AddUser(envtest.User{Name: name, Groups: groups}, &rest.Config{QPS: unlimited, Burst: unlimited})
	if err != nil {
		return nil, fmt.Errorf("make a client certificate for %s: %w", name, err)
	}
	return rest.CopyConfig(user.Config()), nil
}

// ServiceAccountConfig speaks as a ServiceAccount, by a token of the TokenRequest API. The ServiceAccount must exist:
// making it here would hide that a manifest forgot it.
func (cp *ControlPlane) ServiceAccountConfig(ctx context.Context, namespace, name string) (*rest.Config, error) {
	seconds := int64(tokenLife / time.Second)
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}
	if err := cp.client.SubResource("token").Create(ctx, account, request); err != nil {
		return nil, fmt.Errorf("request a token for ServiceAccount %s/%s: %w", namespace, name, err)
	}
	if request.Status.Token == "" {
		return nil, fmt.Errorf("the API server made no token for ServiceAccount %s/%s", namespace, name)
	}
	// Built from nothing rather than copied, so that no trace of the administrator's certificate is in it.
	return &rest.Config{
		Host:            cp.admin.Host,
		TLSClientConfig: rest.TLSClientConfig{CAData: cp.admin.CAData},
		BearerToken:     request.Status.Token,
		QPS:             unlimited,
		Burst:           unlimited,
	}, nil
}

// ServiceAccountKubeconfig is ServiceAccountConfig as the contents of a kubeconfig file, for a process of its own.
func (cp *ControlPlane) ServiceAccountKubeconfig(ctx context.Context, namespace, name string) ([]byte, error) {
	config, err := cp.ServiceAccountConfig(ctx, namespace, name)
	if err != nil {
		return nil, err
	}
	return Kubeconfig(config, namespace)
}

// Kubeconfig is the contents of a kubeconfig file that connects as config does, with a default namespace.
func Kubeconfig(config *rest.Config, namespace string) ([]byte, error) {
	const name = "m2m-controlplane"
	out := clientcmdapi.NewConfig()
	out.Clusters[name] = &clientcmdapi.Cluster{Server: config.Host, CertificateAuthorityData: config.CAData}
	out.AuthInfos[name] = &clientcmdapi.AuthInfo{
		ClientCertificateData: config.CertData,
		ClientKeyData:         config.KeyData,
		Token:                 config.BearerToken,
	}
	out.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name, Namespace: namespace}
	out.CurrentContext = name
	return clientcmd.Write(*out)
}

// WriteKubeconfig writes the contents of a kubeconfig file where its owner alone can read it: it holds a credential.
func WriteKubeconfig(path string, contents []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return fmt.Errorf("make the directory of the kubeconfig: %w", err)
	}
	part, err := os.CreateTemp(filepath.Dir(path), ".kubeconfig-") // 0600, and complete or absent under its real name
	if err != nil {
		return fmt.Errorf("write the kubeconfig: %w", err)
	}
	_, err = part.Write(contents)
	err = errors.Join(err, part.Close())
	if err == nil {
		err = os.Rename(part.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write the kubeconfig: %w", err), os.Remove(part.Name()))
	}
	return nil
}

// Client speaks as the administrator, with the built-in kinds and CustomResourceDefinitions left to unstructured.
func (cp *ControlPlane) Client() client.Client { return cp.client }
