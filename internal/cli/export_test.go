package cli

import (
	"github.com/m2m-operator/m2m-operator/internal/doctor"
	"github.com/m2m-operator/m2m-operator/internal/review"
)

// Answers are what the commands print with -o json and -o yaml.
var Answers = []struct {
	Command string
	Answer  any
}{
	{"explain", review.Explanation{}},
	{"who-can", review.Holders{}},
	{"requests", waiting{}},
	{"diff", review.Diff{}},
	{"lint", linted{}},
	{"token", verification{}},
	{"verify", verification{}},
	{"keys list", listedKeys{}},
	{"doctor", doctor.Report{}},
}
