package main

import (
	"bytes"
	"fmt"
	"html"
	"math"
	"regexp"
	"strings"
)

// A unit of the dashboard's grid, of which there are 24 side by side, and where in a panel things are.
const (
	columns, unitWidth, unitHeight = 24, 50, 28
	plotLeft, plotTop, plotHeight  = 62, 34, 118
	legendTop, legendLines         = 168, 5
)

var (
	colours = []string{
		"#3274d9", "#e0752d", "#299c46", "#a352cc", "#d44a3a", "#2f9e9e", "#b58900", "#7f7f7f", "#e377c2", "#8c564b", "#17375e", "#9acd32",
	}
	unfilled = regexp.MustCompile(`\{\{[^}]*\}\}`)
)

// draw lays the panels out as Grafana does.
func draw(panels []panel) []byte {
	var out bytes.Buffer
	height := 0
	for _, p := range panels {
		height = max(height, (p.y+p.h)*unitHeight)
	}
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11">`+"\n",
		columns*unitWidth, height)
	fmt.Fprintf(&out, `<rect width="100%%" height="100%%" fill="#f4f5f5"/>`+"\n")
	for _, p := range panels {
		fmt.Fprintf(&out, `<g transform="translate(%d %d)">`+"\n", p.x*unitWidth, p.y*unitHeight)
		p.draw(&out)
		out.WriteString("</g>\n")
	}
	out.WriteString("</svg>\n")
	return out.Bytes()
}

func (p panel) width() int { return p.w * unitWidth }

func (p panel) draw(out *bytes.Buffer) {
	title := html.EscapeString(p.title)
	if p.kind == "row" {
		fmt.Fprintf(out, `<text x="8" y="20" font-size="14" font-weight="bold">%s</text>`+"\n", title)
		return
	}
	fmt.Fprintf(out, `<rect x="4" y="4" width="%d" height="%d" rx="3" fill="#fff" stroke="#dcdee0"/>`+"\n", p.width()-8, p.h*unitHeight-8)
	fmt.Fprintf(out, `<text x="14" y="22" font-weight="bold">%s</text>`+"\n", title)
	top, first, last := p.extent()
	switch {
	case last <= first:
		fmt.Fprintf(out, `<text x="%d" y="%d" text-anchor="middle" fill="#7b8087">nothing to show</text>`+"\n", p.width()/2, plotTop+plotHeight/2)
	case p.kind == "stat":
		p.drawNumbers(out)
	default:
		p.drawLines(out, ceiling(top), first, last)
	}
}

// extent is the highest value, and the first and the last time that there is one of.
func (p panel) extent() (top float64, first, last int64) {
	first = math.MaxInt64
	for _, l := range p.lines {
		for _, point := range l.points {
			if finite(point.F) {
				top, first, last = max(top, point.F), min(first, point.T), max(last, point.T)
			}
		}
	}
	return top, first, last
}

func finite(value float64) bool { return !math.IsNaN(value) && !math.IsInf(value, 0) }

// drawNumbers shows what each line came to.
func (p panel) drawNumbers(out *bytes.Buffer) {
	step := p.h * unitHeight / (len(p.lines) + 1)
	for i, l := range p.lines {
		now := math.NaN()
		for _, point := range l.points {
			if finite(point.F) {
				now = point.F
			}
		}
		fmt.Fprintf(out, `<text x="%d" y="%d" text-anchor="middle" font-size="34" fill="%s">%s</text>`+"\n",
			p.width()/2, (i+1)*step+8, colours[i%len(colours)], inUnit(now, p.unit))
		fmt.Fprintf(out, `<text x="%d" y="%d" text-anchor="middle" fill="#7b8087">%s</text>`+"\n",
			p.width()/2, (i+1)*step+26, html.EscapeString(unfilled.ReplaceAllString(l.name, "")))
	}
}

func (p panel) drawLines(out *bytes.Buffer, top float64, first, last int64) {
	wide := float64(p.width() - plotLeft - 16)
	for _, share := range []float64{0, 0.5, 1} {
		y := plotTop + plotHeight*(1-share)
		fmt.Fprintf(out, `<path d="M%d %.1fh%.0f" stroke="#e7e8ea"/><text x="%d" y="%.1f" text-anchor="end" fill="#7b8087">%s</text>`+"\n",
			plotLeft, y, wide, plotLeft-5, y+4, inUnit(top*share, p.unit))
	}
	for i, l := range p.lines {
		var path strings.Builder
		for _, point := range l.points {
			if !finite(point.F) {
				continue
			}
			x := plotLeft + wide*float64(point.T-first)/float64(last-first)
			y := plotTop + plotHeight*(1-point.F/top)
			fmt.Fprintf(&path, "%c%.1f %.1f", "ML"[min(path.Len(), 1)], x, y)
		}
		colour := colours[i%len(colours)]
		fmt.Fprintf(out, `<path d="%s" fill="none" stroke="%s" stroke-width="1.4"/>`+"\n", path.String(), colour)
		if i < 2*legendLines {
			x, y := 14+i/legendLines*190, legendTop+i%legendLines*12
			fmt.Fprintf(out, `<path d="M%d %dh10" stroke="%s" stroke-width="3"/><text x="%d" y="%d">%s</text>`+"\n",
				x, y-4, colour, x+15, y, html.EscapeString(unfilled.ReplaceAllString(l.name, "")))
		}
	}
}

// ceiling is a round number that is not below.
func ceiling(value float64) float64 {
	if value <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(value)))
	for _, factor := range []float64{1, 2, 5} {
		if value <= factor*power {
			return factor * power
		}
	}
	return 10 * power
}

// inUnit writes a value as Grafana does in one of the dashboard's units.
func inUnit(value float64, unit string) string {
	switch {
	case unit == "s" && value >= 2*86400:
		return fmt.Sprintf("%.3gd", value/86400)
	case unit == "s" && value > 0 && value < 1:
		return fmt.Sprintf("%.3gms", value*1000)
	case unit == "s":
		return fmt.Sprintf("%.3gs", value)
	case unit == "percentunit":
		return fmt.Sprintf("%.3g%%", value*100)
	case unit == "bytes" && value >= 1<<20:
		return fmt.Sprintf("%.3gMiB", value/(1<<20))
	case unit == "bytes":
		return fmt.Sprintf("%.3gB", value)
	case unit == "reqps":
		return fmt.Sprintf("%.3g/s", value)
	}
	return fmt.Sprintf("%.3g", value)
}
