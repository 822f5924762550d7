package scenarios

import (
	"fmt"
	"sync"
	"testing"

	"k8s.io/utils/ptr"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

// fleet is how many sensors are added to those of the sample.
const fleet = 1000

// iotFleet: one ScopeGrant for a thousand sensors, by their label.
func iotFleet(t *testing.T) {
	const (
		sensors = "car-park-sensors"
		park    = "https://car-park.example.com/api"
	)
	first := get(t, &v1alpha1.M2MClient{}, sensors, "sensor-a1")
	newSensor := func(namespace, name string, labels map[string]string) *v1alpha1.M2MClient {
		sensor := newClient(namespace, name, labels)
		sensor.Spec.DefaultAudience = first.Spec.DefaultAudience
		return sensor
	}
	newNamespaces(t, "car-park-visitors")
	create(t, newSensor(sensors, "unlabelled", nil), newSensor("car-park-visitors", "stranger", first.Labels))
	createAll(t, func(i int) *v1alpha1.M2MClient { return newSensor(sensors, sensorName(i), first.Labels) })

	report := func(w workload) answer {
		return w.post("/oauth2/token", formType, "grant_type=client_credentials", w.basic)
	}
	wantNothing := func(w workload) {
		t.Helper()
		wantError(t, w.id, report(w), "invalid_target")
	}
	outsiders := []workload{mount(t, sensors, "unlabelled"), mount(t, "car-park-visitors", "stranger")}
	for _, w := range outsiders {
		w.awaitVerdict("invalid_target", park)
	}
	tokens := map[string]bool{}
	for i := range fleet {
		w := mount(t, sensors, sensorName(i))
		w.awaitVerdict("granted", park)
		got := report(w)
		wantToken(t, w.id, got, "occupancy:report", "")
		tokens[got.AccessToken] = true
	}
	if len(tokens) != fleet {
		t.Errorf("%d sensors got %d tokens", fleet, len(tokens))
	}

	last := mount(t, sensors, sensorName(fleet-1))
	got := last.ask(park, "occupancy:report occupancy:read")
	wantToken(t, "more than reporting", got, "occupancy:report", "occupancy:read")
	wantClaims(t, verify(t, "car-park", "occupancy-api", got.AccessToken), map[string]any{"sub": sensors + "." + sensorName(fleet-1), "aud": park})
	wantError(t, "what only others may", last.ask(park, "occupancy:read"), "invalid_scope")
	awaitMatched(t, "car-park", "sensors", fleet+2)

	unlabel := get(t, &v1alpha1.M2MClient{}, sensors, sensorName(fleet-1))
	unlabel.Labels = nil
	suite.Save(t, world.Admin, unlabel)
	last.awaitVerdict("invalid_target", park)
	wantNothing(last)
	awaitMatched(t, "car-park", "sensors", fleet+1)
	wantToken(t, "its neighbour", report(mount(t, sensors, sensorName(fleet-2))), "occupancy:report", "")
	for _, w := range outsiders {
		wantNothing(w)
	}
}

func sensorName(i int) string { return fmt.Sprintf("sensor-%04d", i) }

// createAll creates the fleet, some at a time.
func createAll(t *testing.T, sensor func(i int) *v1alpha1.M2MClient) {
	t.Helper()
	var group sync.WaitGroup
	const atATime = 4
	failures := make(chan error, fleet)
	for worker := range atATime {
		group.Go(func() {
			for i := worker; i < fleet; i += atATime {
				if err := world.Admin.Create(ctx, sensor(i)); err != nil {
					failures <- err
				}
			}
		})
	}
	group.Wait()
	close(failures)
	for err := range failures {
		t.Fatal(err)
	}
}

// awaitMatched waits until a grant's status counts so many clients.
func awaitMatched(t *testing.T, namespace, grant string, want int32) {
	t.Helper()
	suite.Eventually(t, func() string {
		if got := get(t, &v1alpha1.ScopeGrant{}, namespace, grant).Status.MatchedClients; got == nil || *got != want {
			return fmt.Sprintf("status.matchedClients is %v, want %d", ptr.Deref(got, -1), want)
		}
		return ""
	})
}
