package feed

import (
	"context"
	"errors"
	"net/http"
	"time"

	"golang.org/x/time/rate"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

const (
	// maxSilence is how long a watch may say nothing. API servers send a bookmark about once a minute, so that one which
	// does not is dead, or waits for a resourceVersion that a restored API server has not come to.
	maxSilence    = 3 * time.Minute
	silenceChecks = 15 * time.Second

	// problemInterval is how often it is logged that a kind cannot be followed.
	problemInterval = 30 * time.Second
)

// backoff between attempts to reach the API server: at most a second, so that what was taken away during an outage is
// known soon after it. An attempt of each kind a second is little for an API server that comes back.
func backoff() *wait.Backoff {
	return &wait.Backoff{Duration: 200 * time.Millisecond, Factor: 2, Jitter: 0.25, Steps: 10, Cap: 800 * time.Millisecond}
}

// clients of the API server, by group and version. They share connections.
type clients map[schema.GroupVersion]*rest.RESTClient

func newClients(config *rest.Config, scheme *runtime.Scheme) (clients, error) {
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	all := clients{}
	for _, k := range kinds {
		if all[k.group] != nil {
			continue
		}
		if all[k.group], err = newClient(config, httpClient, scheme, k.group); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func newClient(config *rest.Config, httpClient *http.Client, scheme *runtime.Scheme, group schema.GroupVersion) (*rest.RESTClient, error) {
	config = rest.CopyConfig(config)
	config.GroupVersion = &group
	config.APIPath = "/apis"
	if group.Group == "" {
		config.APIPath = "/api"
	}
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	if group == v1alpha1.GroupVersion {
		config.NegotiatedSerializer = newWatchDecoding(config.NegotiatedSerializer, group)
	}
	config.QPS = -1 // the backoff bounds what is asked, and nothing else is
	return rest.RESTClientForConfigAndClient(config, httpClient)
}

// source lists and watches one kind.
type source struct {
	client    *rest.RESTClient
	resource  string
	namespace string // "" for all
	trim      func(client.Object)
	problem   func(error)
}

func (s source) request(options metav1.ListOptions) *rest.Request {
	return s.client.Get().Namespace(s.namespace).Resource(s.resource).VersionedParams(&options, metav1.ParameterCodec)
}

// list asks for what there is now, without naming a resourceVersion: what an API server has in its cache may be older than
// what is known here, and one that was restored from a backup has not come to there.
func (s source) list(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
	options.ResourceVersion = ""
	list, err := s.request(options).Do(ctx).Get()
	if err != nil {
		return nil, err
	}
	return list, meta.EachListItem(list, func(item runtime.Object) error {
		s.trim(item.(client.Object))
		return nil
	})
}

// watch begins a watch: one that lists everything first as list does, or one that goes on from where the last ended.
// Attempts are the reflector's: the client's own would take ten times a second, or four.
func (s source) watch(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	options.Watch = true
	listing := options.SendInitialEvents != nil
	if listing {
		options.ResourceVersion = ""
	}
	w, err := s.request(options).MaxRetries(0).Watch(ctx)
	if err != nil && ctx.Err() == nil {
		s.problem(err)
	}
	if listing && apierrors.HasStatusCause(err, metav1.CauseTypeResourceVersionTooLarge) {
		// A reflector would ask the same again. A list comes from etcd, if need be.
		return nil, errors.New("the API server's cache is behind")
	}
	return w, err
}

var errUnanswered = errors.New("the API server did not answer")

// goOnOnlyWhereAnswered makes a failure final if a watch that would have gone on is not answered at all. Client and
// reflector would try it again, from where it was. But an API server that comes back may have been restored from a backup,
// and then says nothing until it has come to there again. After a failure that nobody takes for a passing one everything
// is listed anew.
func goOnOnlyWhereAnswered(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		response, err := next.RoundTrip(r)
		if query := r.URL.Query(); err != nil && query.Has("watch") && !query.Has("sendInitialEvents") {
			err = errUnanswered
		}
		return response, err
	})
}

// follow keeps a store in step with the API server until the context ends.
func (f *issuerFeed) follow(ctx context.Context, s *store) {
	for ctx.Err() == nil {
		f.reflect(ctx, s)
	}
}

// reflect does so until everything is to be asked for anew.
func (f *issuerFeed) reflect(ctx context.Context, s *store) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	occasionally := &rate.Sometimes{First: 1, Interval: problemInterval}
	problem := func(err error) {
		f.fallBack()
		occasionally.Do(func() {
			f.log.Warn("the API server cannot be followed; what is known is used", "kind", s.kind.name, "error", err)
		})
	}
	namespace := ""
	if s.kind.installed {
		namespace = f.options.Namespace
	}
	from := source{client: f.clients[s.kind.group], resource: s.kind.resource, namespace: namespace, trim: s.trim, problem: problem}
	reflector := toolscache.NewReflectorWithOptions(
		&toolscache.ListWatch{ListWithContextFunc: from.list, WatchFuncWithContext: from.watch},
		s.kind.object(), s, toolscache.ReflectorOptions{Name: s.kind.name, Backoff: backoff()})
	go func() {
		defer cancel()
		f.awaitEnd(ctx, s)
	}()
	// As Reflector.RunWithContext does, which would log every attempt.
	_ = backoff().DelayWithReset(clock.RealClock{}, maxSilence).Until(ctx, true, true, func(ctx context.Context) (bool, error) {
		if err := reflector.ListAndWatchWithContext(ctx); err != nil && ctx.Err() == nil {
			problem(err)
		}
		return false, nil
	})
}

// awaitEnd waits until the context ends, a list is wanted, or the API server has been silent for too long.
func (f *issuerFeed) awaitEnd(ctx context.Context, s *store) {
	begun := time.Now()
	ticker := time.NewTicker(silenceChecks)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.relist:
			return
		case <-ticker.C:
		}
		if heard := f.heard.of(s.kind.name); time.Since(begun) > maxSilence && time.Since(heard) > maxSilence {
			f.log.Warn("the API server has been silent; everything is asked for anew", "kind", s.kind.name, "since", heard)
			return
		}
	}
}
