package suite

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/feed"
	"github.com/m2m-operator/m2m-operator/internal/manifests"
	"github.com/m2m-operator/m2m-operator/test/canary"
)

// observe watches the whole cluster during a run: what is secret in Secrets becomes canaries, and everything that the
// product writes for people becomes evidence, also where it is gone at the end.
func observe(ctx context.Context, config *rest.Config, run *canary.Run) error {
	informers, err := cache.New(config, cache.Options{Scheme: feed.NewScheme(), DefaultTransform: cache.TransformStripManagedFields()})
	if err != nil {
		return err
	}
	for _, object := range []client.Object{
		&corev1.Secret{}, &corev1.ConfigMap{}, &eventsv1.Event{},
		&v1alpha1.TokenIssuer{}, &v1alpha1.ApiResource{}, &v1alpha1.M2MClient{}, &v1alpha1.ScopeGrant{},
	} {
		informer, err := informers.GetInformer(ctx, object, cache.BlockUntilSynced(false))
		if err != nil {
			return fmt.Errorf("watch %T: %w", object, err)
		}
		if _, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
			AddFunc:    func(o any) { takeDown(run, o.(client.Object)) },
			UpdateFunc: func(_, o any) { takeDown(run, o.(client.Object)) },
		}); err != nil {
			return err
		}
	}
	go informers.Start(ctx) //nolint:errcheck // it ends with the context
	if !informers.WaitForCacheSync(ctx) {
		return errors.New("the cluster is not observed")
	}
	return nil
}

// Verdict is for the end of TestMain: it looks for everything secret in everything that was written down, and returns
// the exit code of the run.
func (s *Suite) Verdict(code int) int {
	for _, list := range []client.ObjectList{
		&eventsv1.EventList{}, &corev1.ConfigMapList{},
		&v1alpha1.TokenIssuerList{}, &v1alpha1.ApiResourceList{}, &v1alpha1.M2MClientList{}, &v1alpha1.ScopeGrantList{},
	} {
		if err := s.Admin.List(context.Background(), list); err != nil { // what the watch has not brought yet
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		text, err := json.Marshal(list)
		if err != nil {
			panic(err) // objects of these kinds always can be
		}
		s.Canary.Saw(fmt.Sprintf("%T", list), string(text))
	}
	return s.Canary.Verdict(os.Stderr, code)
}

// takeDown makes canaries of what is secret in an object, and evidence of the rest, but for what people wrote.
func takeDown(run *canary.Run, object client.Object) {
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		panic(err) // objects of these kinds always can be
	}
	delete(fields, "spec")
	if secret, ok := object.(*corev1.Secret); ok {
		takeSecrets(run, secret)
		delete(fields, "data")
	}
	text, err := json.Marshal(fields)
	if err != nil {
		panic(err)
	}
	run.Saw(fmt.Sprintf("%T %s/%s", object, object.GetNamespace(), object.GetName()), string(text))
}

func takeSecrets(run *canary.Run, secret *corev1.Secret) {
	name := secret.Namespace + "/" + secret.Name
	run.Secret("the client_secret of Secret "+name, string(secret.Data[manifests.KeyClientSecret]))
	run.Bytes("the pepper of Secret "+name, secret.Data[manifests.KeyPepper])
	var private struct{ D string }
	if json.Unmarshal(secret.Data[manifests.KeyPrivateJWK], &private) == nil {
		run.Secret("the signing key of Secret "+name, private.D)
	}
	// The first line of a key says of what type it is, the second is the key's own.
	if lines := bytes.Split(secret.Data[corev1.TLSPrivateKeyKey], []byte("\n")); len(lines) > 2 {
		run.Secret("the TLS key of Secret "+name, string(lines[2]))
	}
}
