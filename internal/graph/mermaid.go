package graph

import (
	"fmt"
	"strings"
	"unicode"
)

// Mermaid is the model as a flowchart of https://mermaid.js.org.
func Mermaid(m Model) string {
	d := newDrawing(m)
	var out strings.Builder
	out.WriteString("flowchart LR\n")
	for i, p := range d.places {
		indent := "  "
		if p.namespace != "" {
			fmt.Fprintf(&out, "  subgraph n%d[%s]\n", i, mermaidText(p.namespace))
			indent = "    "
		}
		for _, n := range p.nodes {
			fmt.Fprintf(&out, "%s%s%s%s\n", indent, n.id, mermaidShape(n), mermaidClass(n))
		}
		if p.namespace != "" {
			out.WriteString("  end\n")
		}
	}
	for _, e := range d.edges {
		arrow := "-->"
		if e.limited {
			arrow = "-.->"
		}
		fmt.Fprintf(&out, "  %s %s|%s| %s\n", e.from, arrow, mermaidText(e.lines...), e.to)
	}
	out.WriteString("  classDef api stroke-width:2px\n" +
		"  classDef idle stroke-dasharray:4 3\n" +
		"  classDef problem stroke:#c62828,stroke-width:3px\n")
	return out.String()
}

func mermaidShape(n node) string {
	switch text := mermaidText(n.lines...); n.kind {
	case apiNode:
		return "[" + text + "]"
	case anyNode:
		return "{{" + text + "}}"
	default:
		return "([" + text + "])"
	}
}

func mermaidClass(n node) string {
	switch {
	case n.flagged:
		return ":::problem"
	case n.idle:
		return ":::idle"
	case n.kind == apiNode:
		return ":::api"
	}
	return ""
}

// mermaidText is a quoted label. Everything but letters, digits and what is harmless between quotes is an entity code,
// which Mermaid turns back when it draws, and no sooner.
func mermaidText(lines ...string) string {
	var out strings.Builder
	out.WriteByte('"')
	for i, line := range lines {
		if i > 0 {
			out.WriteString("<br/>")
		}
		for _, r := range line {
			switch {
			case unicode.IsLetter(r), unicode.IsDigit(r), strings.ContainsRune(" ,.:/-_", r):
				out.WriteRune(r)
			case unicode.IsPrint(r):
				fmt.Fprintf(&out, "#%d;", r)
			default:
				out.WriteRune(unicode.ReplacementChar)
			}
		}
	}
	out.WriteByte('"')
	return out.String()
}
