package snapshot

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// writing is a writer that runs until the end of the test's bubble.
type writing struct {
	*Writer
	t       *testing.T
	options Options
	relists int
	log     bytes.Buffer
	stop    func()
}

func testOptions(t *testing.T, secret string) Options {
	t.Helper()
	dir := t.TempDir()
	o := Options{
		Dir: dir, KeyFile: filepath.Join(dir, "pepper"), Namespace: "m2m-system", TokenIssuer: "default",
		Relist: func() {}, Logger: slog.New(slog.DiscardHandler),
	}
	if secret != "" {
		setSecret(t, o, secret)
	}
	return o
}

func setSecret(t *testing.T, o Options, secret string) {
	t.Helper()
	if err := os.WriteFile(o.KeyFile, []byte(strings.Repeat(secret, 32)), 0o600); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, o Options, from *Snapshot) *writing {
	t.Helper()
	w := &writing{t: t}
	o.Relist = func() { w.relists++ }
	o.Logger = slog.New(slog.NewTextHandler(&w.log, nil))
	w.options = o
	w.Writer = NewWriter(o, from)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.Run(ctx)
	}()
	w.stop = func() {
		cancel()
		<-done
	}
	return w
}

// says what is in the file by now.
func (w *writing) says(secret string) state {
	w.t.Helper()
	synctest.Wait()
	return openState(w.t, w.options.Path(), testKey(w.t, secret, "m2m-system", "default"))
}

func (w *writing) wants(secret string, want state) {
	w.t.Helper()
	if got := w.says(secret); !maps.Equal(got, want) {
		w.t.Errorf("the file says %v, want %v", got, want)
	}
}

func (w *writing) wantsNone() {
	w.t.Helper()
	synctest.Wait()
	if w.options.Exists() || w.Bytes() != 0 {
		w.t.Errorf("there is a snapshot, of %d bytes", w.Bytes())
	}
}

func TestWriterWritesAtOnceAndGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := testOptions(t, "p")
		w := write(t, o, nil)
		w.Put("M2MClient", "jobs/one", 1)
		w.Put("M2MClient", "jobs/two", map[string]bool{"suspend": true})
		w.Gone("M2MClient", "jobs/one")
		w.PutIn(w.Epoch(), "listed", "M2MClient", "x")
		want := state{"M2MClient jobs/two": `{"suspend":true}`, "listed M2MClient": `"x"`}
		w.wants("p", want)
		w.Put("M2MClient", "jobs/three", 3)
		w.stop()
		want["M2MClient jobs/three"] = "3"

		from, err := Open(o.Path(), ourKey(t))
		if err != nil {
			t.Fatal(err)
		}
		before, err := os.ReadFile(o.Path())
		if err != nil {
			t.Fatal(err)
		}
		w = write(t, o, from)
		epoch := w.Epoch()
		w.wants("p", want)
		after, err := os.ReadFile(o.Path())
		if err != nil || bytes.Equal(before[:len(magic)+saltSize], after[:len(magic)+saltSize]) {
			t.Errorf("a nonce of the file before would be used again: %v", err)
		}
		w.Gone("M2MClient", "jobs/three")
		w.PutIn(epoch, "listed", "M2MClient", "y")
		delete(want, "M2MClient jobs/three")
		want["listed M2MClient"] = `"y"`
		w.wants("p", want)
		if w.relists != 0 || w.Failures() != 0 || w.Bytes() == 0 {
			t.Errorf("%d lists, %d failures, %d bytes\n%s", w.relists, w.Failures(), w.Bytes(), w.log.String())
		}
		w.stop()
	})
}

// TestWriterWithoutAKey: it begins when the key is there, and asks for everything then.
func TestWriterWithoutAKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := write(t, testOptions(t, ""), nil)
		defer w.stop()
		w.Put("M2MClient", "jobs/lost", 1)
		before := w.Epoch()
		time.Sleep(time.Minute)
		w.wantsNone()
		if n := strings.Count(w.log.String(), "no key file"); n != 1 || w.relists != 0 || w.Failures() != 0 {
			t.Errorf("said %d times, %d lists, %d failures", n, w.relists, w.Failures())
		}
		setSecret(t, w.options, "p")
		time.Sleep(lookInterval)
		synctest.Wait()
		w.Put("M2MClient", "jobs/one", 1)
		w.PutIn(before, "listed", "M2MClient", "of a list that was begun before")
		w.wants("p", state{"M2MClient jobs/one": "1"})
		if w.relists != 1 {
			t.Errorf("%d lists", w.relists)
		}
	})
}

