package outages

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

func suspend(t testing.TB, name string) {
	t.Helper()
	c := &v1alpha1.M2MClient{}
	if err := world.Admin.Get(ctx, client.ObjectKey{Namespace: "jobs", Name: name}, c); err != nil {
		t.Fatal(err)
	}
	c.Spec.Suspend = true
	suite.Save(t, world.Admin, c)
}

func revive(t testing.TB) {
	t.Helper()
	if err := world.Plane.Revive(); err != nil {
		t.Fatal(err)
	}
}

func kill(t testing.TB) {
	t.Helper()
	if err := world.Plane.Kill(); err != nil {
		t.Fatal(err)
	}
}

// TestRestartWhileTheAPIServerIsAway: what was granted goes on working, what was taken away stays away, and what changes
// later is known when the API server is back.
func TestRestartWhileTheAPIServerIsAway(t *testing.T) {
	c := newContainer(t)
	p := c.start()
	p.awaitReady()
	p.wants("granted", "steady")
	p.wants("granted", "suspended")
	if value := p.metric("m2m_issuer_serving_from_snapshot"); value != "0" {
		t.Errorf("it serves from a snapshot: %s", value)
	}
	suspend(t, "suspended")
	p.comesTo("invalid_client", "suspended")
	c.awaitSaved("M2MClient", "jobs/suspended", `"suspend":true`)
	keys := p.jwks()
	for _, kind := range []string{"Namespace", "Secret", "ConfigMap", "TokenIssuer", "ApiResource", "M2MClient", "ScopeGrant"} {
		c.awaitSaved("listed", kind, "resourceVersion")
	}
	c.awaitSaved("cluster", "", "keys")

	kill(t)
	p.wants("granted", "steady")
	p.kill()
	p = c.start()
	p.awaitReady()
	p.wants("granted", "steady")
	p.wants("invalid_client", "suspended")
	p.wants("invalid_target", "granted")
	if a := p.jwks(); a.status != http.StatusOK || a.body != keys.body {
		t.Errorf("the keys are %s, and were %s", a, keys)
	}
	checkItSaysSo(t, p)

	// Killed again, before it has heard anything: there is still a snapshot to begin with.
	p.kill()
	p = c.start()
	p.awaitReady()
	p.wants("invalid_client", "suspended")

	revive(t)
	changed := time.Now()
	suspend(t, "changed")
	p.comesTo("invalid_client", "changed")
	t.Logf("a change after the API server's return was known after %s", time.Since(changed))
	p.awaitMetric("m2m_issuer_serving_from_snapshot", "0")
	p.awaitLog("the snapshot is served no more")
	p.wants("granted", "steady")
	p.wants("invalid_client", "suspended")
	if a := p.ops("/readyz?verbose"); !strings.Contains(a.body, "[+]source ok: the API server\n") || !strings.HasSuffix(a.body, "readyz check passed\n") {
		t.Errorf("verbose says %s", a)
	}

	// What happens while it is away.
	p.kill()
	if err := world.Admin.Delete(ctx, &v1alpha1.M2MClient{ObjectMeta: metaOf("jobs", "deleted")}); err != nil {
		t.Fatal(err)
	}
	if err := world.Admin.Create(ctx, grantTo("granted")); err != nil {
		t.Fatal(err)
	}
	p = c.start()
	p.awaitLog("a snapshot was loaded")
	p.awaitReady()
	p.awaitMetric("m2m_issuer_serving_from_snapshot", "0")
	p.wants("invalid_client", "deleted")
	p.wants("granted", "granted")
	suite.Eventually(t, func() string { return c.saved("M2MClient", "jobs/deleted") })
}

// checkItSaysSo: whoever looks at an issuer that serves from a snapshot is told.
func checkItSaysSo(t *testing.T, p *process) {
	t.Helper()
	var line struct {
		Age      string
		Unlisted []string
	}
	if err := json.Unmarshal([]byte(p.awaitLog("serving from a snapshot")), &line); err != nil || len(line.Unlisted) != 7 {
		t.Errorf("logged is %+v, %v", line, err)
	}
	if age, err := time.ParseDuration(line.Age); err != nil || age <= 0 || age > time.Hour {
		t.Errorf("the age is %s, %v", line.Age, err)
	}
	if value := p.metric("m2m_issuer_serving_from_snapshot"); value != "1" {
		t.Errorf("the metric is %s", value)
	}
	if value := p.metric("m2m_issuer_synced"); value != "1" {
		t.Errorf("synced is %s", value)
	}
	if value := p.metric(`m2m_issuer_watch_heard_timestamp_seconds{kind="Secret"}`); value == "0" || value == "" {
		t.Errorf("the API server was last heard at %q", value)
	}
	a := p.ops("/readyz?verbose")
	for _, want := range []string{"[+]synced ok\n", "[+]pepper ok\n", "[+]source ok: serving from a snapshot of ", "M2MClient", "readyz check passed\n"} {
		if a.status != http.StatusOK || !strings.Contains(a.body, want) {
			t.Errorf("verbose says %s, and not %q", a, want)
		}
	}
	if a := p.ops("/readyz"); a.body != "ok\n" {
		t.Errorf("readyz says %q", a.body)
	}
}

