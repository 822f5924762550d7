package policy

import (
	"time"

	"github.com/google/cel-go/cel"
)

// Client is what expressions know as client.
type Client struct {
	ID, Namespace, Name string
	Labels              map[string]string
	// Authentication is the method by which the client proved who it is, for this request.
	Authentication string
	ServiceAccount string
}

// Request is what expressions know as request.
type Request struct {
	// Scopes as they were asked for.
	Scopes []string
	Time   time.Time
	// Source is the IP address that the request came from, "" if it is not known.
	Source string
}

// API is what expressions know as api.
type API struct{ Namespace, Name, Identifier string }

// Input is all that an expression can look at.
type Input struct {
	Client  Client
	Request Request
	// Scopes that are granted.
	Scopes []string
	API    API
}

// activation resolves the variables of an expression.
type activation struct{ in *Input }

// ResolveName implements cel.Activation.
func (a activation) ResolveName(name string) (any, bool) {
	switch name {
	case varClient:
		return &a.in.Client, true
	case varRequest:
		return &a.in.Request, true
	case varScopes:
		return a.in.Scopes, true
	case varAPI:
		return &a.in.API, true
	}
	return nil, false
}

// Parent implements cel.Activation.
func (activation) Parent() cel.Activation { return nil }
