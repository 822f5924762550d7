package policy

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/operators"
)

// Bounds of what errors say.
const (
	maxIssues           = 3
	maxCompileErrorText = 512
	maxRuntimeErrorText = 256
)

// issue is what is wrong with an expression, and where.
type issue struct {
	line, column int
	message      string
}

// wholeError is about an expression as a whole.
func wholeError(message string) error { return compileError([]issue{{1, 1, message}}) }

// issuesOf are those that CEL found.
func issuesOf(found *cel.Issues) []issue {
	var issues []issue
	for _, e := range found.Errors() {
		if strings.HasPrefix(e.Message, "error recovery ") && len(found.Errors()) > 1 {
			continue // It only says that there may be more.
		}
		issues = append(issues, issue{max(1, e.Location.Line()), max(1, e.Location.Column()+1), plain(e.Message)})
	}
	return issues
}

// compileError says the first issues in one line.
func compileError(issues []issue) error {
	slices.SortFunc(issues, func(a, b issue) int {
		return cmp.Or(cmp.Compare(a.line, b.line), cmp.Compare(a.column, b.column), cmp.Compare(a.message, b.message))
	})
	issues = slices.Compact(issues)
	var texts []string
	for _, i := range issues[:min(len(issues), maxIssues)] {
		texts = append(texts, fmt.Sprintf("%d:%d: %s", i.line, i.column, i.message))
	}
	return errors.New(printable(strings.Join(texts, "; "), maxCompileErrorText))
}

var plainWords = strings.NewReplacer(
	"Syntax error: ", "", " (in container '')", "",
	"mismatched input '<EOF>'", "the expression ends too early", "extraneous input '<EOF>'", "the expression ends too early", "'<EOF>'", "the end",
	"google.protobuf.Timestamp", "timestamp", "google.protobuf.Duration", "duration",
	"'"+operators.Conditional+"'", "'?:'", "'"+operators.Index+"'", "'[]'", "'"+operators.OptIndex+"'", "'[?]'",
	"'"+operators.OptSelect+"'", "'.?'", "'"+operators.Negate+"'", "'-'", "'"+operators.LogicalNot+"'", "'!'",
)

// plain says a message of CEL in the words of who wrote the expression.
func plain(message string) string {
	if strings.Contains(message, "recursion") {
		return fmt.Sprintf("the expression is nested deeper than %d levels", maxNesting)
	}
	message, _, _ = strings.Cut(plainWords.Replace(message), " expecting ")
	if before, after, ok := strings.Cut(message, "no matching overload for '"); ok {
		symbol, rest, _ := strings.Cut(after, "'")
		if operator, ok := operators.FindReverseBinaryOperator(symbol); ok {
			message = before + "no matching overload for '" + operator + "'" + rest
		}
	}
	return message
}

// printable is text in one line without what cannot be printed, cut to the given number of bytes.
func printable(text string, limit int) string {
	text = text[:min(len(text), 4*limit)] // It may hold a value, which may be long.
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' || r == '\t' }), " ")
	text = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
	if len(text) <= limit {
		return text
	}
	const more = "..."
	cut := limit - len(more)
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + more
}
