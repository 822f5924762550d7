package issuer

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/m2m-operator/m2m-operator/internal/jsonobject"
)

// gate is a writer that says what it is to write, and waits for how that ends.
type gate struct {
	text  chan string
	ended chan error
}

func (g gate) Write(p []byte) (int, error) {
	g.text <- string(bytes.Clone(p))
	return len(p), <-g.ended
}

// TestLinesThatComeTogetherAreWrittenTogether: what is logged during a Write goes into the next one, all of it, and
// nobody who logs goes on before that has ended.
func TestLinesThatComeTogetherAreWrittenTogether(t *testing.T) {
	const more = 10
	out := gate{text: make(chan string), ended: make(chan error)}
	log := &auditLog{out: out}
	returned := make(chan error, 1+more)
	write := func() {
		returned <- log.write(time.Now(), auditBeginnings[endpointToken], func(line *jsonobject.Writer) { line.String("requestID", "x") })
	}
	go write()
	if text := <-out.text; strings.Count(text, "\n") != 1 {
		t.Fatalf("the first Write is of %q", text)
	}
	for range more {
		go write()
	}
	for deadline := time.Now().Add(20 * time.Second); log.waiting() < more; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d lines wait", log.waiting())
		}
	}
	if len(returned) != 0 {
		t.Error("somebody goes on although nothing is written")
	}
	out.ended <- nil
	if text := <-out.text; strings.Count(text, "\n") != more {
		t.Errorf("the second Write is of %q", text)
	}
	if err := <-returned; err != nil || len(returned) != 0 {
		t.Errorf("the first returns %v, and %d others", err, len(returned))
	}
	full := errors.New("no space left on device")
	out.ended <- full
	for range more {
		if err := <-returned; !errors.Is(err, full) {
			t.Errorf("one returns %v", err)
		}
	}
}

// waiting is how many lines the next batch has.
func (l *auditLog) waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.next == nil {
		return 0
	}
	return bytes.Count(l.next.text, []byte("\n"))
}
