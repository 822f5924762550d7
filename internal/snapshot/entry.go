package snapshot

import (
	"encoding/binary"
	"errors"
)

// entry says what the thing of a kind and key is from here on, or that it is gone.
type entry struct {
	kind, key string
	gone      bool
	value     []byte
}

const (
	opPut  = 1
	opGone = 2
)

var errMalformed = errors.New("an entry is malformed")

// appendTo appends what is sealed.
func (e entry) appendTo(out []byte) []byte {
	op := byte(opPut)
	if e.gone {
		op = opGone
	}
	out = append(out, op)
	for _, name := range []string{e.kind, e.key} {
		out = binary.AppendUvarint(out, uint64(len(name)))
		out = append(out, name...)
	}
	return append(out, e.value...)
}

// parseEntry reads what appendTo wrote. The value is shared with the data.
func parseEntry(data []byte) (entry, error) {
	if len(data) == 0 || (data[0] != opPut && data[0] != opGone) {
		return entry{}, errMalformed
	}
	e := entry{gone: data[0] == opGone}
	data = data[1:]
	for _, name := range []*string{&e.kind, &e.key} {
		length, n := binary.Uvarint(data)
		if n <= 0 || length > uint64(len(data)-n) {
			return entry{}, errMalformed
		}
		*name = string(data[n : n+int(length)])
		data = data[n+int(length):]
	}
	if e.gone && len(data) > 0 {
		return entry{}, errMalformed
	}
	e.value = data
	return e, nil
}

// place of a frame in its file.
type place struct {
	offset int64
	n      uint64 // how many frames are before it
	length int    // of the whole frame
}

// contents knows where the last word on each thing stands, by kind and key.
type contents struct {
	places map[string]map[string]place
	live   int64 // bytes of all of them
}

func newContents() contents { return contents{places: map[string]map[string]place{}} }

// note takes in the entry of a frame.
func (c *contents) note(e entry, at place) {
	if before, ok := c.places[e.kind][e.key]; ok {
		c.live -= int64(before.length)
	}
	if e.gone {
		delete(c.places[e.kind], e.key)
		return
	}
	if c.places[e.kind] == nil {
		c.places[e.kind] = map[string]place{}
	}
	c.places[e.kind][e.key] = at
	c.live += int64(at.length)
}
