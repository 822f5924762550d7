package feed

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

// recorded is a store that hands on to a list of words.
type recorded struct {
	*store
	told []string
	log  bytes.Buffer
}

func record() *recorded {
	r := &recorded{}
	r.store = &store{
		kind: kinds[5], trim: func(o client.Object) { trimMeta(o) }, versions: map[string]string{}, replaced: func() {},
		upsert: func(o client.Object) { r.told = append(r.told, "+"+keyOf(o)) },
		remove: func(namespace, name string) { r.told = append(r.told, "-"+namespace+"/"+name) },
		log:    slog.New(slog.NewTextHandler(&r.log, nil)),
	}
	return r
}

// take returns what was told since the last time, first what went, in the order of names.
func (r *recorded) take() string {
	gone := slices.IndexFunc(r.told, func(word string) bool { return word[0] == '+' })
	if gone < 0 {
		gone = len(r.told)
	}
	slices.Sort(r.told[:gone])
	slices.Sort(r.told[gone:])
	told := strings.Join(r.told, " ")
	r.told = nil
	return told
}

// object of a name and resourceVersion.
func object(name, resourceVersion string) *v1alpha1.M2MClient {
	return &v1alpha1.M2MClient{ObjectMeta: metav1.ObjectMeta{
		Namespace: "jobs", Name: name, ResourceVersion: resourceVersion, ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "x"}},
	}}
}

// listOf objects, given as name=resourceVersion.
func listOf(words ...string) (items []any) {
	for _, word := range words {
		name, version, _ := strings.Cut(word, "=")
		items = append(items, object(name, version))
	}
	return items
}

func TestReplaceTellsWhatDiffers(t *testing.T) {
	r := record()
	for _, step := range []struct {
		version string
		list    []any
		told    string
	}{
		{"10", listOf("a=1", "b=2", "c=3"), "+jobs/a +jobs/b +jobs/c"},
		{"11", listOf("a=1", "b=2", "c=3"), ""},
		{"20", listOf("a=1", "b=12", "d=13"), "-jobs/c +jobs/b +jobs/d"},
		{"20", listOf(), "-jobs/a -jobs/b -jobs/d"},
		{"21", listOf("a=21"), "+jobs/a"},
	} {
		if err := r.Replace(step.list, step.version); err != nil {
			t.Fatal(err)
		}
		if told := r.take(); told != step.told {
			t.Errorf("the list at %s told %q, want %q", step.version, told, step.told)
		}
	}
	if _, older := r.status(); older.Count != 0 || r.log.Len() > 0 {
		t.Errorf("an older list is reported: %+v %s", older, r.log.String())
	}
	if r.loaded.Load() || !r.listed.Load() {
		t.Error("it is not listed")
	}
}

// TestOlderListIsReportedAndFollowed: also for objects whose resourceVersion is the same, for what they say may differ.
func TestOlderListIsReportedAndFollowed(t *testing.T) {
	r := record()
	for _, err := range []error{
		r.Replace(listOf("a=1", "b=2"), "9"), r.Update(object("a", "10")), r.Delete(object("b", "11")), r.Bookmark("100"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	r.take()
	if err := r.Replace(listOf("a=1", "b=2"), "99"); err != nil {
		t.Fatal(err)
	}
	newest, older := r.status()
	if newest != "99" || older.Count != 1 || older.Listed != "99" || older.Seen != "100" || older.At.IsZero() {
		t.Errorf("newest is %s, reported is %+v", newest, older)
	}
	if told := r.take(); told != "+jobs/a +jobs/b" {
		t.Errorf("told is %q", told)
	}
	if n := strings.Count(r.log.String(), "level=WARN"); n != 1 || !strings.Contains(r.log.String(), "M2MClient") {
		t.Errorf("logged is %s", r.log.String())
	}
	if err := r.Replace(listOf("a=1", "b=2"), "99"); err != nil || r.take() != "" {
		t.Errorf("the same list again tells something: %v", err)
	}
	// A restored API server may have counted past what was known, but not its objects.
	if err := r.Replace(listOf("a=7", "b=2"), "120"); err != nil {
		t.Fatal(err)
	}
	r.take()
	if err := r.Replace(listOf("a=6", "b=2"), "130"); err != nil {
		t.Fatal(err)
	}
	newest, older = r.status()
	if told := r.take(); newest != "130" || older.Count != 2 || older.Listed != "6" || older.Seen != "7" || told != "+jobs/a +jobs/b" {
		t.Errorf("newest is %s, reported is %+v, told is %q", newest, older, told)
	}
	r = record()
	if err := r.Replace(nil, "99"); err != nil {
		t.Fatal(err)
	}
	// Resourceversions are compared as numbers.
	if err := r.Replace(listOf("a=1", "b=2"), "100"); err != nil {
		t.Fatal(err)
	}
	if _, older := r.status(); older.Count != 0 {
		t.Errorf("100 is older than 99: %+v", older)
	}
}

func TestEventsAreHandedOn(t *testing.T) {
	r := record()
	for _, err := range []error{r.Add(object("a", "1")), r.Update(object("a", "2")), r.Delete(object("a", "3")), r.Delete(object("x", "4"))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if told := fmt.Sprint(r.told); told != "[+jobs/a +jobs/a -jobs/a -jobs/x]" {
		t.Errorf("told is %s", told)
	}
	if newest, _ := r.status(); newest != "4" || len(r.versions) != 0 {
		t.Errorf("newest is %s, kept is %v", newest, r.versions)
	}
	for _, err := range []error{r.Add("x"), r.Update("x"), r.Delete("x"), r.Replace([]any{"x"}, "5")} {
		if err == nil {
			t.Error("what is no object is taken")
		}
	}
	if _, err := r.Transformer()("x"); err == nil {
		t.Error("what is no object is trimmed")
	}
	trimmed, err := r.Transformer()(object("a", "1"))
	if err != nil || trimmed.(client.Object).GetManagedFields() != nil {
		t.Errorf("trimmed is %+v, %v", trimmed, err)
	}
}

func TestKeys(t *testing.T) {
	for key, want := range map[string][2]string{"jobs/publisher": {"jobs", "publisher"}, "default": {"", "default"}} {
		if namespace, name := splitKey(key); namespace != want[0] || name != want[1] {
			t.Errorf("%s is %s and %s", key, namespace, name)
		}
		o := &v1alpha1.M2MClient{ObjectMeta: metav1.ObjectMeta{Namespace: want[0], Name: want[1]}}
		if got := keyOf(o); got != key {
			t.Errorf("the key is %s, want %s", got, key)
		}
	}
}
