// Package doctor looks at an installation and says what is wrong with it, and what to do about it. It changes nothing,
// and says what it could not look at.
package doctor

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/review"
)

// Level of a finding.
type Level string

// The levels.
const (
	OK      Level = "ok"
	Problem Level = "problem"
	Warning Level = "warning"
	// Unknown: it could not be looked at.
	Unknown Level = "unknown"
)

// Finding is the result of one check.
type Finding struct {
	// Level is problem, warning, unknown (it could not be looked at) or ok.
	Level Level `json:"level"`
	// Check is what was looked at: install, versions, rbac, clock, issuer, tls, jwks, watches, rotation, conflicts, access.
	Check   string `json:"check"`
	Object  string `json:"object,omitempty"`
	Message string `json:"message"`
	// Do is what to do about it; "" if it is ok.
	Do string `json:"do,omitempty"`
}

// Report is everything that was found, and how many of each level.
type Report struct {
	Findings []Finding `json:"findings"`
	Problems int       `json:"problems"`
	Warnings int       `json:"warnings"`
	Unknown  int       `json:"unknown"`
}

// Patient is an installation, seen with the rights of whoever asks.
type Patient struct {
	Client client.Client
	// Config of Client, for the API server's proxy to pods.
	Config *rest.Config
	// World of the four kinds.
	World review.World
	// InstallNamespace of the operator.
	InstallNamespace string
	// Version of this build.
	Version string
	// Keys asks an issuer at its URL for its keys, and returns their kids and the answer's header.
	Keys func(ctx context.Context, issuer *v1alpha1.TokenIssuer) (kids []string, header http.Header, err error)
	// Now is the clock of this machine.
	Now func() time.Time
}

// Unanswered is why an issuer at its URL gave no keys: a finding about it.
type Unanswered struct {
	Level              Level
	Check, Message, Do string
}

func (u *Unanswered) Error() string { return u.Message + "; " + u.Do }

type examination struct {
	Patient
	report Report
	pace   clock
}

// Examine looks at everything. The error says that the API server cannot be asked at all.
func Examine(ctx context.Context, p Patient) (Report, error) {
	e := &examination{Patient: p, report: Report{Findings: []Finding{}}}
	for _, look := range []func(context.Context) error{e.install, e.versions, e.rights, e.issuers, e.clocks, e.objects} {
		if err := look(ctx); err != nil {
			return e.report, err
		}
	}
	for _, unseen := range e.World.Unseen() {
		e.add(Unknown, "access", "", unseen, askAdministrator)
	}
	return e.report, nil
}

func (e *examination) add(level Level, check, object, message, do string) {
	e.report.Findings = append(e.report.Findings, Finding{level, check, object, message, do})
	switch level {
	case Problem:
		e.report.Problems++
	case Warning:
		e.report.Warnings++
	case Unknown:
		e.report.Unknown++
	}
}

// askAdministrator is what to do about what may not be looked at.
const askAdministrator = "run it with the rights of a cluster administrator"

// notLooked adds what could not be looked at because of an error, and what to do about that.
func (e *examination) notLooked(check, object string, err error, do string) {
	e.add(Unknown, check, object, fmt.Sprintf("not looked at: %v", err), do)
}

func (e *examination) ok(check, object, format string, args ...any) {
	e.add(OK, check, object, fmt.Sprintf(format, args...), "")
}