// TestSnapshotsThatAreNotBelieved: each is refused as a whole and removed, and the issuer is not ready.
func TestSnapshotsThatAreNotBelieved(t *testing.T) {
	c := newContainer(t)
	p := c.start()
	p.awaitReady()
	c.awaitSaved("listed", "ScopeGrant", "resourceVersion")
	p.kill()
	text, err := os.ReadFile(c.options.Path())
	if err != nil {
		t.Fatal(err)
	}
	checkNothingSecret(t, text)
	kill(t)
	defer revive(t)
	for name, test := range map[string]struct {
		change func(*container)
		reason string
	}{
		"a bit":               {func(c *container) { c.write(flipped(text, len(text)/2)) }, "altered"},
		"the first bit":       {func(c *container) { c.write(flipped(text, 0)) }, "form"},
		"a piece is missing":  {func(c *container) { c.write(append(bytes.Clone(text[:len(text)/2]), text[len(text)/2+100:]...)) }, "altered"},
		"most is missing":     {func(c *container) { c.write(text[:200]) }, "not complete"},
		"other contents":      {func(c *container) { c.write([]byte("apiVersion: v1\nkind: Secret\n")) }, "ends within its header"},
		"another pepper":      {func(c *container) { c.setPepper(bytes.Repeat([]byte("p"), 32)) }, "another key"},
		"a pepper too short":  {func(c *container) { c.setPepper([]byte("p")) }, "at least 32 bytes"},
		"no pepper":           {func(c *container) { os.Remove(c.options.KeyFile) }, "no such file"},
		"another TokenIssuer": {func(c *container) { c.issuer = "other" }, "another TokenIssuer"},
	} {
		t.Run(name, func(t *testing.T) {
			c := c.copy()
			c.t = t
			test.change(c)
			p := c.start()
			line := p.awaitLog("the snapshot is not used, and was removed")
			if !strings.Contains(line, test.reason) {
				t.Errorf("logged is %s", line)
			}
			if a := p.ops("/readyz"); a.status != http.StatusServiceUnavailable || !strings.Contains(a.body, "have not all arrived") {
				t.Errorf("readyz says %s", a)
			}
			if a := p.ops("/readyz?verbose"); a.status != http.StatusServiceUnavailable || !strings.Contains(a.body, "[-]synced failed: ") ||
				!strings.HasSuffix(a.body, "readyz check failed\n") {
				t.Errorf("verbose says %s", a)
			}
			if now, err := os.ReadFile(c.options.Path()); err == nil && bytes.Equal(now, text) {
				t.Error("it is still there")
			}
		})
	}
}

func (c *container) write(text []byte) {
	c.t.Helper()
	if err := os.WriteFile(c.options.Path(), text, 0o600); err != nil {
		c.t.Fatal(err)
	}
}

func flipped(text []byte, at int) []byte {
	text = bytes.Clone(text)
	text[at] ^= 1
	return text
}

// checkNothingSecret: the file shows neither keys, nor verifiers, nor who there is.
func checkNothingSecret(t *testing.T, file []byte) {
	t.Helper()
	var list corev1.SecretList
	if err := world.Admin.List(ctx, &list, client.InNamespace(suite.InstallNamespace)); err != nil {
		t.Fatal(err)
	}
	hidden := [][]byte{[]byte("jobs/steady"), []byte("verifier"), []byte("private.jwk")}
	for _, secret := range list.Items {
		for _, value := range secret.Data {
			hidden = append(hidden, value, []byte(jsonBytes(value)))
		}
	}
	c := &v1alpha1.M2MClient{}
	if err := world.Admin.Get(ctx, client.ObjectKey{Namespace: "jobs", Name: "steady"}, c); err != nil {
		t.Fatal(err)
	}
	for _, credential := range c.Status.Credentials {
		hidden = append(hidden, []byte(credential.Verifier))
	}
	for _, value := range hidden {
		if len(value) < 5 || bytes.Contains(file, value) {
			t.Errorf("the snapshot shows %d bytes of what it should not", len(value))
		}
	}
	if len(hidden) < 15 {
		t.Errorf("there are but %d values to hide", len(hidden))
	}
}

// jsonBytes is how a Secret's value is written in JSON.
func jsonBytes(value []byte) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err) // bytes always can be
	}
	return strings.Trim(string(text), `"`)
}
