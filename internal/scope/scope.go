package scope

import (
	"errors"
	"strings"
)

// Syntax says how the scopes of an ApiResource are read.
type Syntax int

const (
	// Exact scopes cover themselves and nothing else; every character of theirs is an ordinary one.
	Exact Syntax = iota
	// Hierarchical scopes are resource:id:action, where * stands for all of something. Shorter spellings say less:
	// book is book:*:*, book:read is book:*:read, and * is all there is.
	Hierarchical
)

// all stands for everything in a segment.
const all = "*"

// separator between segments.
const separator = ":"

// errSegments says what an item of the hierarchical syntax looks like.
var errSegments = errors.New("must have one to three segments, none of them empty: resource, resource:action or resource:id:action")

// Item is a scope as it is compared. The zero value is not a scope.
type Item struct {
	resource, id, action string
}

// Parse reads a scope. Every string is one in the exact syntax; in the hierarchical syntax the error says what is wrong.
func Parse(syntax Syntax, name string) (Item, error) {
	if syntax == Exact {
		return Item{resource: name}, nil
	}
	item := Item{}
	first, rest, more := strings.Cut(name, separator)
	switch {
	case !more:
		item = Item{first, all, all}
	case !strings.Contains(rest, separator):
		item = Item{first, all, rest}
	default:
		id, action, _ := strings.Cut(rest, separator)
		item = Item{first, id, action}
	}
	if item.resource == "" || item.id == "" || item.action == "" || strings.Contains(item.action, separator) {
		return Item{}, errSegments
	}
	return item, nil
}

// String is the item in full.
func (i Item) String() string {
	if i.id == "" {
		return i.resource
	}
	return i.resource + separator + i.id + separator + i.action
}

// Covers reports whether whoever is granted the item may have the other one: segment by segment the same, or all. What
// asks for all of something is covered only by what grants all of it.
func (i Item) Covers(other Item) bool {
	if i.id == "" {
		return i == other
	}
	return covers(i.resource, other.resource) && covers(i.id, other.id) && covers(i.action, other.action)
}

// Declares reports whether an API that declares the item knows the other one: its resource and its action, whichever
// the id. All of something is known where any of it is.
func (i Item) Declares(other Item) bool {
	if i.id == "" {
		return i == other
	}
	return meets(i.resource, other.resource) && meets(i.action, other.action)
}

// Exact items have no id, and so no wildcard: covers and meets are for hierarchical ones.
func covers(granted, asked string) bool { return granted == all || granted == asked }

func meets(a, b string) bool { return a == b || a == all || b == all }
