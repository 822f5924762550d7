package feed

import (
	"bytes"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/watch"
)

// watchDecoding reads the events of watches in JSON in half the time. apimachinery goes through each event five times and
// more, to find out what is in it, and an issuer that starts is told of everything by events.
//
// An API server begins an event about a custom resource with its type, apiVersion and kind. Whatever begins otherwise is
// left to apimachinery.
type watchDecoding struct {
	runtime.NegotiatedSerializer
	known []knownEvent
}

// knownEvent is how events of one type about one kind begin.
type knownEvent struct {
	beginning []byte
	event     watch.EventType
	kind      kind
}

// newWatchDecoding reads events about the kinds of a group as the serializer would.
func newWatchDecoding(serializer runtime.NegotiatedSerializer, group schema.GroupVersion) watchDecoding {
	d := watchDecoding{NegotiatedSerializer: serializer}
	for _, k := range kinds {
		if k.group != group {
			continue
		}
		for _, event := range []watch.EventType{watch.Added, watch.Modified, watch.Deleted} {
			beginning := fmt.Appendf(nil, `{"type":%q,"object":{"apiVersion":%q,"kind":%q,`, event, group.String(), k.name)
			d.known = append(d.known, knownEvent{beginning, event, k})
		}
	}
	return d
}

// find tells what an event is about, if it begins as one that is known.
func (d watchDecoding) find(event []byte) (knownEvent, bool) {
	for _, known := range d.known {
		if bytes.HasPrefix(event, known.beginning) {
			return known, true
		}
	}
	return knownEvent{}, false
}

// SupportedMediaTypes implements runtime.NegotiatedSerializer.
func (d watchDecoding) SupportedMediaTypes() []runtime.SerializerInfo {
	var all []runtime.SerializerInfo
	for _, info := range d.NegotiatedSerializer.SupportedMediaTypes() {
		if info.MediaType == runtime.ContentTypeJSON && info.StreamSerializer != nil {
			stream := *info.StreamSerializer
			stream.Serializer = eventDecoder{stream.Serializer, d}
			info.Serializer, info.StreamSerializer = objectDecoder{info.Serializer, d}, &stream
		}
		all = append(all, info)
	}
	return all
}

// eventDecoder finds out the type of an event, and leaves all of it to objectDecoder.
type eventDecoder struct {
	runtime.Serializer
	watchDecoding
}

// Decode implements runtime.Decoder.
func (d eventDecoder) Decode(data []byte, defaults *schema.GroupVersionKind, into runtime.Object) (runtime.Object, *schema.GroupVersionKind, error) {
	event, isEvent := into.(*metav1.WatchEvent)
	known, found := d.find(data)
	if !isEvent || !found {
		return d.Serializer.Decode(data, defaults, into)
	}
	event.Type, event.Object.Raw = string(known.event), data // which is decoded before there is another one
	return event, nil, nil
}

// objectDecoder reads the object of an event, of which it gets all.
type objectDecoder struct {
	runtime.Serializer
	watchDecoding
}

// Decode implements runtime.Decoder.
func (d objectDecoder) Decode(data []byte, defaults *schema.GroupVersionKind, into runtime.Object) (runtime.Object, *schema.GroupVersionKind, error) {
	known, found := d.find(data)
	if !found {
		return d.Serializer.Decode(data, defaults, into)
	}
	object := known.kind.object()
	err := json.Unmarshal(data, &struct {
		Object runtime.Object `json:"object"`
	}{object})
	gvk := known.kind.group.WithKind(known.kind.name)
	return object, &gvk, err
}
