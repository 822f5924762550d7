package files

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kjson "sigs.k8s.io/json"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/inventory"
)

// Decode makes objects of documents. Fields that the kinds do not have are mistakes; the rest of the kinds' rules is not
// looked at. Mistakes are of type *Error, joined.
func Decode(documents []*Document) (*inventory.Inventory, error) {
	out := inventory.New()
	var mistakes []error
	for _, d := range documents {
		object, err := d.Decode()
		if err != nil {
			mistakes = append(mistakes, err)
			continue
		}
		out.Add(object)
	}
	return out, errors.Join(mistakes...)
}

// Decode makes an object of the document. The error is of type *Error.
func (d *Document) Decode() (metav1.Object, error) {
	if d.Metadata("name") == "" {
		return nil, &Error{d.File, d.LineOf("metadata"), fmt.Sprintf("this %s has no metadata.name", d.Kind)}
	}
	if d.Kind != access.KindTokenIssuer && d.Metadata("namespace") == "" {
		return nil, &Error{d.File, d.LineOf("metadata"), fmt.Sprintf("%s %q has no metadata.namespace: name it, or give -n", d.Kind, d.Metadata("name"))}
	}
	text, err := json.Marshal(d.Object)
	if err != nil {
		return nil, &Error{d.File, d.Line, err.Error()}
	}
	object := newObject(d.Kind)
	strict, err := kjson.UnmarshalStrict(text, object)
	if err != nil {
		return nil, &Error{d.File, d.Line, strings.TrimPrefix(err.Error(), "json: ")}
	}
	if len(strict) > 0 {
		return nil, d.strict(strict)
	}
	return object, nil
}

// strict places what is unknown, all in one error of the document's.
func (d *Document) strict(mistakes []error) error {
	var out []error
	for _, mistake := range mistakes {
		line := d.Line
		if _, path, ok := strings.Cut(mistake.Error(), `"`); ok {
			line = d.LineOf(strings.TrimSuffix(path, `"`))
		}
		out = append(out, &Error{d.File, line, mistake.Error()})
	}
	return errors.Join(out...)
}

func newObject(kind access.Kind) metav1.Object {
	switch kind {
	case access.KindTokenIssuer:
		return &v1alpha1.TokenIssuer{}
	case access.KindApiResource:
		return &v1alpha1.ApiResource{}
	case access.KindM2MClient:
		return &v1alpha1.M2MClient{}
	default:
		return &v1alpha1.ScopeGrant{}
	}
}
