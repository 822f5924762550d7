package jsonobject

import (
	"encoding/json"
	"math"
	"strconv"
	"testing"
)

func TestWriter(t *testing.T) {
	w := Begin([]byte("before "))
	w.String("plain", "a/b c:~")
	w.Some("absent", "")
	w.Some("present", "x")
	w.Int("int", math.MinInt64)
	w.Float("float", 0.000012)
	w.Float("none", math.NaN())
	w.Float("endless", math.Inf(1))
	w.Bool("bool", true)
	w.Object("empty", func(*Writer) {})
	w.Object("object", func(w *Writer) { w.Int("one", 1); w.Int("two", 2) })
	w.Strings("strings", 2, func(i int) string { return []string{"a", "b"}[i] })
	w.Strings("no strings", 0, nil)
	w.Plain("plainly", func(text []byte) []byte { return append(text, "a/b"...) })
	w.Plains("all plainly", 2, func(text []byte, i int) []byte { return strconv.AppendInt(text, int64(i), 10) })
	w.Objects("objects", 2, func(w *Writer, i int) { w.Int("i", int64(i)); w.Bool("odd", i == 1) })
	w.Members([]byte(`{}`))
	w.Members([]byte(`{"more":[{}],"most":null}`))
	got := string(w.End())
	want := `before {"plain":"a/b c:~","present":"x","int":-9223372036854775808,"float":0.000012,"bool":true,"empty":{},` +
		`"object":{"one":1,"two":2},"strings":["a","b"],"no strings":[],"plainly":"a/b","all plainly":["0","1"],"objects":[{"i":0,"odd":false},{"i":1,"odd":true}],` +
		`"more":[{}],"most":null}`
	if got != want {
		t.Errorf("got\n%s, want\n%s", got, want)
	}
	alone := Begin(nil)
	alone.Members([]byte(`{"a":1}`))
	if got := string(alone.End()); got != `{"a":1}` {
		t.Error(got)
	}
}

// FuzzString: every string is written as encoding/json writes it.
func FuzzString(f *testing.F) {
	for _, seed := range []string{"", "plain", "\"", `\`, "<a href='x'>&", "\x00\x1f\x7f", "é\u2028", "\xff\xfe", "a\nb"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		w := Begin(nil)
		w.String("s", s)
		want, err := json.Marshal(struct {
			S string `json:"s"`
		}{s})
		if err != nil {
			t.Fatal(err)
		}
		if got := w.End(); string(got) != string(want) {
			t.Errorf("%q: %s, want %s", s, got, want)
		}
	})
}
