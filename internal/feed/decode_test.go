package feed

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/runtime/serializer/streaming"
	"k8s.io/apimachinery/pkg/watch"
	restwatch "k8s.io/client-go/rest/watch"
	"sigs.k8s.io/yaml"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

// event is what is made of one.
type event struct {
	Type   watch.EventType
	Object runtime.Object
	failed bool
}

// events reads a stream of events as client-go does, by a serializer.
func events(t *testing.T, by runtime.NegotiatedSerializer, stream string) (all []event) {
	t.Helper()
	objects, envelope, framer, err := runtime.NewClientNegotiator(by, v1alpha1.GroupVersion).StreamDecoder(runtime.ContentTypeJSON, nil)
	if err != nil {
		t.Fatal(err)
	}
	decoder := restwatch.NewDecoder(streaming.NewDecoder(framer.NewFrameReader(io.NopCloser(strings.NewReader(stream))), envelope), objects)
	for {
		kind, object, err := decoder.Decode()
		if errors.Is(err, io.EOF) {
			return all
		}
		all = append(all, event{kind, object, err != nil})
		if err != nil {
			return all
		}
	}
}

// TestWatchDecoding wants what apimachinery makes of the same events: of all samples of our kinds, and of what is unusual.
func TestWatchDecoding(t *testing.T) {
	stock := serializer.NewCodecFactory(NewScheme()).WithoutConversion()
	ours := newWatchDecoding(stock, v1alpha1.GroupVersion)
	client := `"apiVersion":"m2m-operator.io/v1alpha1","kind":"M2MClient","metadata":{"name":"a","namespace":"jobs","resourceVersion":"7"}`
	streams := map[string]string{
		"more members":          `{"type":"ADDED","object":{` + client + `},"more":{"object":{}}}`,
		"object twice":          `{"type":"ADDED","object":{` + client + `},"object":{` + client + `,"spec":{"suspend":true}}}`,
		"unknown field":         `{"type":"ADDED","object":{` + client + `,"spec":{"unknown":1,"suspend":true}}}`,
		"other case":            `{"type":"ADDED","object":{` + client + `,"Spec":{"suspend":true}}}`,
		"field of another type": `{"type":"ADDED","object":{` + client + `,"spec":{"suspend":"yes"}}}`,
		"other order":           `{"object":{` + client + `},"type":"ADDED"}`,
		"spaces":                `{ "type": "ADDED", "object": {` + client + `}}`,
		"bookmark":              `{"type":"BOOKMARK","object":{` + client + `}}`,
		"error":                 `{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","code":410,"reason":"Expired"}}`,
		"other kind":            `{"type":"ADDED","object":{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a"}}}`,
		"unknown kind":          `{"type":"ADDED","object":{"apiVersion":"m2m-operator.io/v1alpha1","kind":"M2MClients","metadata":{"name":"a"}}}`,
		"unknown type":          `{"type":"MOVED","object":{` + client + `}}`,
		"no object":             `{"type":"ADDED","object":null}`,
		"cut off":               `{"type":"ADDED","object":{` + client,
		"two":                   `{"type":"ADDED","object":{` + client + `}}` + "\n" + `{"type":"DELETED","object":{` + client + `,"spec":{"displayName":"é\u00e9"}}}` + "\n",
	}
	for name, text := range samples(t) {
		for _, kind := range []string{"ADDED", "MODIFIED", "DELETED"} {
			streams[kind+" "+name] = `{"type":"` + kind + `","object":` + text + "}\n"
		}
	}
	fast := 0
	for name, stream := range streams {
		if _, found := ours.find([]byte(stream)); found {
			fast++
		}
		want, got := events(t, stock, stream), events(t, ours, stream)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, apimachinery %+v", name, got, want)
		}
	}
	if fast < 20 {
		t.Errorf("but %d of %d are read in the fast way", fast, len(streams))
	}
}

// samples of our kinds, as an API server writes custom resources: by name, with sorted members.
func samples(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("../../config/samples/*/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no samples: %v", err)
	}
	all := map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for i, document := range strings.Split(string(text), "\n---\n") {
			var object map[string]any
			if err := yaml.Unmarshal([]byte(document), &object); err != nil || !ofGroup(object, v1alpha1.GroupVersion) {
				continue
			}
			written, err := json.Marshal(object)
			if err != nil {
				t.Fatal(err)
			}
			all[file+"#"+string(rune('0'+i))] = string(written)
		}
	}
	return all
}

func ofGroup(object map[string]any, group schema.GroupVersion) bool {
	return object["apiVersion"] == group.String()
}
