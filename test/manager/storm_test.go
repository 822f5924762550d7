package manager

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/credential"
	"github.com/m2m-operator/m2m-operator/internal/keyring"
	"github.com/m2m-operator/m2m-operator/internal/manifests"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

// laps of the history, in which there are more than a thousand reconciles.
const laps = 5

// TestFaultsChangeNothing plays one history twice: with an API server that does what it is asked, and with one that fails,
// conflicts, is slow, does not answer, or does what it was asked and says that it did not. Both end the same.
// M2M_FAULTS_SEED plays another storm, or again the one that a failure has named.
func TestFaultsChangeNothing(t *testing.T) {
	seed := uint64(1)
	if s := os.Getenv("M2M_FAULTS_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("M2M_FAULTS_SEED=%d", seed)
	elsewhere(t) // so that what is counted is this history's
	calm := newHistory(t, "calm", "10.0.0.1")
	stop := startManager(t, suite.ManagerOptions{})
	begun := time.Now()
	calm.play(laps)
	calm.end()
	want := settled(t, calm)
	calm.verify()
	stop()
	t.Logf("without faults it took %s", time.Since(begun).Round(time.Second))
	remove(t, endpointSlice(calm.issuer, calm.address))

	storm := newHistory(t, "storm", "10.0.0.2")
	w := newWeather(seed)
	startManager(t, suite.ManagerOptions{Wrap: w.wrap, Timeout: 5 * time.Second})
	before, begun := reconciles(t), time.Now()
	storm.play(laps)
	n := reconciles(t) - before
	t.Logf("with faults it took %s and %d reconciles: %s", time.Since(begun).Round(time.Second), n, w.report())
	if n < 1000 {
		t.Errorf("there were only %d reconciles", n)
	}
	w.clear.Store(true)
	storm.end()
	suite.Eventually(t, func() string {
		if got := storm.outcome(); got != want {
			return fmt.Sprintf("the end is not the same with faults (+) as without (-):\n%s\nin the install namespace it has written:\n%s",
				difference(want, got), w.writes("/"+suite.InstallNamespace+"/"))
		}
		return ""
	})
	storm.verify()
}

// settled is the outcome once it stays what it is: statuses count others every few seconds only.
func settled(t *testing.T, h *history) (outcome string) {
	t.Helper()
	same := time.Now()
	suite.Eventually(t, func() string {
		if now := h.outcome(); now != outcome {
			outcome, same = now, time.Now()
		}
		if time.Since(same) < 5*time.Second {
			return "it does not come to rest"
		}
		return ""
	})
	return outcome
}

// outcome is the end state, without what chance or the clock has made of it.
func (h *history) outcome() string {
	var out []string
	here := []string{suite.InstallNamespace, h.name + "-apis", h.jobs(), ""}
	for _, list := range []client.ObjectList{
		&v1alpha1.TokenIssuerList{}, &v1alpha1.ApiResourceList{}, &v1alpha1.M2MClientList{}, &v1alpha1.ScopeGrantList{},
		&corev1.SecretList{}, &corev1.ConfigMapList{},
	} {
		for _, o := range listed(h.t, list) {
			meta := o["metadata"].(map[string]any)
			in, _ := meta["namespace"].(string)
			if !slices.Contains(here, in) || (!strings.HasPrefix(in, h.name) && !strings.Contains(meta["name"].(string), h.name)) {
				continue
			}
			data, err := json.MarshalIndent(normal(o), "", " ")
			if err != nil {
				h.t.Fatal(err)
			}
			text := fmt.Sprintf("%T %s/%s %s", list, in, meta["name"], incidental.ReplaceAll(data, []byte("~")))
			out = append(out, strings.ReplaceAll(text, h.name, "NAME"))
		}
	}
	slices.Sort(out)
	ring, err := keyring.ParseRing([]byte(get(h.t, &corev1.ConfigMap{}, suite.InstallNamespace, manifests.RingName(h.name)).Data[manifests.KeyRing]))
	if err != nil {
		h.t.Fatal(err)
	}
	for _, key := range ring.Keys {
		out = append(out, fmt.Sprintf("ring: %s %d %s", key.Algorithm, key.Generation, key.State))
	}
	return strings.Join(out, "\n")
}

// incidental matches what differs from one history to the next: times, ids of credentials and of keys.
var incidental = regexp.MustCompile(`\d{4}-\d\d-\d\dT[\d:.]+Z|\b[0-9a-v]{16}\b|[\w-]{43}`)

// normal takes out of an object what chance and the clock have made.
func normal(o map[string]any) map[string]any {
	meta := o["metadata"].(map[string]any)
	kept := map[string]any{"name": meta["name"], "namespace": meta["namespace"], "labels": meta["labels"], "annotations": keys(meta["annotations"])}
	owners, _ := meta["ownerReferences"].([]any)
	for _, owner := range owners {
		delete(owner.(map[string]any), "uid")
	}
	kept["owners"] = owners
	out := map[string]any{"metadata": kept, "spec": o["spec"], "type": o["type"], "data": keys(o["data"])}
	if status, ok := o["status"].(map[string]any); ok {
		conditions := status["conditions"].([]any)
		slices.SortFunc(conditions, func(a, b any) int {
			return strings.Compare(a.(map[string]any)["type"].(string), b.(map[string]any)["type"].(string))
		})
		for _, c := range conditions {
			delete(c.(map[string]any), "lastTransitionTime")
			delete(c.(map[string]any), "observedGeneration") // saves of the test that changed nothing do not count
		}
		delete(status, "observedGeneration")
		delete(status, "pepperID")
		credentials, _ := status["credentials"].([]any)
		for i, c := range credentials {
			credentials[i] = c.(map[string]any)["state"]
		}
		out["status"] = status
	}
	return out
}

func keys(m any) []string {
	var out []string
	entries, _ := m.(map[string]any)
	for key := range entries {
		out = append(out, key)
	}
	slices.Sort(out)
	return out
}

func listed(t *testing.T, list client.ObjectList) []map[string]any {
	t.Helper()
	if err := admin.List(ctx, list); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	var fields struct{ Items []map[string]any }
	if err := json.Unmarshal(data, &fields); err != nil {
		t.Fatal(err)
	}
	return fields.Items
}

// difference has the lines that only one of two texts has.
func difference(want, got string) string {
	var out []string
	a, b := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i, j := 0, 0; i < len(a) || j < len(b); {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			i, j = i+1, j+1
		case i < len(a) && (j == len(b) || !slices.Contains(b[j:], a[i])):
			out = append(out, "- "+a[i])
			i++
		default:
			out = append(out, "+ "+b[j])
			j++
		}
	}
	return strings.Join(out, "\n")
}

