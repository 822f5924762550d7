package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

// conditionTimeout is generous: the demo also runs beside a compiler.
const conditionTimeout = 30 * time.Second

func newClient(kubeconfig string) (client.Client, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return nil, err
	}
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	return client.New(config, client.Options{Scheme: scheme})
}

// conditioned is one of the four kinds.
type conditioned interface {
	client.Object
	v1alpha1.Conditioned
}

// awaitReady waits until the operator has looked at the object as it is now and says Ready.
func awaitReady(ctx context.Context, c client.Client, object conditioned) error {
	var last string
	err := wait.PollUntilContextTimeout(ctx, pollInterval, conditionTimeout, true, func(ctx context.Context) (bool, error) {
		if err := c.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
			return false, err
		}
		ready := meta.FindStatusCondition(*object.StatusConditions(), v1alpha1.ConditionReady)
		if ready == nil {
			return false, nil
		}
		last = fmt.Sprintf("%s=%s, %s: %s", ready.Type, ready.Status, ready.Reason, ready.Message)
		return ready.Status == "True" && *object.ObservedGeneration() == object.GetGeneration(), nil
	})
	if err != nil {
		return fmt.Errorf("%T %s is not ready: %s: %w", object, client.ObjectKeyFromObject(object), last, err)
	}
	return nil
}

// mountSecret writes a Secret's keys as files, as a kubelet does for a pod.
func mountSecret(ctx context.Context, c client.Client, namespace, name, dir string) (map[string][]byte, error) {
	var secret corev1.Secret
	if err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &secret); err != nil {
		return nil, err
	}
	return secret.Data, writeFiles(dir, secret.Data)
}

// mountConfigMap waits for a ConfigMap and writes its keys as files.
func mountConfigMap(ctx context.Context, c client.Client, namespace, name, dir string) error {
	var config corev1.ConfigMap
	err := wait.PollUntilContextCancel(ctx, pollInterval, true, func(ctx context.Context) (bool, error) {
		err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &config)
		return err == nil, client.IgnoreNotFound(err)
	})
	if err != nil {
		return fmt.Errorf("mount ConfigMap %s/%s: %w", namespace, name, err)
	}
	files := map[string][]byte{}
	for key, text := range config.Data {
		files[key] = []byte(text)
	}
	return writeFiles(dir, files)
}

func writeFiles(dir string, files map[string][]byte) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for name, contents := range files {
		if err := writePrivate(filepath.Join(dir, name), contents); err != nil {
			return err
		}
	}
	return nil
}

// mayDo asks the API server what RBAC lets a ServiceAccount of the install namespace do.
func mayDo(ctx context.Context, c client.Client, account string, what authorizationv1.ResourceAttributes) (bool, error) {
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User:               "system:serviceaccount:" + installNamespace + ":" + account,
		Groups:             []string{"system:serviceaccounts", "system:serviceaccounts:" + installNamespace, "system:authenticated"},
		ResourceAttributes: &what,
	}}
	if err := c.Create(ctx, review); err != nil {
		return false, err
	}
	return review.Status.Allowed, nil
}

// awaitMatchedClients waits for the number of clients that a grant says it matches, which is written now and then.
func awaitMatchedClients(ctx context.Context, c client.Client, grant *v1alpha1.ScopeGrant, want int32) error {
	err := wait.PollUntilContextTimeout(ctx, pollInterval, conditionTimeout, true, func(ctx context.Context) (bool, error) {
		err := c.Get(ctx, client.ObjectKeyFromObject(grant), grant)
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		return err == nil && grant.Status.MatchedClients != nil && *grant.Status.MatchedClients == want, err
	})
	if err != nil {
		return fmt.Errorf("ScopeGrant %s does not say that it matches %d client: %w", client.ObjectKeyFromObject(grant), want, err)
	}
	return nil
}

// awaitAccess waits until the client's status lists what the client may do.
func awaitAccess(ctx context.Context, c client.Client, of *v1alpha1.M2MClient) error {
	err := wait.PollUntilContextTimeout(ctx, pollInterval, conditionTimeout, true, func(ctx context.Context) (bool, error) {
		err := c.Get(ctx, client.ObjectKeyFromObject(of), of)
		return len(of.Status.Access) > 0, err
	})
	if err != nil {
		return fmt.Errorf("M2MClient %s does not list its access: %w", client.ObjectKeyFromObject(of), err)
	}
	return nil
}
