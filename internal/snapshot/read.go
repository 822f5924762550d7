package snapshot

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// ErrUnusable says that a file is not one that this key wrote, whole but for its end.
var ErrUnusable = errors.New("the snapshot is not usable")

// open reads a header, and returns what opens the frames that follow.
func open(r io.Reader, key Key) (sealer, error) {
	header := make([]byte, len(magic)+saltSize)
	if _, err := io.ReadFull(r, header); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return sealer{}, fmt.Errorf("%w: it ends within its header", ErrUnusable)
	} else if err != nil {
		return sealer{}, err
	}
	if string(header[:len(magic)]) != magic {
		return sealer{}, fmt.Errorf("%w: it has another form, or is no snapshot at all", ErrUnusable)
	}
	return key.sealer(header[len(magic):])
}

// scan verifies all that follows the header and hands out entry by entry, the values only until the next. It ends without
// an error where the file does, also in the middle of a frame.
func scan(r io.Reader, s sealer, use func(entry, place) error) error {
	at := place{offset: int64(len(magic) + saltSize)}
	var head [frameHead]byte
	var body []byte
	for ; ; at.n++ {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return ended(err)
		}
		length, err := s.openHead(at.n, head[:])
		switch {
		case err != nil && at.n == 0:
			return fmt.Errorf("%w: it is of another key or another TokenIssuer, or was altered", ErrUnusable)
		case err != nil:
			return fmt.Errorf("%w: it was altered after entry %d", ErrUnusable, at.n)
		case length > maxEntry+tagSize:
			return fmt.Errorf("%w: entry %d is too large", ErrUnusable, at.n+1)
		}
		body = slices.Grow(body[:0], length)[:length]
		if _, err := io.ReadFull(r, body); err != nil {
			return ended(err)
		}
		plain, err := s.openBody(at.n, body)
		if err != nil {
			return fmt.Errorf("%w: entry %d was altered", ErrUnusable, at.n+1)
		}
		e, err := parseEntry(plain)
		if err != nil {
			return fmt.Errorf("%w: entry %d: %w", ErrUnusable, at.n+1, err)
		}
		at.length = frameHead + length
		if err := use(e, at); err != nil {
			return err
		}
		at.offset += int64(at.length)
	}
}

// ended is no error where a file just ends.
func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

// Snapshot is a file that has been verified to its end.
type Snapshot struct {
	contents
	sealer sealer
	file   *os.File
}

// Open opens and verifies the file. The error is fs.ErrNotExist if there is none, and ErrUnusable, with a reason, if it
// is not to be believed. It never holds anything of the contents.
func Open(path string, key Key) (*Snapshot, error) {
	file, err := os.Open(path) // #nosec G304 -- the path is an operator's flag
	if err != nil {
		return nil, err
	}
	s := &Snapshot{contents: newContents(), file: file}
	reader := bufio.NewReaderSize(file, flushSize)
	if s.sealer, err = open(reader, key); err == nil {
		err = scan(reader, s.sealer, func(e entry, at place) error {
			s.note(e, at)
			return nil
		})
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return s, nil
}

// Close ends the use of the file.
func (s *Snapshot) Close() error { return s.file.Close() }

// Get returns the value of a thing, nil if there is none.
func (s *Snapshot) Get(kind, key string) ([]byte, error) {
	at, ok := s.places[kind][key]
	if !ok {
		return nil, nil
	}
	return s.read(at, kind, key)
}

// Each hands out everything of a kind, in no order, until use fails.
func (s *Snapshot) Each(kind string, use func(key string, value []byte) error) error {
	for key, at := range s.places[kind] {
		value, err := s.read(at, kind, key)
		if err != nil {
			return err
		}
		if err := use(key, value); err != nil {
			return err
		}
	}
	return nil
}

// read opens a frame again: the file may have been altered since.
func (s *Snapshot) read(at place, kind, key string) ([]byte, error) {
	frame := make([]byte, at.length)
	if _, err := s.file.ReadAt(frame, at.offset); err != nil {
		return nil, err
	}
	plain, err := s.sealer.openBody(at.n, frame[frameHead:])
	if err != nil {
		return nil, fmt.Errorf("%w: it is being altered", ErrUnusable)
	}
	e, err := parseEntry(plain)
	if err == nil && (e.kind != kind || e.key != key || e.gone) {
		err = fmt.Errorf("%w: it is being altered", ErrUnusable)
	}
	return e.value, err
}