// verify checks what is the same in every end state: what Secrets hold is accepted, by nothing but what status says, and
// nothing is there that belongs to nobody.
func (h *history) verify() {
	h.t.Helper()
	pepper, err := credential.ParsePepper(get(h.t, &corev1.Secret{}, suite.InstallNamespace, manifests.PepperName(h.name)).Data[manifests.KeyPepper])
	if err != nil {
		h.t.Fatal(err)
	}
	owners := map[types.UID]bool{}
	for name, c := range h.clients {
		owners[get(h.t, c, c.Namespace, c.Name).UID] = true
		owner := credential.Owner{Issuer: h.name, ClientID: c.ClientID()}
		id, ok := pepper.Verify(owner, c.Status.Credentials, valueOf(h.t, c), clock())
		held, err := pepper.ReadAnnotations(owner, secretOf(h.t, c).Annotations)
		if !ok || err != nil || held.Current.ID != id || h.current(name) != id {
			h.t.Errorf("%s: what the Secret holds is accepted: %t; the proof is good: %v; status: %+v", name, ok, err, c.Status.Credentials)
		}
	}
	var apis v1alpha1.ApiResourceList
	if err := admin.List(ctx, &apis, client.InNamespace(h.api.Namespace)); err != nil {
		h.t.Fatal(err)
	}
	for _, api := range apis.Items {
		owners[api.UID] = true
	}
	for _, in := range []string{h.jobs(), h.api.Namespace} {
		for _, list := range []client.ObjectList{&corev1.SecretList{}, &corev1.ConfigMapList{}} {
			h.owned(list, in, owners)
		}
	}
	h.keysAreOfTheRing()
}

// owned checks that everything of a kind in the namespace has an owner that is there, or will go with one that is not.
func (h *history) owned(list client.ObjectList, in string, owners map[types.UID]bool) {
	h.t.Helper()
	for _, o := range listed(h.t, list) {
		meta := o["metadata"].(map[string]any)
		if meta["namespace"] != in {
			continue
		}
		references, _ := meta["ownerReferences"].([]any)
		if len(references) != 1 {
			h.t.Errorf("%s has %d owners", meta["name"], len(references))
			continue
		}
		if uid := types.UID(references[0].(map[string]any)["uid"].(string)); !owners[uid] && !h.gone[uid] {
			h.t.Errorf("%s is owned by nobody", meta["name"])
		}
	}
}

// keysAreOfTheRing checks that the private keys are those that the ring names and that are not retired.
func (h *history) keysAreOfTheRing() {
	h.t.Helper()
	issuer := get(h.t, &v1alpha1.TokenIssuer{}, "", h.name)
	var secrets corev1.SecretList
	if err := admin.List(ctx, &secrets, client.InNamespace(suite.InstallNamespace), client.MatchingLabels{
		manifests.LabelIssuer: h.name, manifests.LabelContent: manifests.ContentSigningKey,
	}); err != nil {
		h.t.Fatal(err)
	}
	for _, secret := range secrets.Items {
		key, err := keyring.ParsePrivate(secret.Data[manifests.KeyPrivateJWK])
		if err != nil || state(issuer, key.KeyID) == "" {
			h.t.Errorf("the key in %s is an orphan: %v", secret.Name, err)
		}
	}
	if len(secrets.Items) != len(issuer.Status.Keys) {
		h.t.Errorf("there are %d private keys, and %d in status", len(secrets.Items), len(issuer.Status.Keys))
	}
}
