package policy_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/m2m-operator/m2m-operator/internal/policy"
)

// aNight is the request of the examples: Friday, five past midnight in Berlin, and still Thursday in UTC.
func aNight() *policy.Input {
	return &policy.Input{
		Client: policy.Client{
			ID: "jobs.publisher", Namespace: "jobs", Name: "publisher",
			Labels:         map[string]string{"tier": "gold", "app.kubernetes.io/name": "publisher"},
			Authentication: "ClientSecret", ServiceAccount: "nightly",
		},
		Request: policy.Request{
			Scopes: []string{"courses:publish", "courses:write"},
			Time:   time.Date(2026, 1, 1, 23, 5, 7, 89_000_000, time.UTC),
			Source: "10.1.2.3",
		},
		Scopes: []string{"courses:publish"},
		API:    policy.API{Namespace: "courses", Name: "course-api", Identifier: "https://courses.example.com/api"},
	}
}

// theLargest input that the limits allow.
func theLargest() *policy.Input {
	in := aNight()
	in.Client.Labels = map[string]string{}
	for i := range 64 {
		in.Client.Labels[fmt.Sprintf("%0317d", i)] = strings.Repeat("v", 63)
	}
	in.Scopes = nil
	for i := range 512 {
		in.Scopes = append(in.Scopes, fmt.Sprintf("%0128d", i))
	}
	in.Request.Scopes = in.Scopes
	in.Client.ID, in.API.Identifier = strings.Repeat("i", 512), strings.Repeat("u", 512)
	return in
}
