package feed

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/util/resourceversion"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/internal/issuer"
	"github.com/m2m-operator/m2m-operator/internal/snapshot"
)

// store hands on what a reflector finds of one kind. It keeps of each object its name and resourceVersion, to know after
// a list what is new and what is gone; everything else is in the index. Where it says Replace, Add, Update and Delete it
// is for one goroutine.
type store struct {
	kind   kind
	trim   func(client.Object)
	upsert func(client.Object)
	remove func(namespace, name string)
	// replaced is called after every list.
	replaced func()
	writer   *snapshot.Writer
	log      *slog.Logger
	relist   chan struct{}

	versions map[string]string
	epoch    uint64 // of the snapshot that everything was put in

	loaded atomic.Bool // all that there is is known from a snapshot
	listed atomic.Bool // all that there is was listed by the API server, since the start

	mu     sync.Mutex
	newest string // resourceVersion
	older  issuer.OlderLists
}

var (
	_ toolscache.TransformingStore      = (*store)(nil)
	_ toolscache.ReflectorBookmarkStore = (*store)(nil)
)

// Transformer implements toolscache.TransformingStore: the reflector keeps nothing either that is not trimmed.
func (s *store) Transformer() toolscache.TransformFunc {
	return func(o any) (any, error) {
		object, ok := o.(client.Object)
		if !ok {
			return nil, fmt.Errorf("%T is no object", o)
		}
		s.trim(object)
		return object, nil
	}
}

// Add implements toolscache.ReflectorStore.
func (s *store) Add(o any) error {
	object, ok := o.(client.Object)
	if !ok {
		return fmt.Errorf("%T is no object", o)
	}
	s.trim(object)
	key := keyOf(object)
	s.upsert(object)
	s.versions[key] = object.GetResourceVersion()
	s.writer.Put(s.kind.name, key, newSaved(object))
	s.saw(object.GetResourceVersion())
	return nil
}

// Update implements toolscache.ReflectorStore.
func (s *store) Update(o any) error { return s.Add(o) }

// Delete implements toolscache.ReflectorStore.
func (s *store) Delete(o any) error {
	object, ok := o.(client.Object)
	if !ok {
		return fmt.Errorf("%T is no object", o)
	}
	s.forget(keyOf(object))
	s.saw(object.GetResourceVersion())
	return nil
}

func (s *store) forget(key string) {
	s.remove(splitKey(key))
	delete(s.versions, key)
	s.writer.Gone(s.kind.name, key)
}

// Replace implements toolscache.ReflectorStore. What vanished is taken away first.
//
// An object whose resourceVersion is known is skipped, unless the list is older than what was known: then the API server
// has lost writes, and may have given their resourceVersions to others since.
func (s *store) Replace(items []any, resourceVersion string) error {
	epoch := s.writer.Epoch()
	present := make(map[string]client.Object, len(items))
	for _, item := range items {
		object, ok := item.(client.Object)
		if !ok {
			return fmt.Errorf("%T is no object", item)
		}
		present[keyOf(object)] = object
	}
	older := s.list(resourceVersion, present)
	for key := range s.versions {
		if present[key] == nil {
			s.forget(key)
		}
	}
	for key, object := range present {
		s.trim(object)
		known, ok := s.versions[key]
		changed := older || !ok || known != object.GetResourceVersion()
		if changed {
			s.upsert(object)
			s.versions[key] = object.GetResourceVersion()
		}
		if changed || epoch != s.epoch {
			s.writer.Put(s.kind.name, key, newSaved(object))
		}
	}
	s.epoch = epoch
	s.writer.PutIn(epoch, kindListed, s.kind.name, contact{At: time.Now(), ResourceVersion: resourceVersion})
	s.listed.Store(true)
	s.replaced()
	return nil
}

// Resync implements toolscache.ReflectorStore.
func (s *store) Resync() error { return nil }

// Bookmark implements toolscache.ReflectorBookmarkStore.
func (s *store) Bookmark(resourceVersion string) error {
	s.saw(resourceVersion)
	return nil
}

// saw remembers the newest resourceVersion. One that makes no sense is none.
func (s *store) saw(resourceVersion string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.newest == "" || isOlder(s.newest, resourceVersion) {
		s.newest = resourceVersion
	}
}

// list takes in the resourceVersion of a list, and reports whether it, or any object in it, is older than what was seen
// before: a restored API server counts on from its backup, and may have come past the former by now. The list is followed
// nevertheless, and what comes is compared with it: the API server is the truth.
func (s *store) list(resourceVersion string, present map[string]client.Object) (older bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	listed, seen := resourceVersion, s.newest
	older = isOlder(listed, seen)
	for key, object := range present {
		if older {
			break
		}
		listed, seen = object.GetResourceVersion(), s.versions[key]
		older = isOlder(listed, seen)
	}
	if older {
		s.older = issuer.OlderLists{Count: s.older.Count + 1, At: time.Now(), Listed: listed, Seen: seen}
		s.log.Warn("the API server lists less than what was known: it was restored from a backup, or lags behind; it is followed",
			"kind", s.kind.name, "listed", listed, "seen", seen)
	}
	s.newest = resourceVersion
	return older
}

// isOlder reports whether a resourceVersion is lower than another. One that makes no sense is not.
func isOlder(resourceVersion, than string) bool {
	if resourceVersion == than {
		return false
	}
	order, err := resourceversion.CompareResourceVersion(resourceVersion, than)
	return err == nil && order < 0
}

// status is the newest resourceVersion, and what older lists there were.
func (s *store) status() (newest string, older issuer.OlderLists) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.newest, s.older
}
