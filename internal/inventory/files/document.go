package files

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/m2m-operator/m2m-operator/internal/access"
)

// Document is one object of the four kinds, as it was written.
type Document struct {
	// File and Line where it begins; File is "-" for the standard input.
	File string
	Line int
	// Kind of the object, and Object as JSON has it, with int64 and float64 for numbers.
	Kind   access.Kind
	Object map[string]any

	node func() *yaml.Node // nil where nobody wrote it as it is
	by   string            // the kustomization that it is from, or the file
}

// Error is a mistake in a file.
type Error struct {
	File    string
	Line    int
	Message string
}

// Error says where, and what.
func (e *Error) Error() string { return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Message) }

// Metadata is a text of metadata, "" if it is not there.
func (d *Document) Metadata(field string) string {
	metadata, _ := d.Object["metadata"].(map[string]any)
	text, _ := metadata[field].(string)
	return text
}

// Ref names the object.
func (d *Document) Ref() access.Ref {
	ref := access.Ref{Kind: d.Kind, Namespace: d.Metadata("namespace"), Name: d.Metadata("name")}
	if d.Kind == access.KindTokenIssuer {
		ref.Namespace = ""
	}
	return ref
}

// pathSegment is a member, an index, or a key of a map: spec.scopes[3].name, matchLabels[app].
var pathSegment = regexp.MustCompile(`[^.\[\]]+|\[[^\]]*\]`)

// LineOf is the line of a field such as spec.scopes[0].name, or that of the innermost field around it that is there.
func (d *Document) LineOf(path string) int {
	line := d.Line
	if d.node == nil || path == "" {
		return line
	}
	at := d.node()
	for _, segment := range pathSegment.FindAllString(path, -1) {
		key, child := below(at, strings.Trim(segment, "[]"))
		if child == nil {
			break
		}
		line, at = key, child
	}
	return line
}

// below finds a member, with the line of its key.
func below(n *yaml.Node, segment string) (line int, child *yaml.Node) {
	for n != nil && n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch {
	case n == nil:
	case n.Kind == yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == segment {
				return n.Content[i].Line, n.Content[i+1]
			}
		}
	case n.Kind == yaml.SequenceNode:
		if i, err := strconv.Atoi(segment); err == nil && i >= 0 && i < len(n.Content) {
			return n.Content[i].Line, n.Content[i]
		}
	}
	return 0, nil
}