// TestWriterThatCannotWrite: what is outdated is removed at once, and begun anew later, with everything.
func TestWriterThatCannotWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := write(t, testOptions(t, "p"), nil)
		defer w.stop()
		w.Put("M2MClient", "jobs/one", 1)
		w.wants("p", state{"M2MClient jobs/one": "1"})
		full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		w.journal.file.Close()
		w.journal.file = full
		epoch := w.Epoch()
		w.Put("M2MClient", "jobs/two", 2)
		w.wantsNone()
		if w.Failures() != 1 || !strings.Contains(w.log.String(), "no space left") {
			t.Errorf("%d failures\n%s", w.Failures(), w.log.String())
		}
		w.Put("M2MClient", "jobs/three", 3)
		w.wantsNone()
		time.Sleep(retryMin + lookInterval)
		synctest.Wait()
		if w.relists != 1 || w.Epoch() == epoch {
			t.Errorf("%d lists, epoch %d", w.relists, w.Epoch())
		}
		w.PutIn(epoch, "listed", "M2MClient", "x")
		w.Put("M2MClient", "jobs/one", 1)
		w.wants("p", state{"M2MClient jobs/one": "1"})
	})
}

// TestWriterWithoutADirectory tries again, ever more rarely.
func TestWriterWithoutADirectory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := testOptions(t, "p")
		o.Dir = filepath.Join(o.Dir, "absent")
		w := write(t, o, nil)
		defer w.stop()
		time.Sleep(time.Hour - time.Second)
		synctest.Wait()
		if n := w.Failures(); n < 6 || n > 10 {
			t.Errorf("%d failures in an hour", n)
		}
		if err := os.Mkdir(o.Dir, 0o700); err != nil {
			t.Fatal(err)
		}
		time.Sleep(retryMax + lookInterval)
		w.wants("p", state{})
		if w.relists != 1 {
			t.Errorf("%d lists", w.relists)
		}
	})
}

// TestWriterWithAnotherKey: the file goes over to it, and stays whole.
func TestWriterWithAnotherKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := write(t, testOptions(t, "p"), nil)
		defer w.stop()
		w.Put("M2MClient", "jobs/one", 1)
		synctest.Wait()
		setSecret(t, w.options, "q")
		time.Sleep(2 * lookInterval)
		w.Put("M2MClient", "jobs/two", 2)
		w.wants("q", state{"M2MClient jobs/one": "1", "M2MClient jobs/two": "2"})
		if _, err := Open(w.options.Path(), ourKey(t)); !errors.Is(err, ErrUnusable) {
			t.Errorf("the old key opens it: %v", err)
		}
		if err := os.Remove(w.options.KeyFile); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * lookInterval)
		w.wants("q", state{"M2MClient jobs/one": "1", "M2MClient jobs/two": "2"})
		if w.relists != 0 || w.Failures() != 0 {
			t.Errorf("%d lists, %d failures", w.relists, w.Failures())
		}
	})
}

// TestWriterStaysSmall however often things change.
func TestWriterStaysSmall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := write(t, testOptions(t, "p"), nil)
		defer w.stop()
		for i := range 30 {
			for range 200 {
				w.Put("M2MClient", "jobs/one", strings.Repeat("x", 1000))
			}
			w.Put("M2MClient", "jobs/two", i)
			synctest.Wait()
			if w.Bytes() > slack+400_000 {
				t.Fatalf("%d bytes", w.Bytes())
			}
		}
		w.wants("p", state{"M2MClient jobs/one": `"` + strings.Repeat("x", 1000) + `"`, "M2MClient jobs/two": "29"})
	})
}

// TestAfterWrite: what is to be done then finds everything written, is done once, and where nothing can be written too.
func TestAfterWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := write(t, testOptions(t, "p"), nil)
		defer w.stop()
		var found []state
		then := func() { found = append(found, openState(t, w.options.Path(), ourKey(t))) }
		w.Put("M2MClient", "jobs/one", 1)
		w.Put("M2MClient", "jobs/two", 2)
		w.AfterWrite(then)
		synctest.Wait()
		w.Put("M2MClient", "jobs/three", 3)
		synctest.Wait()
		if want := (state{"M2MClient jobs/one": "1", "M2MClient jobs/two": "2"}); len(found) != 1 || !maps.Equal(found[0], want) {
			t.Errorf("it found %v, want %v once", found, want)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		w := write(t, testOptions(t, ""), nil)
		defer w.stop()
		done := 0
		w.AfterWrite(func() { done++ })
		synctest.Wait()
		if done != 1 {
			t.Errorf("without a key it was done %d times", done)
		}
	})
}

// TestNilWriter: whoever keeps no snapshot need not ask.
func TestNilWriter(t *testing.T) {
	var w *Writer
	w.Put("M2MClient", "jobs/one", 1)
	w.PutIn(0, "listed", "M2MClient", 1)
	w.Gone("M2MClient", "jobs/one")
	w.AfterWrite(func() { t.Error("there is nothing to wait for") })
	if w.Epoch() != 0 || w.Bytes() != 0 || w.Failures() != 0 {
		t.Error("it writes")
	}
}

func TestRemove(t *testing.T) {
	o := testOptions(t, "p")
	for _, name := range []string{o.Path(), o.Path() + ".new"} {
		if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := o.Remove(); err != nil || o.Exists() {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(o.Path() + ".new"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
