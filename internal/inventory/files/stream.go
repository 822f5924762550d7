package files

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	yamlv2 "go.yaml.in/yaml/v2"
	"go.yaml.in/yaml/v3"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	kjson "sigs.k8s.io/json"
	k8syaml "sigs.k8s.io/yaml"
)

// part is one document of a file, and the number of lines before it.
type part struct {
	text  []byte
	above int
	json  bool
}

// guessWithin is how far kubectl looks for the brace that JSON begins with.
const guessWithin = 4096

// split cuts a file where kubectl does: JSON values may follow one another, YAML documents have --- lines between them.
func split(file string, text []byte) ([]part, error) {
	if !bytes.HasPrefix(bytes.TrimLeftFunc(text[:min(len(text), guessWithin)], unicode.IsSpace), []byte("{")) {
		return splitYAML(file, text, 0)
	}
	values, end, err := splitJSON(text)
	switch {
	case err == nil:
		return values, nil
	case len(values) > 1: // kubectl gives up here: it can only be JSON
		return values, &Error{file, 1 + bytes.Count(text[:end], newline), "after this line is neither JSON nor the end: " + err.Error()}
	}
	rest := bytes.TrimLeftFunc(text[end:], func(r rune) bool { return unicode.IsSpace(r) && r != '\n' })
	rest = bytes.TrimPrefix(rest, newline)
	documents, err := splitYAML(file, rest, bytes.Count(text[:len(text)-len(rest)], newline))
	return append(values, documents...), err
}

var newline = []byte("\n")

// splitJSON finds the values that the text begins with, and where the last of them ends.
func splitJSON(text []byte) (values []part, end int, err error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	lines := 0
	for {
		var value json.RawMessage
		if err := decoder.Decode(&value); errors.Is(err, io.EOF) {
			return values, end, nil
		} else if err != nil {
			return values, end, err
		}
		next := int(decoder.InputOffset())
		lines += bytes.Count(text[end:next], newline)
		values = append(values, part{text: value, above: lines - bytes.Count(value, newline), json: true})
		end = next
	}
}

// splitYAML cuts at lines that begin with ---, which kubectl takes for separators wherever they are.
func splitYAML(file string, text []byte, above int) ([]part, error) {
	var out []part
	var mistakes []error
	begin, at, n := 0, 0, above
	for line := range bytes.Lines(text) {
		n++
		at += len(line)
		after, separates := bytes.CutPrefix(line, []byte("---"))
		if !separates {
			continue
		}
		if after = bytes.TrimSpace(after); len(after) > 0 && after[0] != '#' {
			mistakes = append(mistakes, &Error{file, n, "a line that begins with --- separates documents: only a comment may follow in it"})
		}
		out = append(out, part{text: text[begin : at-len(line)], above: above})
		begin, above = at, n
	}
	last := text[begin:]
	if len(last) > 0 && !bytes.HasSuffix(last, newline) {
		last = append(bytes.Clone(last), '\n') // as kubectl has it, which counts at the end of a literal
	}
	return append(out, part{text: last, above: above}), errors.Join(mistakes...)
}

// yamlPreface is what parsers say before they come to the point.
var yamlPreface = regexp.MustCompile(`^(error converting YAML to JSON: )?(yaml: )?(unmarshal errors:\n +)?`)

var yamlLine = regexp.MustCompile(`line (\d+): `)

var badKey = regexp.MustCompile(`^(invalid|unsupported) map key`)

// mistake places a parser's error in the file.
func (p part) mistake(file string, err error) *Error {
	out := &Error{File: file, Line: p.above + 1, Message: yamlPreface.ReplaceAllString(err.Error(), "")}
	if match := yamlLine.FindStringSubmatch(out.Message); match != nil {
		line, _ := strconv.Atoi(match[1]) // it is digits
		out.Line += line - 1
		out.Message = strings.Replace(out.Message, match[0], "", 1)
	}
	if badKey.MatchString(out.Message) { // what it says besides is the value, which may be a secret
		out.Message = "a key must be a text, and not a mapping, a list or null"
	}
	if bytes.Contains(p.text, []byte("{{")) {
		out.Message += "; if this is a Helm template, render it first, as in: helm template ... | kubectl m2m lint -f -"
	}
	return out
}

// parse reads a document as kubectl does; nil if there is none. What kubectl would silently leave out of it is a mistake.
func (p part) parse(file string) (map[string]any, error) {
	converted := p.text
	if !p.json {
		var err error
		converted, err = k8syaml.YAMLToJSONStrict(p.text)
		if err != nil && p.overrides() {
			converted, err = k8syaml.YAMLToJSON(p.text)
		}
		if err != nil {
			return nil, p.mistake(file, err)
		}
		if !p.whole() {
			return nil, &Error{file, p.secondLine(), "here begins another document, which kubectl does not see: it wants a line --- between them, and lines that end in LF"}
		}
	}
	if bytes.Equal(bytes.TrimSpace(converted), []byte("null")) {
		return nil, nil
	}
	object, err := p.object(converted)
	if err != nil {
		return nil, &Error{File: file, Line: p.begin(), Message: err.Error()}
	}
	return object, nil
}

func (p part) object(text []byte) (map[string]any, error) {
	var object map[string]any
	if utiljson.Unmarshal(text, &object) != nil {
		return nil, errors.New("a manifest must be an object, with apiVersion and kind")
	}
	if p.json { // YAML has been looked at already
		var again map[string]any
		if strict, err := kjson.UnmarshalStrict(text, &again); err == nil && len(strict) > 0 {
			return nil, fmt.Errorf("%w", strict[0])
		}
	}
	return object, nil
}

// overrides reports whether keys are twice in mappings only since one of them is merged in, by <<: that is no mistake.
func (p part) overrides() bool {
	root := yaml.Node{}
	return bytes.Contains(p.text, []byte("<<")) && yaml.Unmarshal(p.text, &root) == nil && !keyTwice(&root)
}

func keyTwice(n *yaml.Node) bool {
	keys := map[string]bool{}
	for i, child := range n.Content {
		if keyTwice(child) {
			return true
		}
		if n.Kind != yaml.MappingNode || i%2 == 1 {
			continue
		}
		for child.Kind == yaml.AliasNode {
			child = child.Alias
		}
		if keys[child.Value] {
			return true
		}
		keys[child.Value] = true
	}
	return false
}

// nothing takes in whatever is written.
type nothing struct{}

// UnmarshalYAML is of yaml.Unmarshaler.
func (nothing) UnmarshalYAML(func(any) error) error { return nil }

// whole reports whether a parser that stops after one document has seen all of the text.
func (p part) whole() bool {
	decoder := yamlv2.NewDecoder(bytes.NewReader(p.text))
	err := decoder.Decode(&nothing{})
	if err == nil {
		err = decoder.Decode(&nothing{})
	}
	return errors.Is(err, io.EOF)
}

// secondLine is where what a parser does not see begins, or where the document does if that cannot be told.
func (p part) secondLine() int {
	decoder, node := yaml.NewDecoder(bytes.NewReader(p.text)), yaml.Node{}
	_ = decoder.Decode(&node) // it has been parsed before
	err := decoder.Decode(&node)
	if err == nil {
		return p.above + node.Line
	}
	if match := yamlLine.FindStringSubmatch(err.Error()); match != nil {
		line, _ := strconv.Atoi(match[1]) // it is digits; this one mistake is told by the line before
		return p.above + line + 1
	}
	return p.begin()
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
