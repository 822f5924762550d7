package graph

import (
	"fmt"
	"strings"
	"unicode"
)

// DOT is the model in the language of https://graphviz.org.
func DOT(m Model) string {
	d := newDrawing(m)
	var out strings.Builder
	out.WriteString("digraph access {\n" +
		"  graph [rankdir=LR, fontname=\"sans-serif\"];\n" +
		"  node [shape=box, fontname=\"sans-serif\"];\n" +
		"  edge [fontname=\"sans-serif\", fontsize=10];\n")
	for i, p := range d.places {
		indent := "  "
		if p.namespace != "" {
			fmt.Fprintf(&out, "  subgraph cluster_%d {\n    label=%s;\n", i, dotText(p.namespace))
			indent = "    "
		}
		for _, n := range p.nodes {
			fmt.Fprintf(&out, "%s%s [label=%s%s];\n", indent, n.id, dotText(n.lines...), dotLook(n))
		}
		if p.namespace != "" {
			out.WriteString("  }\n")
		}
	}
	for _, e := range d.edges {
		look := ""
		if e.limited {
			look = ", style=dashed"
		}
		fmt.Fprintf(&out, "  %s -> %s [label=%s%s];\n", e.from, e.to, dotText(e.lines...), look)
	}
	out.WriteString("}\n")
	return out.String()
}

func dotLook(n node) string {
	var styles []string
	look := ""
	switch n.kind {
	case apiNode:
		styles = append(styles, "bold")
	case anyNode:
		look = ", shape=hexagon"
	default:
		styles = append(styles, "rounded")
	}
	if n.idle {
		styles = append(styles, "dashed")
	}
	if len(styles) > 0 {
		look += fmt.Sprintf(", style=%q", strings.Join(styles, ","))
	}
	if n.flagged {
		look += ", color=\"#c62828\", penwidth=2"
	}
	return look
}

// dotText is a quoted label. Between quotes DOT knows escapes, which begin with a backslash, and HTML's entities.
func dotText(lines ...string) string {
	var out strings.Builder
	out.WriteByte('"')
	for i, line := range lines {
		if i > 0 {
			out.WriteString(`\n`)
		}
		for _, r := range line {
			switch {
			case r == '"' || r == '\\':
				out.WriteByte('\\')
				out.WriteRune(r)
			case r == '&':
				out.WriteString("&amp;")
			case unicode.IsPrint(r):
				out.WriteRune(r)
			default:
				out.WriteRune(unicode.ReplacementChar)
			}
		}
	}
	out.WriteByte('"')
	return out.String()
}
