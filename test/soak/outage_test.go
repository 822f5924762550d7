//go:build soak

package soak

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/snapshot"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

// outage is how long the API server and etcd are away.
const outage = 3 * time.Minute

// testAPIServerAway kills the API server and etcd under load, and after a while one of the two issuers.
func testAPIServerAway(t *testing.T, w *world) {
	steady, suspended := w.newClient(t, "steady"), w.newClient(t, "suspended")
	var later []*mounted
	for n := range 5 {
		later = append(later, w.newClient(t, fmt.Sprint("later-", n)))
	}
	for _, i := range w.issuers {
		for _, m := range append(later, steady, suspended) {
			i.comesTo(t, true, m)
		}
	}
	w.change(t, "suspended", func(spec *v1alpha1.M2MClientSpec) { spec.Suspend = true })
	survivor, killed := w.issuers[0], w.issuers[1]
	for _, i := range w.issuers {
		i.comesTo(t, false, suspended)
	}
	killed.awaitSaved(t)
	w.killManagers() // they would end when they cannot renew the lease, and are not what this is about
	keys := survivor.keys(t, steady)
	l := w.startLoad(t, steady)
	l.goOn(t)

	if err := w.Plane.Kill(); err != nil {
		t.Fatal(err)
	}
	away := time.Now()
	until(away.Add(outage / 6))
	w.service.dying.Store(killed.address)
	begin := time.Now()
	killed.end(syscall.SIGKILL)
	w.start(t, killed)
	measured("API server away: the issuer that was killed is ready %.1f s later, from its snapshot", time.Since(begin).Seconds())
	suite.Eventually(t, func() string {
		if !w.service.ready[1].Load() {
			return "the Service has not noticed"
		}
		return ""
	})
	w.service.dying.Store("")
	if killed.metrics()["m2m_issuer_serving_from_snapshot"] != 1 {
		t.Error("it does not say that it serves from a snapshot")
	}
	for _, i := range w.issuers {
		i.wants(t, false, suspended)
		i.wants(t, true, steady)
		if !bytes.Equal(i.keys(t, steady), keys) {
			t.Error("the keys are others than before")
		}
	}
	until(away.Add(outage))
	l.goOn(t)
	killed.wants(t, false, suspended)
	revived := time.Now()
	if err := w.Plane.Revive(); err != nil {
		t.Fatal(err)
	}
	measured("API server away: for %.0f s", time.Since(away).Seconds())
	w.arrivals(t, later, revived)
	for _, i := range w.issuers {
		i.wants(t, false, suspended)
		i.wants(t, true, steady)
	}
	l.goOn(t)
	l.judge(t, "API server away")
}

// arrivals measures how soon issuers know what is changed after the API server's return: one change at once, for which
// they have to connect again, and others that they have their watches for.
func (w *world) arrivals(t *testing.T, clients []*mounted, revived time.Time) {
	w.suspend(t, clients[0].name)
	changed := time.Now()
	var waiting sync.WaitGroup
	for n, i := range w.issuers {
		waiting.Go(func() {
			var connected, arrived time.Time
			for arrived.IsZero() && time.Since(changed) < time.Minute {
				if heard := i.metrics()[`m2m_issuer_watch_heard_timestamp_seconds{kind="M2MClient"}`]; connected.IsZero() && heard > float64(revived.UnixMilli())/1000 {
					connected = time.Now()
				}
				if granted, err := i.grants(clients[0]); err == nil && !granted {
					arrived = time.Now()
				}
			}
			if arrived.IsZero() {
				t.Errorf("issuer %d has not heard of a change after a minute", n)
				return
			}
			if connected.IsZero() {
				connected = arrived
			}
			if connected.Before(changed) {
				connected = changed
			}
			measured("API server back: issuer %d knew of a change %.2f s after both the change and its connection, %.2f s after the change",
				n, arrived.Sub(connected).Seconds(), arrived.Sub(changed).Seconds())
			if arrived.Sub(connected) > time.Second {
				t.Errorf("issuer %d knew of a change %s after it was connected", n, arrived.Sub(connected))
			}
		})
	}
	waiting.Wait()
	var took []time.Duration
	for _, m := range clients[1:] {
		w.suspend(t, m.name)
		changed := time.Now()
		for _, i := range w.issuers {
			i.comesTo(t, false, m)
		}
		took = append(took, time.Since(changed))
	}
	slices.Sort(took)
	measured("API server back: with watches changes were known to both issuers after %s", took)
	if took[len(took)/2] > time.Second {
		t.Errorf("changes were known after %s", took)
	}
}

func (w *world) suspend(t testing.TB, name string) {
	t.Helper()
	w.change(t, name, func(spec *v1alpha1.M2MClientSpec) { spec.Suspend = true })
}

// awaitSaved waits until the snapshot has everything that is listed, and the suspension.
func (i *issuer) awaitSaved(t testing.TB) {
	t.Helper()
	type entry struct{ kind, key, want string }
	wanted := []entry{{"M2MClient", "jobs/suspended", `"suspend":true`}, {"cluster", "", "keys"}}
	for _, kind := range []string{"Namespace", "Secret", "ConfigMap", "TokenIssuer", "ApiResource", "M2MClient", "ScopeGrant"} {
		wanted = append(wanted, entry{"listed", kind, "resourceVersion"})
	}
	suite.Eventually(t, func() string {
		key, err := i.snapshot.ReadKey()
		if err != nil {
			return err.Error()
		}
		saved, err := snapshot.Open(i.snapshot.Path(), key)
		if err != nil {
			return err.Error()
		}
		defer saved.Close()
		for _, e := range wanted {
			if value, err := saved.Get(e.kind, e.key); err != nil || !bytes.Contains(value, []byte(e.want)) {
				return fmt.Sprintf("%s %s is not in the snapshot: %v", e.kind, e.key, err)
			}
		}
		return ""
	})
}

// grants asks one issuer, over a new connection, whether a client gets a token.
func (i *issuer) grants(m *mounted) (bool, error) {
	request, err := m.tokenRequest(ctx, i.address)
	if err != nil {
		return false, err
	}
	status, body, err := i.send(m, request)
	if err == nil && status != http.StatusOK && !bytes.Contains(body, []byte("invalid_client")) {
		err = fmt.Errorf("%d %s", status, body)
	}
	return status == http.StatusOK, err
}

func (i *issuer) send(m *mounted, request *http.Request) (int, []byte, error) {
	asking := http.Client{Timeout: requestTimeout, Transport: m.transport(dialer(i.address), false, "http/1.1")}
	response, err := asking.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, body, err
}

func (i *issuer) wants(t testing.TB, granted bool, m *mounted) {
	t.Helper()
	if got, err := i.grants(m); err != nil || got != granted {
		t.Errorf("%s is granted a token: %t, %v; want %t", m.name, got, err, granted)
	}
}

func (i *issuer) comesTo(t testing.TB, granted bool, m *mounted) {
	t.Helper()
	suite.Eventually(t, func() string {
		if got, err := i.grants(m); err != nil || got != granted {
			return fmt.Sprintf("%s is granted a token: %t, %v; want %t", m.name, got, err, granted)
		}
		return ""
	})
}

// keys are the JWKS.
func (i *issuer) keys(t testing.TB, m *mounted) []byte {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+i.address+"/machines/oauth2/jwks", nil)
	if err != nil {
		t.Fatal(err)
	}
	status, body, err := i.send(m, request)
	if err != nil || status != http.StatusOK {
		t.Fatalf("%d %s %v", status, body, err)
	}
	return body
}
