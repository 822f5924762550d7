// Package report puts measurements side by side with the limits that this machine has.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
)

// Row is one figure: something measured, beside what limits it on this machine in the same run.
type Row struct {
	// Section and Case say what was measured.
	Section string `json:"section"`
	Case    string `json:"case"`
	// Unit of Measured and LimitMeasured.
	Unit string `json:"unit"`
	// Measured is the median of what was measured, and LimitMeasured that of the limit, which Limit names.
	Measured      float64 `json:"measured"`
	Limit         string  `json:"limit"`
	LimitMeasured float64 `json:"limitMeasured"`
	// Ratio is the median over the rounds of measured to limit, each of the same round. Low and High are the quartiles.
	Ratio float64 `json:"ratio"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
	// Goal is what the ratio should be at most, zero if there is none.
	Goal float64 `json:"goal,omitempty"`
	// Rounds that the figures are of.
	Rounds int `json:"rounds"`
}

// NewRow compares what was measured with its limit, round by round.
func NewRow(section, name, unit string, measured []float64, limit string, limits []float64, goal float64) Row {
	ratios := make([]float64, len(measured))
	for i := range measured {
		ratios[i] = measured[i] / limits[i]
	}
	return Row{
		Section: section, Case: name, Unit: unit, Measured: Quantile(measured, 0.5), Limit: limit, LimitMeasured: Quantile(limits, 0.5),
		Ratio: Quantile(ratios, 0.5), Low: Quantile(ratios, 0.25), High: Quantile(ratios, 0.75), Goal: goal, Rounds: len(measured),
	}
}

// Quantile of values in any order, by linear interpolation.
func Quantile(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	at := q * float64(len(sorted)-1)
	below := int(at)
	if below+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[below] + (at-float64(below))*(sorted[below+1]-sorted[below])
}

// verdict on the goal, if there is one.
func (r Row) verdict() string {
	switch {
	case r.Goal == 0:
		return ""
	case r.Ratio <= r.Goal:
		return fmt.Sprintf("≤ %.2f met", r.Goal)
	}
	return fmt.Sprintf("≤ %.2f MISSED", r.Goal)
}

// Print writes the table, section by section.
func Print(w io.Writer, rows []Row) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	var sections []string
	for _, r := range rows {
		if !slices.Contains(sections, r.Section) {
			sections = append(sections, r.Section)
		}
	}
	for _, section := range sections {
		_, _ = fmt.Fprintf(table, "%s\tmeasured\t\tlimit\t\tratio\tquartiles\tgoal\n", strings.ToUpper(section))
		for _, r := range rows {
			if r.Section != section {
				continue
			}
			_, _ = fmt.Fprintf(table, "  %s\t%s\t%s\t%s\t%s\t%.2f\t%.2f-%.2f\t%s\n",
				r.Case, number(r.Measured), r.Unit, number(r.LimitMeasured), r.Limit, r.Ratio, r.Low, r.High, r.verdict())
		}
	}
	return table.Flush()
}

// number with as many digits as are of interest.
func number(v float64) string {
	if v >= 100 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.1f", v)
}

// Save writes the rows as JSON.
func Save(path string, rows []Row) error {
	text, err := json.MarshalIndent(rows, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o600)
}
