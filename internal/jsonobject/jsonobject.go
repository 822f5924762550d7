// Package jsonobject writes JSON objects (RFC 8259) member by member, in the order in which they are named. What it
// writes is what encoding/json would; it looks at no types to find out, which is most of what a small object costs.
package jsonobject

import (
	"encoding/json"
	"math"
	"strconv"
)

// Writer writes one object to a buffer. Names of members are written as they are: they must be plain words of ours.
type Writer struct{ text []byte }

// Begin begins an object after what is in the buffer, which may be nil.
func Begin(buffer []byte) *Writer { return &Writer{append(buffer, '{')} }

// End ends the object, and returns the buffer with it.
func (w *Writer) End() []byte { return append(w.text, '}') }

// member begins one. The value is to be appended to what it returns.
func (w *Writer) member(name string) []byte {
	text := w.text
	if text[len(text)-1] != '{' {
		text = append(text, ',')
	}
	text = append(text, '"')
	text = append(text, name...)
	return append(text, `":`...)
}

// String writes a member that is a string. What is not UTF-8 in it becomes U+FFFD.
func (w *Writer) String(name, value string) {
	w.text = appendString(w.member(name), value)
}

// Some writes a member that is a string, unless that is empty.
func (w *Writer) Some(name, value string) {
	if value != "" {
		w.String(name, value)
	}
}

// Plain writes a member that is a string, to which value appends. It must append nothing that JSON escapes.
func (w *Writer) Plain(name string, value func(text []byte) []byte) {
	w.text = append(value(append(w.member(name), '"')), '"')
}

// Int writes a member that is a number.
func (w *Writer) Int(name string, value int64) {
	w.text = strconv.AppendInt(w.member(name), value, 10)
}

// Float writes a member that is a number, without an exponent; nothing for what JSON has no number for.
func (w *Writer) Float(name string, value float64) {
	if math.IsNaN(value) || math.IsInf(value, 0) {
		return
	}
	w.text = strconv.AppendFloat(w.member(name), value, 'f', -1, 64)
}

// Bool writes a member that is true or false.
func (w *Writer) Bool(name string, value bool) {
	w.text = strconv.AppendBool(w.member(name), value)
}

// Object writes a member that is an object, of which write writes the members.
func (w *Writer) Object(name string, write func(*Writer)) {
	w.text = append(w.member(name), '{')
	write(w)
	w.text = append(w.text, '}')
}

// Strings writes a member that is an array of n strings.
func (w *Writer) Strings(name string, n int, at func(i int) string) {
	w.array(name, n, func(i int) { w.text = appendString(w.text, at(i)) })
}

// Plains writes a member that is an array of n strings, to each of which value appends. It must append nothing that JSON
// escapes.
func (w *Writer) Plains(name string, n int, value func(text []byte, i int) []byte) {
	w.array(name, n, func(i int) { w.text = append(value(append(w.text, '"'), i), '"') })
}

// Objects writes a member that is an array of n objects, of each of which write writes the members.
func (w *Writer) Objects(name string, n int, write func(w *Writer, i int)) {
	w.array(name, n, func(i int) {
		w.text = append(w.text, '{')
		write(w, i)
		w.text = append(w.text, '}')
	})
}

func (w *Writer) array(name string, n int, write func(i int)) {
	w.text = append(w.member(name), '[')
	for i := range n {
		if i > 0 {
			w.text = append(w.text, ',')
		}
		write(i)
	}
	w.text = append(w.text, ']')
}

// Members writes all the members of an object that is JSON already, and compact.
func (w *Writer) Members(object []byte) {
	if len(object) <= len("{}") {
		return
	}
	if w.text[len(w.text)-1] != '{' {
		w.text = append(w.text, ',')
	}
	w.text = append(w.text, object[1:len(object)-1]...)
}

// plain are the bytes that a string may hold as they are, by encoding/json's opinion, which escapes what HTML would take
// for its own too.
var plain = func() (plain [256]bool) {
	for c := ' '; c <= '~'; c++ {
		plain[c] = c != '"' && c != '\\' && c != '<' && c != '>' && c != '&'
	}
	return plain
}()

// appendString leaves to encoding/json what is not plain.
func appendString(text []byte, value string) []byte {
	for i := range len(value) {
		if !plain[value[i]] {
			quoted, err := json.Marshal(value)
			if err != nil {
				panic(err) // a string always can be written
			}
			return append(text, quoted...)
		}
	}
	text = append(text, '"')
	text = append(text, value...)
	return append(text, '"')
}
