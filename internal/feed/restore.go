package feed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/snapshot"
)

// What a snapshot holds besides the objects, which are there by their kinds and keys.
const (
	// kindListed has a contact for each kind that was listed to the end.
	kindListed = "listed"
	// kindHeard has one value, the last contact by kind.
	kindHeard = "heard"
	// kindCluster has one value, how tokens of the cluster's ServiceAccounts are verified.
	kindCluster = "cluster"
)

// contact is when the API server was heard of a kind, and the newest resourceVersion that it told.
type contact struct {
	At              time.Time `json:"at"`
	ResourceVersion string    `json:"resourceVersion,omitempty"`
}

// heardInterval is how often it is written down when the API server was last heard.
const heardInterval = 5 * time.Second

// writeHeard writes it down until the context ends.
func (f *issuerFeed) writeHeard(ctx context.Context) {
	ticker := time.NewTicker(heardInterval)
	defer ticker.Stop()
	written := map[string]time.Time{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		contacts, news := map[string]contact{}, false
		for kind, at := range f.heard.times() {
			newest, _ := f.stores[kind].status()
			contacts[kind] = contact{At: at, ResourceVersion: newest}
			news = news || !at.Equal(written[kind])
			written[kind] = at
		}
		if news {
			f.writer.Put(kindHeard, "", contacts)
		}
	}
}

// restore takes in the snapshot, if there is one that can be believed, and returns it for the writer to go on from. One
// that cannot is removed.
func (f *issuerFeed) restore(options snapshot.Options) *snapshot.Snapshot {
	if !options.Exists() {
		return nil
	}
	began := time.Now()
	from, err := f.open(options)
	if err != nil {
		err = errors.Join(err, options.Remove())
		f.log.Warn("the snapshot is not used, and was removed", "file", options.Path(), "error", err)
		return nil
	}
	objects := 0
	for _, s := range f.stores {
		objects += len(s.versions)
	}
	f.log.Info("a snapshot was loaded", "file", options.Path(), "age", f.age(), "heard", f.restored, "objects", objects,
		"took", time.Since(began).Round(time.Millisecond).String())
	return from
}

// age of the snapshot that was loaded, for the log.
func (f *issuerFeed) age() string { return time.Since(f.restored).Round(time.Millisecond).String() }

// patience is how long the API server may take to list everything before the snapshot is served.
const patience = 5 * time.Second

// fallBack serves from the snapshot, if there is one, as long as the API server has not listed everything: it has failed
// to, or takes too long. Where it answers at once, an issuer that was restarted misses nothing of what changed meanwhile.
func (f *issuerFeed) fallBack() {
	if f.restored.IsZero() || len(f.unlisted()) == 0 || f.fallenBack.Swap(true) {
		return
	}
	f.log.Warn("serving from a snapshot until the API server has listed everything", "age", f.age(), "heard", f.restored,
		"unlisted", f.unlisted())
}

// open opens and loads the snapshot.
func (f *issuerFeed) open(options snapshot.Options) (*snapshot.Snapshot, error) {
	key, err := options.ReadKey()
	if err != nil {
		return nil, err
	}
	from, err := snapshot.Open(options.Path(), key)
	if err != nil {
		return nil, err
	}
	if err := f.load(from); err != nil {
		return nil, errors.Join(err, from.Close())
	}
	return from, nil
}

// load takes in what a snapshot holds, if that is everything. What is loaded when it fails does no harm: the server is not
// ready, and the first list takes away what is not there.
func (f *issuerFeed) load(from *snapshot.Snapshot) error {
	contacts, err := readContacts(from)
	if err != nil {
		return err
	}
	oldest := time.Time{}
	for _, k := range kinds {
		s := f.stores[k.name]
		if err := s.load(from); err != nil {
			return err
		}
		c := contacts[k.name]
		s.saw(c.ResourceVersion)
		f.heard.remember(k.name, c.At)
		if oldest.IsZero() || c.At.Before(oldest) {
			oldest = c.At
		}
	}
	document, err := from.Get(kindCluster, "")
	if err == nil && document != nil {
		err = f.cluster.restore(document)
	}
	if err != nil {
		return err
	}
	for _, s := range f.stores {
		s.loaded.Store(true)
	}
	f.restored = oldest
	return nil
}

// readContacts of all kinds. The error names the first that was not listed to the end.
func readContacts(from *snapshot.Snapshot) (map[string]contact, error) {
	contacts := map[string]contact{}
	if text, err := from.Get(kindHeard, ""); err != nil {
		return nil, err
	} else if text != nil {
		if err := json.Unmarshal(text, &contacts); err != nil {
			return nil, errors.New("what it says of contacts cannot be read")
		}
	}
	for _, k := range kinds {
		text, err := from.Get(kindListed, k.name)
		if err != nil {
			return nil, err
		}
		var listed contact
		if text == nil || json.Unmarshal(text, &listed) != nil {
			return nil, fmt.Errorf("it is not complete: %s is missing", k.name)
		}
		if last := contacts[k.name]; last.At.Before(listed.At) {
			contacts[k.name] = listed
		}
	}
	return contacts, nil
}

// load takes in the objects of a snapshot.
func (s *store) load(from *snapshot.Snapshot) error {
	return from.Each(s.kind.name, func(key string, value []byte) error {
		object := s.kind.object()
		if err := parseSaved(value, object); err != nil {
			return fmt.Errorf("a %s cannot be read", s.kind.name) // the error may quote it
		}
		s.upsert(object)
		s.versions[key] = object.GetResourceVersion()
		s.saw(object.GetResourceVersion())
		return nil
	})
}

// saved is an object as a snapshot holds it.
type saved struct {
	Object client.Object `json:"object"`
	// Moments are those of the object, in full, if any of them is within a second: JSON has metav1.Time in whole seconds.
	Moments []time.Time `json:"moments,omitempty"`
}

func newSaved(object client.Object) saved {
	s := saved{Object: object}
	all := moments(object)
	if slices.ContainsFunc(all, func(t *metav1.Time) bool { return t.Nanosecond() != 0 }) {
		for _, t := range all {
			s.Moments = append(s.Moments, t.Time)
		}
	}
	return s
}

// parseSaved reads what a saved object was written as.
func parseSaved(text []byte, object client.Object) error {
	s := saved{Object: object}
	if err := json.Unmarshal(text, &s); err != nil {
		return err
	}
	all := moments(object)
	if len(s.Moments) != 0 && len(s.Moments) != len(all) {
		return errors.New("its moments are not those of the object")
	}
	for i, t := range s.Moments {
		all[i].Time = t
	}
	return nil
}

// moments are the times in an object that people write.
func moments(object client.Object) []*metav1.Time {
	var all []*metav1.Time
	switch o := object.(type) {
	case *v1alpha1.TokenIssuer:
		all = []*metav1.Time{o.Spec.RevokeTokensIssuedBefore}
	case *v1alpha1.M2MClient:
		all = []*metav1.Time{o.Spec.RevokeTokensIssuedBefore}
	case *v1alpha1.ScopeGrant:
		all = []*metav1.Time{o.Spec.NotBefore, o.Spec.ExpiresAt}
	}
	return slices.DeleteFunc(all, func(t *metav1.Time) bool { return t == nil })
}
