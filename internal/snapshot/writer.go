package snapshot

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const (
	// FileName of the snapshot in its directory.
	FileName = "snapshot"

	// lookInterval is how often the key file is looked at.
	lookInterval = 10 * time.Second
	// retryMin and retryMax bound the wait after a failure. Each new beginning costs a list of everything.
	retryMin = 30 * time.Second
	retryMax = 15 * time.Minute
)

// Options of a Writer. All are required.
type Options struct {
	// Dir is where the snapshot is; it exists.
	Dir string
	// KeyFile holds the secret that keys are made of. It may come later.
	KeyFile string
	// Namespace that the operator is installed in, and name of the TokenIssuer that the snapshot is for.
	Namespace, TokenIssuer string
	// Relist asks for all things to be put anew. It must not wait for that.
	Relist func()
	// Logger for what a developer wants to know. Nothing that a snapshot holds is logged.
	Logger *slog.Logger
}

// Path of the snapshot.
func (o Options) Path() string { return filepath.Join(o.Dir, FileName) }

// ReadKey reads the key file as it is now.
func (o Options) ReadKey() (Key, error) {
	secret, err := os.ReadFile(o.KeyFile)
	if err != nil {
		return Key{}, err
	}
	return NewKey(secret, o.Namespace, o.TokenIssuer)
}

// Exists reports whether there is a snapshot, or whether nobody can tell.
func (o Options) Exists() bool {
	_, err := os.Lstat(o.Path())
	return !errors.Is(err, os.ErrNotExist)
}

// Remove removes the snapshot, if there is one.
func (o Options) Remove() error { return errors.Join(remove(o.Path()), remove(o.Path()+".new")) }

// Writer writes a snapshot in the background: whoever puts something waits for nothing. A nil Writer writes nothing.
//
// When writing fails the file is removed at once, for it would be outdated from then on. Later it is begun anew, which
// begins an epoch in which everything must be put once more.
type Writer struct {
	options Options
	wake    chan struct{}

	mu       sync.Mutex
	epoch    uint64 // 0 before the first
	on       bool
	queue    []pending
	then     []func() // to be called when the queue has been written
	bytes    int64
	failures int

	// The rest is Run's alone.
	from     *Snapshot // to go on from
	journal  *journal
	key      Key
	missing  bool // the key file was, and it has been said
	attempts int
	begun    time.Time
	next     time.Time
}

type pending struct {
	kind, key string
	gone      bool
	value     any // that is written as JSON
}

// NewWriter makes a writer that goes on from a snapshot, which it closes, or begins anew where that is nil. Run must be
// called.
func NewWriter(options Options, from *Snapshot) *Writer {
	w := &Writer{options: options, wake: make(chan struct{}, 1), from: from}
	if from != nil {
		w.epoch, w.on = 1, true
		return w
	}
	w.begin()
	return w
}

// Epoch is the one that everything must have been put in, 0 for none.
func (w *Writer) Epoch() uint64 {
	if w == nil {
		return 0
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.epoch
}

// Put says what a thing is now. The value is written as JSON, later, and must not change.
func (w *Writer) Put(kind, key string, value any) {
	w.enqueue(nil, pending{kind: kind, key: key, value: value})
}

// PutIn does so if the epoch is still this one.
func (w *Writer) PutIn(epoch uint64, kind, key string, value any) {
	w.enqueue(&epoch, pending{kind: kind, key: key, value: value})
}

// Gone says that a thing is gone.
func (w *Writer) Gone(kind, key string) { w.enqueue(nil, pending{kind: kind, key: key, gone: true}) }

// AfterWrite calls do once all that was put by now is written and let go, or cannot be. A nil Writer holds nothing, and
// calls nothing.
func (w *Writer) AfterWrite(do func()) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.then = append(w.then, do)
	w.wakeUp()
}

// enqueue in an epoch, nil for any.
func (w *Writer) enqueue(epoch *uint64, p pending) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.on || (epoch != nil && *epoch != w.epoch) {
		return
	}
	w.queue = append(w.queue, p)
	w.wakeUp()
}

func (w *Writer) wakeUp() {
	select {
	case w.wake <- struct{}{}:
	default: // it will look anyway
	}
}

func (w *Writer) take() []pending {
	w.mu.Lock()
	defer w.mu.Unlock()
	queue := w.queue
	w.queue = nil
	return queue
}

