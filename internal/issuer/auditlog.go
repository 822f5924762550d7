package issuer

import (
	"errors"
	"io"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/m2m-operator/m2m-operator/internal/jsonobject"
)

// auditLog writes a JSON object a line. Whoever logs waits until it is written: no token is handed out before its line
// is. Lines that come while another is about to be written are written with it, by one Write: to write costs a good
// deal of what a request does, and wakes up whoever reads.
type auditLog struct {
	out io.Writer
	// writing is held by whoever writes.
	writing sync.Mutex

	mu    sync.Mutex
	next  *auditBatch // that lines are added to; nil if there is none
	spare []byte      // what lines are made in, kept from one batch to the next
}

// auditBatch is lines that are written at once.
type auditBatch struct {
	text    []byte
	written chan struct{} // closed once they are, or err says why not
	err     error
}

const (
	// usualLine is what a line commonly takes.
	usualLine = 1 << 10
	// maxKeptLines bounds the memory that is kept: a line of hundreds of scopes fits.
	maxKeptLines = 64 << 10
)

var errNotWritten = errors.New("the audit log is not written")

// write a line, which begins with the members of an object, and of which members writes the others.
func (l *auditLog) write(now time.Time, beginning []byte, members func(*jsonobject.Writer)) error {
	batch, first := l.add(now, beginning, members)
	if !first {
		<-batch.written
		return batch.err
	}
	runtime.Gosched() // whoever is about to log may do so first; where nobody is, this takes no time
	l.writing.Lock()
	defer l.writing.Unlock()
	defer close(batch.written)
	l.take()
	batch.err = errNotWritten // should it panic
	_, batch.err = l.out.Write(batch.text)
	l.keep(batch.text)
	return batch.err
}

// add a line to the next batch, and say whether it is the first one there: whoever logs that writes all.
func (l *auditLog) add(now time.Time, beginning []byte, members func(*jsonobject.Writer)) (batch *auditBatch, first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	batch = l.next
	if first = batch == nil; first {
		batch = &auditBatch{text: slices.Grow(l.spare[:0], usualLine), written: make(chan struct{})}
		l.spare = nil
	}
	line := jsonobject.Begin(batch.text)
	line.Plain("time", func(text []byte) []byte { return now.UTC().AppendFormat(text, time.RFC3339Nano) })
	line.Members(beginning)
	members(line)
	batch.text = append(line.End(), '\n')
	l.next = batch // not before there is a line whose writer writes it
	return batch, first
}

// take the next batch: what is logged from now on is not in it.
func (l *auditLog) take() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next = nil
}

// keep the memory of lines that are written.
func (l *auditLog) keep(text []byte) {
	if cap(text) > maxKeptLines {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.spare = text
}
