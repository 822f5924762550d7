package policy

import (
	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
)

// The variables. Those that are objects have types of the same names.
const (
	varClient  = "client"
	varRequest = "request"
	varScopes  = "scopes"
	varAPI     = "api"
)

// How large the variables can be at most; what an expression may cost is estimated with these. The definitions of the
// kinds and the token endpoint see to it that they are not exceeded.
const (
	maxString     = 512
	maxScopes     = 512
	maxScopeBytes = 128
	maxLabels     = 64
	maxLabelKey   = 317
)

// field is a field of an object: its type, its bounds, and how it is read.
type field struct {
	*types.FieldType
	bounds *bounds
}

var objects = map[string]map[string]field{
	varClient: {
		"id":             text(func(c *Client) string { return c.ID }),
		"namespace":      text(func(c *Client) string { return c.Namespace }),
		"name":           text(func(c *Client) string { return c.Name }),
		"authentication": text(func(c *Client) string { return c.Authentication }),
		"serviceAccount": text(func(c *Client) string { return c.ServiceAccount }),
		"labels": newField(cel.MapType(cel.StringType, cel.StringType),
			&bounds{count: maxLabels, element: &bounds{text: maxLabelKey}},
			func(c *Client) any { return c.Labels }, func(c *Client) bool { return len(c.Labels) > 0 }),
	},
	varRequest: {
		"scopes": newField(cel.ListType(cel.StringType), scopesBounds,
			func(r *Request) any { return r.Scopes }, func(r *Request) bool { return len(r.Scopes) > 0 }),
		"time": newField(cel.TimestampType, scalar,
			func(r *Request) any { return r.Time.UTC() }, func(r *Request) bool { return !r.Time.IsZero() }),
		"source": text(func(r *Request) string { return r.Source }),
	},
	varAPI: {
		"namespace":  text(func(a *API) string { return a.Namespace }),
		"name":       text(func(a *API) string { return a.Name }),
		"identifier": text(func(a *API) string { return a.Identifier }),
	},
}

func newField[T any](t *cel.Type, b *bounds, get func(*T) any, set func(*T) bool) field {
	return field{bounds: b, FieldType: &types.FieldType{
		Type:    t,
		GetFrom: func(target any) (any, error) { return get(target.(*T)), nil },
		IsSet:   func(target any) bool { return set(target.(*T)) },
	}}
}

func text[T any](get func(*T) string) field {
	return newField(cel.StringType, &bounds{text: maxString},
		func(object *T) any { return get(object) }, func(object *T) bool { return get(object) != "" })
}

// provider tells CEL the fields of the objects. It reads them without reflection, and knows a misspelt one for what it
// is.
type provider struct{ types.Provider }

// FindStructType implements types.Provider.
func (p provider) FindStructType(name string) (*types.Type, bool) {
	if _, ok := objects[name]; ok {
		return types.NewTypeTypeWithParam(types.NewObjectType(name)), true
	}
	return p.Provider.FindStructType(name)
}

// FindStructFieldType implements types.Provider.
func (p provider) FindStructFieldType(object, name string) (*types.FieldType, bool) {
	if fields, ok := objects[object]; ok {
		f, ok := fields[name]
		return f.FieldType, ok
	}
	return p.Provider.FindStructFieldType(object, name)
}

// NewValue implements types.Provider. No expression that makes an object is accepted.
func (provider) NewValue(name string, _ map[string]ref.Val) ref.Val {
	return types.NewErr("%s cannot be made", name)
}
