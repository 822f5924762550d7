package feed

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/issuer"
)

// snapshotted is the feed of an issuer with a snapshot, that follows nobody.
type snapshotted struct {
	*issuerFeed
	state *issuer.State
	log   bytes.Buffer
}

func newSnapshotted(t *testing.T, dir string) *snapshotted {
	t.Helper()
	f := &snapshotted{state: issuer.NewState("default", access.NewIndex("m2m-system"))}
	feed, err := newIssuerFeed(&rest.Config{Host: "https://api.example.com"}, Options{
		Namespace: "m2m-system", TokenIssuer: "default", SnapshotDir: dir, SnapshotKeyFile: filepath.Join(dir, "pepper"),
		Logger: slog.New(slog.NewTextHandler(&f.log, nil)),
	}, f.state)
	if err != nil {
		t.Fatal(err)
	}
	f.issuerFeed = feed
	f.useSnapshot()
	return f
}

// write writes the snapshot as far as it was put.
func (f *snapshotted) write(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f.writer.Run(ctx)
}

// list has every kind listed, with the objects of one of them.
func (f *snapshotted) list(t *testing.T, kind string, objects ...any) {
	t.Helper()
	for name, s := range f.stores {
		var items []any
		if name == kind {
			items = objects
		}
		if err := s.Replace(items, "100"); err != nil {
			t.Fatal(err)
		}
	}
}

// begin makes a directory with a snapshot in which there is one client.
func begin(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "pepper"), make([]byte, 32), 0o600); err != nil {
		t.Fatal(err)
	}
	f := newSnapshotted(t, dir)
	if f.complete() {
		t.Error("it is complete with nothing")
	}
	f.list(t, "M2MClient", object("publisher", "5"))
	if !f.complete() {
		t.Error("it is not complete with everything")
	}
	f.write(t)
	return dir
}

// TestSnapshotIsServedOnlyIfNeeded: as long as the API server may still answer it is waited for, and when it has, the
// snapshot was never served.
func TestSnapshotIsServedOnlyIfNeeded(t *testing.T) {
	f := newSnapshotted(t, begin(t))
	if _, ok := f.state.Index().Client("jobs.publisher"); !ok || f.complete() || !f.knowledge().Restored.IsZero() {
		t.Errorf("loaded: %t, complete: %t, %+v", ok, f.complete(), f.knowledge())
	}
	f.list(t, "M2MClient")
	f.fallBack()
	if _, ok := f.state.Index().Client("jobs.publisher"); ok || !f.complete() || !f.knowledge().Restored.IsZero() {
		t.Errorf("known: %t, complete: %t, %+v", ok, f.complete(), f.knowledge())
	}
	if text := f.log.String(); strings.Contains(text, "serving") || strings.Contains(text, "served") {
		t.Errorf("logged is %s", text)
	}
	f.write(t)
}

func TestSnapshotIsServedUntilEverythingIsListed(t *testing.T) {
	before := time.Now().Add(-time.Minute)
	f := newSnapshotted(t, begin(t))
	f.fallBack()
	f.fallBack()
	k := f.knowledge()
	if !f.complete() || k.Restored.Before(before) || len(k.Unlisted) != len(kinds) {
		t.Errorf("complete: %t, %+v", f.complete(), k)
	}
	for kind, at := range f.heard.times() {
		if at.Before(before) || at.After(time.Now()) {
			t.Errorf("%s was heard at %s", kind, at)
		}
	}
	if newest, _ := f.stores["ScopeGrant"].status(); newest != "100" {
		t.Errorf("the newest resourceVersion was %q", newest)
	}
	f.list(t, "M2MClient", object("publisher", "5"))
	if k := f.knowledge(); len(k.Unlisted) != 0 || !f.complete() {
		t.Errorf("%+v", k)
	}
	text := f.log.String()
	for _, once := range []string{"serving from a snapshot until", "the snapshot is served no more"} {
		if n := strings.Count(text, once); n != 1 {
			t.Errorf("%q is logged %d times:\n%s", once, n, text)
		}
	}
	f.write(t)
}

// TestSteadyStateWritesNothing: lists of what is known are no reason to write objects again.
func TestSteadyStateWritesNothing(t *testing.T) {
	size := func(lists int) int64 {
		f := newSnapshotted(t, begin(t))
		for range lists {
			var all []any
			for i := range 100 {
				all = append(all, object(fmt.Sprint("client-", i), "5"))
			}
			f.list(t, "M2MClient", all...)
		}
		f.write(t)
		return f.writer.Bytes()
	}
	once, often := size(1), size(4)
	if per := (often - once) / int64(3*len(kinds)); per > 150 { // that it was listed, and when
		t.Errorf("a list writes %d bytes for a kind", per)
	}
}

// TestNamespacesOfASnapshot: objects of a namespace that is being deleted stay gone over a restart.
func TestNamespacesOfASnapshot(t *testing.T) {
	dir := begin(t)
	f := newSnapshotted(t, dir)
	terminating := &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{Name: "jobs", ResourceVersion: "7"}, Status: corev1.NamespaceStatus{Phase: corev1.NamespaceTerminating},
	}
	f.list(t, "M2MClient", object("publisher", "5"))
	if err := f.stores["Namespace"].Update(terminating); err != nil {
		t.Fatal(err)
	}
	f.write(t)
	g := newSnapshotted(t, dir)
	if _, ok := g.state.Index().Client("jobs.publisher"); ok {
		t.Error("an object of a namespace that is being deleted counts after a restart")
	}
	g.write(t)
}
