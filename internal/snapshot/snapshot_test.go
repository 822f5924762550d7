package snapshot

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func testKey(t testing.TB, secret, namespace, issuer string) Key {
	t.Helper()
	key, err := NewKey(bytes.Repeat([]byte(secret), 32), namespace, issuer)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func ourKey(t testing.TB) Key { return testKey(t, "p", "m2m-system", "default") }

// state is what a snapshot says: values by kind and key.
type state map[string]string

func (s state) apply(e entry) {
	if e.gone {
		delete(s, e.kind+" "+e.key)
		return
	}
	s[e.kind+" "+e.key] = string(e.value)
}

func stateOf(t testing.TB, s *Snapshot) state {
	t.Helper()
	out := state{}
	for kind := range s.places {
		if err := s.Each(kind, func(key string, value []byte) error {
			out[kind+" "+key] = string(value)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func openState(t testing.TB, path string, key Key) state {
	t.Helper()
	s, err := Open(path, key)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	return stateOf(t, s)
}

// readState is what Open would find in a file of these bytes.
func readState(data []byte, key Key) (state, error) {
	r := bytes.NewReader(data)
	s, err := open(r, key)
	if err != nil {
		return nil, err
	}
	out := state{}
	err = scan(r, s, func(e entry, _ place) error {
		out.apply(e)
		return nil
	})
	return out, err
}

// written is a file of some entries, and the state and the size after each.
func written(t testing.TB, path string) (entries []entry, states []state, sizes []int64) {
	t.Helper()
	j, err := create(path, ourKey(t), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	now := state{}
	states, sizes = []state{{}}, []int64{j.size}
	for i, e := range []entry{
		{kind: "M2MClient", key: "jobs/one", value: []byte(`{"suspend":false}`)},
		{kind: "M2MClient", key: "jobs/two", value: []byte(`{"suspend":false}`)},
		{kind: "listed", key: "M2MClient", value: []byte("5")},
		{kind: "M2MClient", key: "jobs/one", value: []byte(`{"suspend":true}`)},
		{kind: "M2MClient", key: "jobs/two", gone: true},
		{kind: "M2MClient", key: "jobs/never", gone: true},
		{kind: "heard", value: nil},
		{kind: "M2MClient", key: "jobs/three", value: bytes.Repeat([]byte("x"), 300)},
	} {
		if err := j.append(e); err != nil {
			t.Fatal(i, err)
		}
		if err := j.flush(); err != nil {
			t.Fatal(i, err)
		}
		now.apply(e)
		entries, states, sizes = append(entries, e), append(states, maps.Clone(now)), append(sizes, j.size)
	}
	return entries, states, sizes
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	_, states, sizes := written(t, path)
	if got, want := openState(t, path, ourKey(t)), states[len(states)-1]; !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 || info.Size() != sizes[len(sizes)-1] {
		t.Errorf("%v, %v", info, err)
	}
	if _, err := Open(path+"x", ourKey(t)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what is not there opens: %v", err)
	}
}

// TestNothingIsReadable: neither values nor names are in the file as they are.
func TestNothingIsReadable(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	entries, _, _ := written(t, path)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		for _, secret := range []string{e.kind, e.key, string(e.value)} {
			if len(secret) > 2 && bytes.Contains(text, []byte(secret)) {
				t.Errorf("the file holds %q", secret)
			}
		}
	}
	again := filepath.Join(t.TempDir(), FileName)
	written(t, again)
	if other, err := os.ReadFile(again); err != nil || bytes.Equal(text[len(magic):], other[len(magic):]) || bytes.Contains(other, text[len(text)-64:]) {
		t.Errorf("two files of the same contents are the same: %v", err)
	}
}

// TestCutShort: wherever a crash ends the file, the entries before hold, and nothing else.
func TestCutShort(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	_, states, sizes := written(t, path)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for length := range text {
		got, err := readState(text[:length], ourKey(t))
		if int64(length) < sizes[0] {
			if !errors.Is(err, ErrUnusable) {
				t.Errorf("%d bytes, of a header of %d: %v", length, sizes[0], err)
			}
			continue
		}
		whole, _ := slices.BinarySearchFunc(sizes, int64(length)+1, func(size, target int64) int { return int(size - target) })
		if want := states[whole-1]; err != nil || !maps.Equal(got, want) {
			t.Errorf("%d bytes: got %v, %v, want %v", length, got, err, want)
		}
	}
}

// TestAltered: no bit of the file can be changed unnoticed, whichever it is.
func TestAltered(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	written(t, path)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range text {
		for bit := range 8 {
			text[i] ^= 1 << bit
			if _, err := readState(text, ourKey(t)); !errors.Is(err, ErrUnusable) {
				t.Fatalf("byte %d, bit %d: %v", i, bit, err)
			}
			text[i] ^= 1 << bit
		}
	}
}

// TestRearranged: entries cannot be left out, repeated, put in another order or taken from another file.
func TestRearranged(t *testing.T) {
	path, other := filepath.Join(t.TempDir(), FileName), filepath.Join(t.TempDir(), FileName)
	_, _, sizes := written(t, path)
	written(t, other)
	text, err1 := os.ReadFile(path)
	strange, err2 := os.ReadFile(other)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	frame := func(of []byte, n int) []byte { return of[sizes[n]:sizes[n+1]] }
	for name, altered := range map[string][]byte{
		"the first is left out": slices.Concat(text[:sizes[0]], text[sizes[1]:]),
		"one is left out":       slices.Concat(text[:sizes[3]], text[sizes[4]:]),
		"bytes are left out":    slices.Concat(text[:sizes[3]+9], text[sizes[4]+9:]),
		"one is repeated":       slices.Concat(text[:sizes[1]], frame(text, 0), text[sizes[1]:]),
		"the last is repeated":  slices.Concat(text, frame(text, 7)),
		"another order":         slices.Concat(text[:sizes[0]], frame(text, 1), frame(text, 0), text[sizes[2]:]),
		"one of another file":   slices.Concat(text[:sizes[3]], frame(strange, 3), text[sizes[4]:]),
		"another salt":          slices.Concat(strange[:sizes[0]], text[sizes[0]:]),
		"something added":       slices.Concat(text, make([]byte, 64)),
		"another version":       slices.Concat([]byte("m2msnap\x02"), text[len(magic):]),
		"something else":        bytes.Repeat([]byte("kind: Secret\n"), 20),
		"nothing":               {},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(path, altered, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(path, ourKey(t)); !errors.Is(err, ErrUnusable) {
				t.Errorf("it opens: %v", err)
			}
		})
	}
}

func TestOtherKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	written(t, path)
	for name, key := range map[string]Key{
		"another pepper":      testKey(t, "q", "m2m-system", "default"),
		"another namespace":   testKey(t, "p", "m2m", "default"),
		"another TokenIssuer": testKey(t, "p", "m2m-system", "other"),
	} {
		if _, err := Open(path, key); !errors.Is(err, ErrUnusable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := NewKey(make([]byte, 31), "m2m-system", "default"); err == nil {
		t.Error("31 bytes make a key")
	}
}

// TestRewrite: the file stays within its bound, and says the same after every compaction, which a file that a crash has
// left behind is no obstacle to.
func TestRewrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	j, err := create(path, ourKey(t), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".new", []byte("left behind"), 0o644); err != nil {
		t.Fatal(err)
	}
	want, random, rewrites := state{}, mathrand.New(mathrand.NewPCG(1, 2)), 0
	for range 20_000 {
		e := entry{kind: "M2MClient", key: fmt.Sprint(random.IntN(400)), gone: random.IntN(5) == 0}
		if !e.gone {
			e.value = bytes.Repeat([]byte{byte(random.IntN(256))}, random.IntN(1000))
		}
		want.apply(e)
		if err := j.append(e); err != nil {
			t.Fatal(err)
		}
		if !j.sparse() {
			continue
		}
		if j, err = j.compact(ourKey(t)); err != nil {
			t.Fatal(err)
		}
		rewrites++
		if got := openState(t, path, ourKey(t)); !maps.Equal(got, want) {
			t.Fatalf("after %d compactions it says something else", rewrites)
		}
		if j.size != j.live+int64(len(magic)+saltSize) {
			t.Fatalf("%d bytes for %d that hold", j.size, j.live)
		}
	}
	if err := j.flush(); err != nil {
		t.Fatal(err)
	}
	if got := openState(t, path, ourKey(t)); !maps.Equal(got, want) || rewrites < 3 {
		t.Errorf("after %d compactions it says something else: %t", rewrites, !maps.Equal(got, want))
	}
	if _, err := os.Stat(path + ".new"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file is left: %v", err)
	}
}

// TestAlteredWhileRead: what was verified when the file was opened is verified again when it is read.
func TestAlteredWhileRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	_, _, sizes := written(t, path)
	s, err := Open(path, ourKey(t))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteAt([]byte("x"), sizes[len(sizes)-1]-20); err != nil {
		t.Fatal(err)
	}
	if value, err := s.Get("M2MClient", "jobs/three"); !errors.Is(err, ErrUnusable) {
		t.Errorf("read %q, %v", value, err)
	}
	if value, err := s.Get("M2MClient", "jobs/two"); value != nil || err != nil {
		t.Errorf("what is not there is %q, %v", value, err)
	}
}

func TestTooLarge(t *testing.T) {
	j, err := create(filepath.Join(t.TempDir(), FileName), ourKey(t), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	if err := j.append(entry{kind: "Secret", value: make([]byte, maxEntry)}); err == nil {
		t.Error("an entry of more than 16 MiB is taken")
	}
}

func FuzzEntry(f *testing.F) {
	f.Add([]byte{opPut, 1, 'k', 0, 'v'})
	f.Add([]byte{opGone, 1, 'k', 1, 'x'})
	f.Add([]byte{opPut, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := parseEntry(data)
		if err != nil {
			return
		}
		again, err := parseEntry(e.appendTo(nil))
		if err != nil || again.kind != e.kind || again.key != e.key || again.gone != e.gone || !bytes.Equal(again.value, e.value) {
			t.Errorf("%+v becomes %+v, %v", e, again, err)
		}
	})
}

// FuzzScan: whatever is in a file, reading it ends, in an entry that was sealed or in none.
func FuzzScan(f *testing.F) {
	path := filepath.Join(f.TempDir(), FileName)
	entries, _, _ := written(f, path)
	text, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add(text[:len(text)/2])
	f.Add([]byte(magic))
	key := ourKey(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bytes.NewReader(data)
		s, err := open(r, key)
		if err != nil {
			return
		}
		n := 0
		err = scan(r, s, func(e entry, at place) error {
			if n >= len(entries) || e.kind != entries[n].kind || e.key != entries[n].key || !bytes.Equal(e.value, entries[n].value) {
				t.Errorf("entry %d is %+v", n, e)
			}
			n++
			return nil
		})
		if err != nil && !errors.Is(err, ErrUnusable) {
			t.Error(err)
		}
	})
}
