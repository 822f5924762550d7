// Package lint finds mistakes in manifests without a cluster: what the API server would refuse, by the definitions that
// it would be given, and what a controller would report only once the objects are there. It does no I/O, and knows no
// time but the one that it is given.
package lint

import (
	"context"
	"fmt"
	"io/fs"
	"strings"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/objectmeta"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	k8syaml "sigs.k8s.io/yaml"

	"github.com/m2m-operator/m2m-operator/config/crd"
	"github.com/m2m-operator/m2m-operator/internal/access"
)

// Schema is what the API server knows of the four kinds.
type Schema struct {
	kinds map[access.Kind]kindSchema
}

type kindSchema struct {
	namespaced bool
	structural *schema.Structural
	validator  validation.SchemaValidator
	cel        *cel.Validator
}

// NewSchema compiles the definitions that this build was made with.
func NewSchema() (*Schema, error) {
	out := &Schema{kinds: map[access.Kind]kindSchema{}}
	names, err := fs.Glob(crd.Bases, "bases/*.yaml")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		text, err := crd.Bases.ReadFile(name)
		if err != nil {
			return nil, err
		}
		definition := &apiextensionsv1.CustomResourceDefinition{}
		if err := k8syaml.UnmarshalStrict(text, definition); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		compiled, err := compile(definition)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out.kinds[access.Kind(definition.Spec.Names.Kind)] = compiled
	}
	return out, nil
}

func compile(definition *apiextensionsv1.CustomResourceDefinition) (kindSchema, error) {
	out := kindSchema{namespaced: definition.Spec.Scope == apiextensionsv1.NamespaceScoped}
	props := &apiextensions.JSONSchemaProps{}
	err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(definition.Spec.Versions[0].Schema.OpenAPIV3Schema, props, nil)
	if err != nil {
		return out, err
	}
	if out.structural, err = schema.NewStructural(props); err != nil {
		return out, err
	}
	if out.validator, _, err = validation.NewSchemaValidator(props); err != nil {
		return out, err
	}
	out.cel = cel.NewValidator(out.structural, true, celconfig.PerCallLimit)
	return out, nil
}

// noSuchField is what is said of a field that a kind does not have.
const noSuchField = "there is no such field"

// Validate says what the API server would refuse of an object that is created, as it is told to be strict about unknown
// fields. A status counts for nothing there, and is not looked at. The object is not changed.
func (s *Schema) Validate(kind access.Kind, object map[string]any) field.ErrorList {
	k := s.kinds[kind]
	object = runtime.DeepCopyJSON(object)
	delete(object, "status")
	var errs field.ErrorList
	unknown := pruning.PruneWithOptions(object, k.structural, true, schema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})
	for _, path := range unknown {
		errs = append(errs, field.Invalid(fieldPath(path), "", noSuchField))
	}
	errs = append(errs, k.metadata(object)...)
	defaulting.PruneNonNullableNullsWithoutDefaults(object, k.structural)
	defaulting.Default(object, k.structural)
	invalid := validation.ValidateCustomResource(nil, object, k.validator)
	invalid = append(invalid, listtype.ValidateListSetsAndMaps(nil, k.structural, object)...)
	errs = append(errs, invalid...)
	if blocks(errs) {
		return errs // as the API server does: expressions would stumble over it
	}
	found, _ := k.cel.Validate(context.Background(), nil, k.structural, object, nil, celconfig.RuntimeCELCostBudget)
	return append(errs, found...)
}

// blocks reports whether a mistake is of a kind that expressions must not meet.
func blocks(errs field.ErrorList) bool {
	for _, err := range errs {
		switch err.Type {
		case field.ErrorTypeNotSupported, field.ErrorTypeRequired, field.ErrorTypeTooLong, field.ErrorTypeTooMany, field.ErrorTypeTypeInvalid:
			return true
		}
	}
	return false
}

// metadata says what is wrong with an object's name, namespace, labels and annotations.
func (k kindSchema) metadata(object map[string]any) field.ErrorList {
	at := field.NewPath("metadata")
	meta, found, unknown, err := objectmeta.GetObjectMetaWithOptions(object, objectmeta.ObjectMetaOptions{ReturnUnknownFieldPaths: true})
	switch {
	case err != nil:
		return field.ErrorList{field.Invalid(at, "", err.Error())}
	case !found:
		return field.ErrorList{field.Required(at.Child("name"), "")}
	}
	var errs field.ErrorList
	for _, path := range unknown {
		errs = append(errs, field.Invalid(fieldPath(path), "", noSuchField))
	}
	if meta.Name == "" && meta.GenerateName != "" {
		return append(errs, field.Required(at.Child("name"), "a name that is made up when it is applied cannot be looked at before"))
	}
	return append(errs, apivalidation.ValidateObjectMeta(meta, k.namespaced, apivalidation.NameIsDNSSubdomain, at)...)
}

// fieldPath makes a path of its text.
func fieldPath(text string) *field.Path {
	parts := strings.Split(text, ".")
	return field.NewPath(parts[0], parts[1:]...)
}
