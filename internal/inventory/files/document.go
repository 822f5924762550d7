package files

import (
	"bufio"
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	k8syaml "sigs.k8s.io/yaml"

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

// part is one YAML document of a file, and the line before it.
type part struct {
	text  []byte
	above int
}

// split cuts a file at its --- lines.
func split(text []byte) []part {
	var out []part
	current := part{}
	scanner := bufio.NewScanner(bytes.NewReader(text))
	scanner.Buffer(nil, maxFile+1)
	for n := 1; scanner.Scan(); n++ {
		line := scanner.Bytes()
		if bytes.Equal(line, []byte("---")) || bytes.HasPrefix(line, []byte("--- ")) || bytes.HasPrefix(line, []byte("---\r")) {
			out = append(out, current)
			current = part{above: n}
			continue
		}
		current.text = append(append(current.text, line...), '\n')
	}
	return append(out, current)
}

// yamlPreface is what parsers say before they come to the point.
var yamlPreface = regexp.MustCompile(`^(error converting YAML to JSON: )?(yaml: )?(unmarshal errors:\n +)?`)

var yamlLine = regexp.MustCompile(`line (\d+): `)

// mistake places a parser's error in the file.
func (p part) mistake(file string, err error) *Error {
	out := &Error{File: file, Line: p.above + 1, Message: yamlPreface.ReplaceAllString(err.Error(), "")}
	if match := yamlLine.FindStringSubmatch(out.Message); match != nil {
		line, _ := strconv.Atoi(match[1]) // it is digits
		out.Line += line - 1
		out.Message = strings.Replace(out.Message, match[0], "", 1)
	}
	return out
}

// parse reads a document as kubectl does; nil if there is none.
func (p part) parse(file string) (map[string]any, error) {
	converted, err := k8syaml.YAMLToJSONStrict(p.text)
	if err != nil {
		return nil, p.mistake(file, err)
	}
	if bytes.Equal(bytes.TrimSpace(converted), []byte("null")) {
		return nil, nil
	}
	var object map[string]any
	if err := utiljson.Unmarshal(converted, &object); err != nil {
		return nil, &Error{File: file, Line: p.begin(), Message: "a manifest must be an object, with apiVersion and kind"}
	}
	return object, nil
}

// begin is the line of the first thing that is no comment.
func (p part) begin() int {
	n := p.above
	for line := range bytes.Lines(p.text) {
		n++
		if text := bytes.TrimSpace(line); len(text) > 0 && text[0] != '#' {
			break
		}
	}
	return n
}

// nodes parses the document once more, for the lines of its fields: only where somebody asks for them.
func (p part) nodes() *yaml.Node {
	root := yaml.Node{}
	if yaml.Unmarshal(p.text, &root) != nil || len(root.Content) == 0 {
		return nil // the other parser reads it, and lines are all that is lost
	}
	shift(&root, p.above)
	return root.Content[0]
}

// shift makes lines of a document lines of its file.
func shift(n *yaml.Node, by int) {
	n.Line += by
	for _, child := range n.Content {
		shift(child, by)
	}
}
