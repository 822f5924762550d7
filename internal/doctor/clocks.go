package doctor

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"k8s.io/client-go/rest"

	"github.com/m2m-operator/m2m-operator/internal/keyring"
)

// resolution of the Date of an answer (RFC 9110 section 6.6.1).
const resolution = time.Second

// clock collects what clocks others show.
type clock struct{ seen []reading }

type reading struct {
	object string
	// ahead is by how much that clock is ahead of this machine's, at least; negative: behind.
	ahead time.Duration
}

// take notes the clock of whoever answered, between two instants of this machine's.
func (c *clock) take(object string, header http.Header, before, after time.Time) {
	date, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		return
	}
	r := reading{object: object}
	switch {
	case date.After(after):
		r.ahead = date.Sub(after)
	case date.Add(resolution).Before(before):
		r.ahead = date.Add(resolution).Sub(before)
	}
	c.seen = append(c.seen, r)
}

// clocks compares the clocks of all who answered with this machine's.
func (e *examination) clocks(ctx context.Context) error {
	if err := e.askTime(ctx); err != nil {
		return err
	}
	skewed := false
	for _, r := range e.pace.seen {
		if r.ahead.Abs() <= keyring.Skew/2 {
			continue
		}
		skewed = true
		level := Warning
		if r.ahead.Abs() > keyring.Skew {
			level = Problem
		}
		direction := "ahead of"
		if r.ahead < 0 {
			direction = "behind"
		}
		e.add(level, "clock", r.object, fmt.Sprintf("its clock is %s %s this machine's; issuers and verifiers allow for %s",
			r.ahead.Abs().Round(time.Second), direction, keyring.Skew), "synchronise clocks (NTP), of this machine too")
	}
	if !skewed {
		e.ok("clock", "", "the clocks of the %d who were asked and this machine's agree", len(e.pace.seen))
	}
	return nil
}

// askTime asks the API server for its version, which everybody may.
func (e *examination) askTime(ctx context.Context) error {
	c, err := rest.HTTPClientFor(e.Config)
	if err != nil {
		return err
	}
	base, _, err := rest.DefaultServerUrlFor(e.Config)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base.JoinPath("version").String(), nil)
	if err != nil {
		return err
	}
	before := e.Now()
	response, err := c.Do(request)
	if err != nil {
		return err
	}
	_ = response.Body.Close() // its header is what was asked for
	e.pace.take("the API server", response.Header, before, e.Now())
	return nil
}
