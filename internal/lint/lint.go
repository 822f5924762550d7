package lint

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/m2m-operator/m2m-operator/internal/access"
	"github.com/m2m-operator/m2m-operator/internal/inventory"
	"github.com/m2m-operator/m2m-operator/internal/inventory/files"
)

// Severity of a finding.
type Severity string

// The severities.
const (
	// Error: the API server refuses it, or it does not do what it says, whatever else is in the cluster.
	Error Severity = "error"
	// Warning: it works, and may not be what was meant; or it does not, unless what the manifests lack is in the cluster.
	Warning Severity = "warning"
)

// Rules that findings are made by, besides the reasons of conditions.
const (
	RuleSyntax          = "Syntax"
	RuleInvalid         = "Invalid"
	RuleUnknownField    = "UnknownField"
	RuleWrongNamespace  = "WrongNamespace"
	RuleNoClient        = "NoClient"
	RuleNoGrant         = "NoGrant"
	RuleWildcard        = "Wildcard"
	RuleUnknownAudience = "UnknownAudience"
)

// Finding is one mistake.
type Finding struct {
	File     string   `json:"file"`
	Line     int      `json:"line"`
	Severity Severity `json:"severity"`
	// Rule is a condition's reason, or one of this package's rules.
	Rule string `json:"rule"`
	// Object is "ScopeGrant courses/nightly-publisher", and Field the path of the field.
	Object  string `json:"object,omitempty"`
	Field   string `json:"field,omitempty"`
	Message string `json:"message"`
}

// Manifests are documents, and the mistakes that were made already in writing them down.
type Manifests struct {
	Documents []*files.Document
	Unread    error
}

// Check finds what is wrong with the manifests, in the order of the files.
func Check(m Manifests, s *Schema, installNamespace string, now time.Time) []Finding {
	c := &checker{
		written: map[access.Ref]*files.Document{}, objects: inventory.New(), assumed: map[string]bool{}, now: now,
	}
	c.unread(m.Unread)
	for _, d := range m.Documents {
		if !c.schema(d, s) {
			continue
		}
		object, err := d.Decode()
		if err != nil { // the definition has let through what the type does not read
			message := err.Error()
			if mistake := (*files.Error)(nil); errors.As(err, &mistake) {
				message = mistake.Message
			}
			c.add(d, finding{Error, RuleInvalid, "", message})
			continue
		}
		c.written[d.Ref()] = d
		c.objects.Add(object)
	}
	c.objects = c.objects.AppliedTo(inventory.New())
	c.objects.AssumeIssuers()
	for _, name := range c.objects.Assumed {
		c.assumed[name] = true
	}
	c.index = c.objects.Index(installNamespace)
	c.apis()
	c.secrets()
	c.clients()
	c.grants()
	slices.SortStableFunc(c.findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Message, b.Message))
	})
	return slices.Compact(c.findings)
}

type checker struct {
	written  map[access.Ref]*files.Document
	objects  *inventory.Inventory
	assumed  map[string]bool // TokenIssuers that are not among the manifests
	index    *access.Index
	now      time.Time
	findings []Finding
}

// finding is a Finding before its place is looked up.
type finding struct {
	severity             Severity
	rule, field, message string
}

func (c *checker) add(d *files.Document, f finding) {
	object := string(d.Kind)
	if d.Metadata("name") != "" {
		object = d.Ref().String()
	}
	c.findings = append(c.findings, Finding{
		File: d.File, Line: d.LineOf(f.field), Severity: f.severity, Rule: f.rule, Object: object, Field: f.field, Message: f.message,
	})
}

// about adds a finding about an object that was read.
func (c *checker) about(ref access.Ref, severity Severity, rule, field, message string) {
	if d := c.written[ref]; d != nil { // assumed ones were not
		c.add(d, finding{severity, rule, field, message})
	}
}

// unread adds what could not be read.
func (c *checker) unread(err error) {
	var joined interface{ Unwrap() []error }
	var mistake *files.Error
	switch {
	case err == nil:
	case errors.As(err, &joined):
		for _, one := range joined.Unwrap() {
			c.unread(one)
		}
	case errors.As(err, &mistake):
		c.findings = append(c.findings, Finding{File: mistake.File, Line: mistake.Line, Severity: Error, Rule: RuleSyntax, Message: mistake.Message})
	default:
		c.findings = append(c.findings, Finding{Severity: Error, Rule: RuleSyntax, Message: err.Error()})
	}
}

// schema adds what the API server would refuse, and reports whether that is nothing.
func (c *checker) schema(d *files.Document, s *Schema) bool {
	errs := s.Validate(d.Kind, d.Object)
	for _, err := range errs {
		rule, message := RuleInvalid, err.ErrorBody()
		if err.Detail == noSuchField {
			rule, message = RuleUnknownField, noSuchField
		}
		c.add(d, finding{Error, rule, strings.TrimPrefix(err.Field, "<nil>"), message})
	}
	return len(errs) == 0
}