// Bytes is the size of the file, 0 while none is written.
func (w *Writer) Bytes() int64 {
	if w == nil {
		return 0
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.bytes
}

// Failures is how often writing failed.
func (w *Writer) Failures() int {
	if w == nil {
		return 0
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failures
}

// Run writes until the context ends. What was put by then is written.
func (w *Writer) Run(ctx context.Context) {
	if w.from != nil {
		w.goOn()
	}
	ticker := time.NewTicker(lookInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			w.write()
			if w.journal != nil {
				_ = w.journal.Close() // everything has been flushed
			}
			return
		case <-w.wake:
			w.write()
			w.afterwards()
		case <-ticker.C:
			w.look()
		}
	}
}

// goOn takes over what was loaded, into a new file.
func (w *Writer) goOn() {
	key, err := w.options.ReadKey()
	if err == nil {
		w.key = key
		w.journal, err = rewrite(w.from, w.options.Path(), key, rand.Reader)
	}
	err = errors.Join(err, w.from.Close())
	w.from, w.begun = nil, time.Now()
	if err != nil {
		w.fail(err)
		return
	}
	w.written()
}

// begin begins an empty file, and with it an epoch, if the key is there. It reports whether it has.
func (w *Writer) begin() bool {
	key, err := w.options.ReadKey()
	if errors.Is(err, os.ErrNotExist) {
		if !w.missing {
			w.options.Logger.Info("no snapshot is written as long as there is no key file", "file", w.options.KeyFile)
		}
		w.missing = true
		return false
	}
	if err == nil {
		w.journal, err = create(w.options.Path(), key, rand.Reader)
	}
	if err != nil {
		w.fail(err)
		return false
	}
	w.key, w.missing, w.begun = key, false, time.Now()
	w.mu.Lock()
	w.epoch++
	w.on = true
	w.mu.Unlock()
	w.written()
	w.options.Logger.Info("a snapshot is written", "file", w.options.Path())
	return true
}

// write writes all that was put.
func (w *Writer) write() {
	for queue := w.take(); len(queue) > 0 && w.journal != nil; queue = w.take() {
		if err := w.appendAll(queue); err != nil {
			w.fail(err)
			return
		}
	}
	if w.journal == nil {
		return
	}
	err := w.journal.flush()
	if err == nil && w.journal.sparse() {
		err = w.compact(w.key)
	}
	if err != nil {
		w.fail(err)
		return
	}
	w.written()
}

// afterwards does what was to be done then, if nothing has been put meanwhile.
func (w *Writer) afterwards() {
	w.mu.Lock()
	var then []func()
	if len(w.queue) == 0 {
		then, w.then = w.then, nil
	}
	w.mu.Unlock()
	for _, do := range then {
		do()
	}
}

func (w *Writer) appendAll(queue []pending) error {
	for _, p := range queue {
		e := entry{kind: p.kind, key: p.key, gone: p.gone}
		if !p.gone {
			var err error
			if e.value, err = json.Marshal(p.value); err != nil {
				return fmt.Errorf("a %s cannot be written as JSON", p.kind) // the error may quote it
			}
		}
		if err := w.journal.append(e); err != nil {
			return err
		}
	}
	return nil
}

func (w *Writer) compact(key Key) error {
	next, err := w.journal.compact(key)
	if err != nil {
		return err
	}
	w.journal, w.key = next, key
	return nil
}

// written tells how large the file is now.
func (w *Writer) written() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.bytes = w.journal.size
}

// look begins anew what failed, when it is time, and changes the key when the file does. A key file that is gone, or
// unfit, changes nothing.
func (w *Writer) look() {
	if w.journal == nil {
		if !time.Now().Before(w.next) && w.begin() {
			w.options.Relist()
		}
		return
	}
	key, err := w.options.ReadKey()
	if err != nil || key == w.key {
		return
	}
	w.options.Logger.Info("the snapshot gets another key", "file", w.options.KeyFile)
	if err := w.compact(key); err != nil {
		w.fail(err)
		return
	}
	w.written()
}

// fail removes the file, which would be outdated from now on.
func (w *Writer) fail(err error) {
	w.mu.Lock()
	w.on, w.queue, w.bytes = false, nil, 0
	w.failures++
	w.mu.Unlock()
	if w.journal != nil {
		_ = w.journal.Close() // it is removed
		w.journal = nil
	}
	err = errors.Join(err, w.options.Remove())
	if !w.begun.IsZero() && time.Since(w.begun) > time.Hour {
		w.attempts = 0
	}
	w.begun = time.Time{}
	wait := min(retryMin<<min(w.attempts, 10), retryMax)
	w.attempts++
	w.next = time.Now().Add(wait)
	w.options.Logger.Error("the snapshot cannot be written and was removed; it is begun anew later", "error", err, "after", wait.String())
}
