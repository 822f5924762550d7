package snapshot

import (
	"errors"
	"fmt"
	"io"
	"os"
)

const (
	// flushSize bounds what is held back for one write.
	flushSize = 256 << 10
	// slack is how much outdated entries may take, beside as much as those that hold.
	slack = 1 << 20
)

// journal is a snapshot that is being written. It is for one goroutine. After an error it is of no use but to be removed.
type journal struct {
	Snapshot
	path   string
	random io.Reader
	n      uint64 // frames written
	size   int64
	buffer []byte
}

// create begins a file, in place of one that may be there.
func create(path string, key Key, random io.Reader) (*journal, error) {
	return begin(path, path, key, random)
}

// begin begins the file of a journal at a path which it need not keep.
func begin(at, path string, key Key, random io.Reader) (*journal, error) {
	header := make([]byte, len(magic)+saltSize)
	copy(header, magic)
	if _, err := io.ReadFull(random, header[len(magic):]); err != nil {
		return nil, err
	}
	sealer, err := key.sealer(header[len(magic):])
	if err != nil {
		return nil, err
	}
	if err := remove(at); err != nil { // not truncated: its mode may be another one, and somebody may be reading it
		return nil, err
	}
	file, err := os.OpenFile(at, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600) // #nosec G304 -- the path is an operator's flag
	if err != nil {
		return nil, err
	}
	j := &journal{Snapshot: Snapshot{contents: newContents(), sealer: sealer, file: file}, path: path, random: random, buffer: header}
	if err := j.flush(); err != nil {
		return nil, errors.Join(err, file.Close(), remove(at))
	}
	return j, nil
}

// rewrite copies what holds in a snapshot into a new file under a key, which takes the place of the file at the path in
// one step.
func rewrite(from *Snapshot, path string, key Key, random io.Reader) (*journal, error) {
	part := path + ".new"
	j, err := begin(part, path, key, random)
	if err != nil {
		return nil, err
	}
	for kind, places := range from.places {
		for name, at := range places {
			value, err := from.read(at, kind, name)
			if err == nil {
				err = j.append(entry{kind: kind, key: name, value: value})
			}
			if err != nil {
				return nil, errors.Join(err, j.file.Close(), remove(part))
			}
		}
	}
	if err := j.flush(); err != nil {
		return nil, errors.Join(err, j.file.Close(), remove(part))
	}
	if err := os.Rename(part, path); err != nil {
		return nil, errors.Join(err, j.file.Close(), remove(part))
	}
	return j, nil
}

// append writes an entry, at the latest with the next flush.
func (j *journal) append(e entry) error {
	plain := e.appendTo(nil)
	if len(plain) > maxEntry {
		return fmt.Errorf("%s %s is too large for a snapshot", e.kind, e.key)
	}
	at := place{offset: j.size + int64(len(j.buffer)), n: j.n, length: frameSize + len(plain)}
	j.buffer = j.sealer.seal(j.buffer, j.n, plain)
	j.n++
	j.note(e, at)
	if len(j.buffer) >= flushSize {
		return j.flush()
	}
	return nil
}

// flush hands everything to the file. It is in memory, so that nothing has to be waited for.
func (j *journal) flush() error {
	if len(j.buffer) == 0 {
		return nil
	}
	n, err := j.file.Write(j.buffer)
	j.size += int64(n)
	j.buffer = j.buffer[:0]
	return err
}

// sparse reports whether most of the file is outdated.
func (j *journal) sparse() bool { return j.size+int64(len(j.buffer)) > 2*j.live+slack }

// compact returns the journal that takes the place of this one, which is of no use any more.
func (j *journal) compact(key Key) (*journal, error) {
	if err := j.flush(); err != nil {
		return nil, err
	}
	next, err := rewrite(&j.Snapshot, j.path, key, j.random)
	if err != nil {
		return nil, err
	}
	return next, j.file.Close()
}

// remove deletes a file, if there is one. What cannot be deleted is emptied: a snapshot that is not kept up must never be
// served.
func remove(path string) error {
	err := os.Remove(path)
	if err == nil || errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return errors.Join(err, os.Truncate(path, 0))
}
