package faults

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/credential"
	"github.com/m2m-operator/m2m-operator/internal/manifests"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

// patience of a workload: how long what its Secret holds may be refused.
const patience = time.Second

// tokenServer is a running issuer as its clients see it.
type tokenServer struct {
	address string
	http    *http.Client
}

// startIssuer runs a token server until the test ends.
func startIssuer(t testing.TB, name string) *tokenServer {
	t.Helper()
	issuer, err := world.StartIssuer(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := issuer.Stop(); err != nil {
			t.Error(err)
		}
	})
	suite.Eventually(t, func() string {
		response, err := http.Get("http://" + issuer.OpsAddress + "/readyz")
		if err != nil {
			return err.Error()
		}
		defer response.Body.Close()
		if body, _ := io.ReadAll(response.Body); response.StatusCode != http.StatusOK {
			return fmt.Sprintf("%d %s", response.StatusCode, body)
		}
		return ""
	})
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(get(t, &corev1.Secret{}, suite.InstallNamespace, "m2m-"+name+"-tls").Data[manifests.KeyAuthority])
	return &tokenServer{issuer.Address, &http.Client{
		Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}},
	}}
}

// ask returns the token that a client gets, or the error that it is told.
func (s *tokenServer) ask(id, secret string) (token, refusal string) {
	form := url.Values{"grant_type": {"client_credentials"}, "audience": {audience}}
	request, err := http.NewRequest(http.MethodPost, "https://"+s.address+"/machines/oauth2/token", strings.NewReader(form.Encode()))
	if err != nil {
		return "", err.Error()
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(id, secret)
	var answer struct {
		AccessToken string `json:"access_token"`
		Error       string `json:"error"`
	}
	response, err := s.http.Do(request)
	if err != nil {
		return "", err.Error()
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return "", err.Error()
	}
	return answer.AccessToken, answer.Error
}

// workload always uses what its Secret holds, and remembers for how long that was refused. What the client's spec
// revokes has to be.
type workload struct {
	server *tokenServer
	key    client.ObjectKey // of the Secret, which has the client's name

	mu      sync.Mutex
	ids     []string // of the credentials that the Secret has held, in their order
	since   time.Time
	longest time.Duration
	refusal string
	asked   int
}

// startWorkload lets it work until the test ends, which fails if it was refused for too long.
func startWorkload(t testing.TB, server *tokenServer, c *v1alpha1.M2MClient) *workload {
	c = c.DeepCopy() // the test goes on writing to its own
	w := &workload{server: server, key: client.ObjectKey{Namespace: c.Namespace, Name: c.SecretName()}}
	seen := w.watch(t)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(10 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-stop:
				return
			case <-ticker.C:
				w.work(c)
			}
		}
	}()
	t.Cleanup(func() {
		close(stop)
		<-done
		seen.Stop()
		t.Logf("%s asked %d times, met %d credentials, and was refused for at most %s", c.ClientID(), w.asked, len(w.ids), w.longest)
		if w.longest > patience {
			t.Errorf("what the Secret of %s held was refused for %s: %s", c.ClientID(), w.longest, w.refusal)
		}
	})
	return w
}

// watch takes down every credential that the Secret ever holds, also those that are gone before the workload looks.
func (w *workload) watch(t testing.TB) watch.Interface {
	t.Helper()
	watcher, err := client.NewWithWatch(world.Plane.Admin(), client.Options{Scheme: admin.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	seen, err := watcher.Watch(ctx, &corev1.SecretList{}, client.InNamespace(w.key.Namespace), client.MatchingFields{"metadata.name": w.key.Name})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for event := range seen.ResultChan() {
			secret, ok := event.Object.(*corev1.Secret)
			if !ok || event.Type == watch.Deleted {
				continue
			}
			w.mu.Lock()
			if id := secret.Annotations[credential.AnnotationID]; len(w.ids) == 0 || w.ids[len(w.ids)-1] != id {
				w.ids = append(w.ids, id)
			}
			w.mu.Unlock()
		}
	}()
	return seen
}

// missed says whether the Secret has held other than so many credentials.
func (w *workload) missed(want int) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.ids) != want {
		return fmt.Sprintf("the Secret has held %d credentials, want %d: %v", len(w.ids), want, w.ids)
	}
	return ""
}

// refusedNow is what the workload is told when it uses what the Secret holds, "" if it gets a token. What there is not, or
// has to be refused, is not asked about.
func (w *workload) refusedNow(c *v1alpha1.M2MClient) string {
	c, secret := c.DeepCopy(), &corev1.Secret{}
	if admin.Get(ctx, w.key, secret) != nil {
		return ""
	}
	_, refusal := w.server.ask(c.ClientID(), string(secret.Data[manifests.KeyClientSecret]))
	id := v1alpha1.CredentialID(secret.Annotations[credential.AnnotationID])
	if refusal != "" && admin.Get(ctx, client.ObjectKeyFromObject(c), c) == nil && slices.Contains(c.Spec.Credential.RevokedIDs, id) {
		return ""
	}
	return refusal
}

func (w *workload) work(c *v1alpha1.M2MClient) {
	refusal := w.refusedNow(c)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked++
	switch {
	case refusal == "":
		w.since = time.Time{}
		return
	case w.since.IsZero():
		w.since = time.Now()
	}
	w.longest, w.refusal = max(w.longest, time.Since(w.since)), refusal
}
