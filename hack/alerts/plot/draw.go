package main

import (
	"bytes"
	"fmt"
	"html"
	"math"
	"regexp"
	"strings"
)

const (
	columns                = 3
	panelWidth, panelHigh  = 400, 230
	plotLeft, plotTop      = 62, 34
	plotWidth, plotHeight  = 322, 120
	legendTop, legendLines = 170, 5
)

var (
	colours  = []string{"#3274d9", "#e0752d", "#299c46", "#a352cc", "#d44a3a", "#2f9e9e", "#b58900", "#7f7f7f"}
	unfilled = regexp.MustCompile(`\{\{[^}]*\}\}`)
)

// draw lays the panels out, one after the other.
func draw(panels []panel) []byte {
	var out bytes.Buffer
	rows := (len(panels) + columns - 1) / columns
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11">`+"\n",
		columns*panelWidth, rows*panelHigh)
	fmt.Fprintf(&out, `<rect width="100%%" height="100%%" fill="#f4f5f5"/>`+"\n")
	for i, p := range panels {
		fmt.Fprintf(&out, `<g transform="translate(%d %d)">`+"\n", i%columns*panelWidth, i/columns*panelHigh)
		p.draw(&out)
		out.WriteString("</g>\n")
	}
	out.WriteString("</svg>\n")
	return out.Bytes()
}

func (p panel) draw(out *bytes.Buffer) {
	fmt.Fprintf(out, `<rect x="4" y="4" width="%d" height="%d" rx="3" fill="#fff" stroke="#dcdee0"/>`+"\n", panelWidth-8, panelHigh-8)
	fmt.Fprintf(out, `<text x="14" y="22" font-weight="bold">%s</text>`+"\n", html.EscapeString(p.title))
	top, first, last := 0.0, int64(math.MaxInt64), int64(0)
	for _, l := range p.lines {
		for _, point := range l.points {
			if !math.IsNaN(point.F) && !math.IsInf(point.F, 0) {
				top, first, last = max(top, point.F), min(first, point.T), max(last, point.T)
			}
		}
	}
	if last <= first {
		fmt.Fprintf(out, `<text x="%d" y="%d" fill="#7b8087">nothing to show</text>`+"\n", plotLeft+110, plotTop+plotHeight/2)
		return
	}
	top = ceiling(top)
	for _, share := range []float64{0, 0.5, 1} {
		y := plotTop + plotHeight*(1-share)
		fmt.Fprintf(out, `<path d="M%d %.1fh%d" stroke="#e7e8ea"/><text x="%d" y="%.1f" text-anchor="end" fill="#7b8087">%s</text>`+"\n",
			plotLeft, y, plotWidth, plotLeft-5, y+4, inUnit(top*share, p.unit))
	}
	for i, l := range p.lines {
		var path strings.Builder
		for _, point := range l.points {
			if math.IsNaN(point.F) || math.IsInf(point.F, 0) {
				continue
			}
			x := plotLeft + plotWidth*float64(point.T-first)/float64(last-first)
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
