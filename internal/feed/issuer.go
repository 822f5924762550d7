package feed

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/clientauth"
	"github.com/m2m-operator/m2m-operator/internal/garbage"
	"github.com/m2m-operator/m2m-operator/internal/issuer"
	"github.com/m2m-operator/m2m-operator/internal/snapshot"
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
	// SnapshotDir is where a snapshot is kept for a restart while the API server is away; none if empty.
	SnapshotDir string
	// SnapshotKeyFile holds the TokenIssuer's pepper, which the snapshot is encrypted under. It may come later.
	SnapshotKeyFile string
	// Logger for what a developer wants to know.
	Logger *slog.Logger
}

// issuerFeed feeds the state of a token server.
type issuerFeed struct {
	options  Options
	log      *slog.Logger
	index    *indexFeed
	material *material
	heard    *heard
	stores   map[string]*store // by kind
	clients  clients
	cluster  *clusterFeed
	writer   *snapshot.Writer // nil for none
	// restored is when the API server was last heard by who wrote the snapshot that was begun with, of the kind that it was
	// heard of the longest ago; zero if none was.
	restored time.Time
	// fallenBack says that what was restored is served, and recovered is done when it is no more.
	fallenBack atomic.Bool
	recovered  sync.Once
	settled    sync.Once
}

// Run feeds the state of a token server until the context ends. It returns an error only when it cannot start: an API
// server that is away is waited for.
func Run(ctx context.Context, config *rest.Config, options Options, state *issuer.State) error {
	f, err := newIssuerFeed(config, options, state)
	if err != nil {
		return err
	}
	if options.SnapshotDir != "" {
		f.useSnapshot()
	}
	state.SetWatchHeard(f.heard.times)
	state.SetSynced(f.complete)
	state.SetKnowledge(f.knowledge)

	following, stop := context.WithCancel(klog.NewContext(ctx, logr.FromSlogHandler(options.Logger.Handler())))
	var running sync.WaitGroup
	for _, s := range f.stores {
		running.Go(func() { f.follow(following, s) })
	}
	defer time.AfterFunc(patience, f.fallBack).Stop()
	running.Go(func() { f.cluster.run(following) }) // who has secrets, or keys of their own, does not wait for it
	if f.writer != nil {
		running.Go(func() { f.writeHeard(following) })
		writing, stopWriting := context.WithCancel(context.WithoutCancel(ctx))
		written := make(chan struct{})
		go func() {
			defer close(written)
			f.writer.Run(writing)
		}()
		defer func() { <-written }()
		defer stopWriting() // when nothing more can come
	}
	<-ctx.Done()
	stop()
	running.Wait()
	return nil
}

func newIssuerFeed(config *rest.Config, options Options, state *issuer.State) (*issuerFeed, error) {
	f := &issuerFeed{
		options: options, log: options.Logger, heard: newHeard(), stores: map[string]*store{},
		index: &indexFeed{index: state.Index()}, material: newMaterial(options, state),
	}
	config = rest.CopyConfig(config)
	config.Wrap(f.heard.wrap)
	config.Wrap(goOnOnlyWhereAnswered)
	var err error
	if f.clients, err = newClients(config, NewScheme()); err != nil {
		return nil, err
	}
	if f.cluster, err = newClusterFeed(config, options.Logger, func(cluster *clientauth.Cluster) {
		state.SetCluster(cluster)
		f.writer.Put(kindCluster, "", clusterDocument{Issuer: cluster.Issuer, Keys: cluster.Keys})
	}); err != nil {
		return nil, err
	}
	for _, k := range kinds {
		f.stores[k.name] = &store{
			kind: k, trim: f.material.trim, upsert: f.upsert, log: options.Logger,
			remove:   func(namespace, name string) { f.remove(k.name, namespace, name) },
			replaced: f.replaced, versions: map[string]string{}, relist: make(chan struct{}, 1),
		}
	}
	return f, nil
}

// useSnapshot begins with what the snapshot says, if there is one, and goes on writing it.
func (f *issuerFeed) useSnapshot() {
	options := snapshot.Options{
		Dir: f.options.SnapshotDir, KeyFile: f.options.SnapshotKeyFile,
		Namespace: f.options.Namespace, TokenIssuer: f.options.TokenIssuer,
		Relist: f.relist, Logger: f.log,
	}
	from := f.restore(options)
	f.writer = snapshot.NewWriter(options, from)
	for _, s := range f.stores {
		s.writer = f.writer
		if from != nil {
			s.epoch = f.writer.Epoch() // all that is there is in it
		}
	}
}

// relist has everything asked for anew.
func (f *issuerFeed) relist() {
	for _, s := range f.stores {
		select {
		case s.relist <- struct{}{}:
		default: // it is about to be
		}
	}
	f.cluster.want()
}

// upsert takes in an object as it is now.
func (f *issuerFeed) upsert(object client.Object) {
	switch o := object.(type) {
	case *corev1.Namespace:
		f.index.namespace(o.Name, terminating(o))
		return
	case *corev1.Secret, *corev1.ConfigMap:
		f.material.update(o)
		return
	case *v1alpha1.TokenIssuer:
		f.material.update(o)
	}
	f.index.upsert(nil, object)
}

// remove takes away an object that is gone.
func (f *issuerFeed) remove(kind, namespace, name string) {
	switch kind {
	case "Namespace":
		f.index.namespaceGone(name)
	case "Secret":
		f.material.forget(name)
	case "ConfigMap": // the last good key ring stays
	default:
		f.index.delete(access.Ref{Kind: access.Kind(kind), Namespace: namespace, Name: name})
	}
}

// complete reports whether all that there is is known, be it from a snapshot.
func (f *issuerFeed) complete() bool {
	for _, s := range f.stores {
		if !s.listed.Load() && (!s.loaded.Load() || !f.fallenBack.Load()) {
			return false
		}
	}
	return true
}

// unlisted are the kinds that the API server has not listed since the start.
func (f *issuerFeed) unlisted() []string {
	var names []string
	for _, k := range kinds {
		if !f.stores[k.name].listed.Load() {
			names = append(names, k.name)
		}
	}
	return names
}

// replaced is called after every list.
func (f *issuerFeed) replaced() {
	if len(f.unlisted()) == 0 {
		f.settled.Do(func() { // a list is several times what is kept of it, and there is none again soon
			debug.FreeOSMemory()
			f.writer.AfterWrite(debug.FreeOSMemory)
			garbage.LeaveRoom() // not before: by what is alive while a list comes in, there would be room for several times that
		})
	}
	if f.fallenBack.Load() && len(f.unlisted()) == 0 {
		f.recovered.Do(func() {
			f.log.Info("the API server has listed everything; the snapshot is served no more", "restored", f.restored)
		})
	}
}

// knowledge is for the state.
func (f *issuerFeed) knowledge() issuer.Knowledge {
	k := issuer.Knowledge{
		Unlisted: f.unlisted(), OlderLists: map[string]issuer.OlderLists{},
		SnapshotBytes: f.writer.Bytes(), SnapshotFailures: f.writer.Failures(),
	}
	if f.fallenBack.Load() {
		k.Restored = f.restored
	}
	for name, s := range f.stores {
		_, k.OlderLists[name] = s.status()
	}
	return k
}
