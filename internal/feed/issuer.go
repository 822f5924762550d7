package feed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/issuer"
)

// Config finds the API server: the kubeconfig file if one is named, else $KUBECONFIG, else the pod's ServiceAccount.
func Config(kubeconfig string) (*rest.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = kubeconfig
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("no way to the Kubernetes API: %w; give --kubeconfig, set KUBECONFIG, or run in a pod with a ServiceAccount", err)
	}
	return config, nil
}

// Options of an issuer's feed.
type Options struct {
	// Namespace that the operator is installed in.
	Namespace string
	// TokenIssuer is the name of the TokenIssuer that is served.
	TokenIssuer string
	// Logger for what a developer wants to know.
	Logger *slog.Logger
}

// Run feeds the state of a token server until the context ends. It returns an error only when it cannot start: an API
// server that is away is waited for.
func Run(ctx context.Context, config *rest.Config, options Options, state *issuer.State) error {
	ctrllog.SetLogger(logr.FromSlogHandler(options.Logger.Handler()))
	h := newHeard()
	config = rest.CopyConfig(config)
	config.Wrap(h.wrap)
	state.SetWatchHeard(h.times)
	inInstallNamespace := cache.ByObject{Namespaces: map[string]cache.Config{options.Namespace: {}}}
	informers, err := cache.New(config, cache.Options{
		Scheme:           NewScheme(),
		Mapper:           newMapper(),
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Secret{}:    inInstallNamespace,
			&corev1.ConfigMap{}: inInstallNamespace,
		},
	})
	if err != nil {
		return err
	}
	objectsSynced, err := Index(ctx, informers, state.Index(), nil)
	if err != nil {
		return err
	}
	m := newMaterial(options, state)
	materialSynced, err := m.watch(ctx, informers)
	if err != nil {
		return err
	}
	state.SetSynced(func() bool { return objectsSynced() && materialSynced() })
	cluster, err := newClusterFeed(config, options.Logger, state.SetCluster)
	if err != nil {
		return err
	}
	go cluster.run(ctx) // who has secrets, or keys of their own, does not wait for it
	if err := informers.Start(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// newMapper knows what is watched without asking an API server, which may be away.
func newMapper() meta.RESTMapper {
	mapper := meta.NewDefaultRESTMapper(nil)
	mapper.Add(v1alpha1.GroupVersion.WithKind("TokenIssuer"), meta.RESTScopeRoot)
	for _, kind := range []string{"ApiResource", "M2MClient", "ScopeGrant"} {
		mapper.Add(v1alpha1.GroupVersion.WithKind(kind), meta.RESTScopeNamespace)
	}
	mapper.Add(corev1.SchemeGroupVersion.WithKind("Namespace"), meta.RESTScopeRoot)
	mapper.Add(corev1.SchemeGroupVersion.WithKind("Secret"), meta.RESTScopeNamespace)
	mapper.Add(corev1.SchemeGroupVersion.WithKind("ConfigMap"), meta.RESTScopeNamespace)
	return mapper
}

// watch follows everything that signing keys, pepper and certificate are made of.
func (m *material) watch(ctx context.Context, informers cache.Informers) (synced func() bool, err error) {
	var registrations []toolscache.ResourceEventHandlerRegistration
	for _, object := range []client.Object{&v1alpha1.TokenIssuer{}, &corev1.Secret{}, &corev1.ConfigMap{}} {
		registration, err := handle(ctx, informers, object, toolscache.ResourceEventHandlerFuncs{
			AddFunc:    m.update,
			UpdateFunc: func(_, o any) { m.update(o) },
			DeleteFunc: func(o any) { m.forget(last(o)) },
		})
		if err != nil {
			return nil, err
		}
		registrations = append(registrations, registration)
	}
	return allSynced(registrations), nil
}
