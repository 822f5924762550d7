package main

import (
	"slices"
	"testing"
)

func TestArguments(t *testing.T) {
	if got := arguments([]string{"/usr/bin/kubectl-m2m", "explain", "jobs.publisher"}); !slices.Equal(got, []string{"explain", "jobs.publisher"}) {
		t.Errorf("%q", got)
	}
	if got := arguments([]string{"/usr/bin/kubectl_complete-m2m", "explain", ""}); !slices.Equal(got, []string{"__complete", "explain", ""}) {
		t.Errorf("%q", got)
	}
}
