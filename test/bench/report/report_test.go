package report

import (
	"bytes"
	"strings"
	"testing"
)

func TestRow(t *testing.T) {
	// The median of the ratios, not the ratio of the medians: a round in which the machine was slow is slow for both.
	r := NewRow("cost", "case", "µs", []float64{20, 300, 44}, "floor", []float64{10, 200, 20}, 2)
	if r.Ratio != 2 || r.Measured != 44 || r.LimitMeasured != 20 || r.Low != 1.75 || r.High != 2.1 || r.Rounds != 3 {
		t.Errorf("%+v", r)
	}
	var out bytes.Buffer
	r2 := r
	r2.Case, r2.Goal = "other", 1.9
	if err := Print(&out, []Row{r, r2}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"COST", "≤ 2.00 met", "≤ 1.90 MISSED"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, &out)
		}
	}
}

func TestQuantile(t *testing.T) {
	values := []float64{4, 1, 3, 2}
	for q, want := range map[float64]float64{0: 1, 0.5: 2.5, 0.25: 1.75, 1: 4} {
		if got := Quantile(values, q); got != want {
			t.Errorf("%v: %v, want %v", q, got, want)
		}
	}
}
