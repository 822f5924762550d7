package feed

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestHeard(t *testing.T) {
	for name, test := range map[string]struct {
		method, path string
		status       int
		body         string
		kind         string // that is heard of
	}{
		"list or watch":        {"GET", "/apis/m2m-operator.io/v1alpha1/apiresources", 200, "{}", "ApiResource"},
		"in a namespace":       {"GET", "/api/v1/namespaces/m2m-system/secrets", 200, "{}", "Secret"},
		"namespaces":           {"GET", "/api/v1/namespaces", 200, "{}", "Namespace"},
		"no byte":              {"GET", "/api/v1/namespaces", 200, "", ""},
		"failure":              {"GET", "/api/v1/namespaces", 500, "{}", ""},
		"too old":              {"GET", "/api/v1/namespaces", 410, "{}", ""},
		"one object":           {"GET", "/api/v1/namespaces/secrets/configmaps/x", 200, "{}", ""},
		"a kind of no concern": {"GET", "/api/v1/pods", 200, "{}", ""},
		"a write":              {"POST", "/api/v1/namespaces", 200, "{}", ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHeard()
			transport := h.wrap(roundTripper(func(*http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: test.status, Body: io.NopCloser(strings.NewReader(test.body))}, nil
			}))
			request, err := http.NewRequest(test.method, "https://kubernetes"+test.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			response, err := transport.RoundTrip(request)
			if err != nil {
				t.Fatal(err)
			}
			for kind, at := range h.times() {
				if !at.IsZero() {
					t.Errorf("%s is heard of before anything was read", kind)
				}
			}
			before := time.Now()
			if body, err := io.ReadAll(response.Body); err != nil || string(body) != test.body {
				t.Errorf("read %q, %v", body, err)
			}
			for kind, at := range h.times() {
				if heard := !at.Before(before); heard != (kind == test.kind) {
					t.Errorf("%s is heard of: %t", kind, heard)
				}
			}
		})
	}
	failing := newHeard().wrap(roundTripper(func(*http.Request) (*http.Response, error) { return nil, errors.New("away") }))
	request, _ := http.NewRequest("GET", "https://kubernetes/api/v1/namespaces", nil)
	if _, err := failing.RoundTrip(request); err == nil {
		t.Error("an error is kept back")
	}
}
