package plane

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/manifests"
	"github.com/m2m-operator/m2m-operator/test/bench/report"
)

// probeGrant gives the first client something, or not.
const probeGrant = "probe"

// createProbe makes what is changed again and again. The first client is one that the manager has made a Secret for.
func (b *bench) createProbe(ctx context.Context) error {
	grant := newGrant(0, b.APIs, 1)
	grant.Name = probeGrant
	grant.Spec.Scopes = []v1alpha1.ScopeName{"grades:read"}
	return b.admin.Create(ctx, grant)
}

// asker asks an issuer for tokens.
type asker struct {
	client   *http.Client
	endpoint string
	id       string
	secret   string
	form     string
}

func (b *bench) newAsker(p *process) (*asker, error) {
	data := b.world.secret.Data
	endpoint, err := url.Parse(string(data[manifests.KeyTokenEndpoint]))
	if err != nil {
		return nil, err
	}
	authorities := x509.NewCertPool()
	authorities.AppendCertsFromPEM(data[manifests.KeyAuthority])
	return &asker{
		client: &http.Client{Timeout: startTimeout, Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: authorities, MinVersion: tls.VersionTLS12},
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, p.listens)
			},
		}},
		endpoint: endpoint.String(), id: string(data[manifests.KeyClientID]), secret: string(data[manifests.KeyClientSecret]),
		form: url.Values{"grant_type": {"client_credentials"}, "audience": {audience(0)}, "scope": {"grades:read"}}.Encode(),
	}, nil
}

// granted asks for a token, and reports whether there is one.
func (a *asker) granted(ctx context.Context) (bool, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, a.endpoint, strings.NewReader(a.form))
	if err != nil {
		return false, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(url.QueryEscape(a.id), url.QueryEscape(a.secret))
	response, err := a.client.Do(request)
	if err != nil {
		return false, err
	}
	_, err = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK && response.StatusCode != http.StatusBadRequest {
		return false, fmt.Errorf("a request for a token is answered %s", response.Status)
	}
	return response.StatusCode == http.StatusOK, err
}

// changes times how long after the API server has accepted a change an issuer decides by it, and how long after it
// somebody who only watches has heard of it.
func (b *bench) changes(ctx context.Context, p *process) error {
	ask, err := b.newAsker(p)
	if err != nil {
		return err
	}
	var list v1alpha1.ScopeGrantList
	if err := b.admin.List(ctx, &list, client.Limit(1)); err != nil {
		return err
	}
	watching, err := b.admin.Watch(ctx, &v1alpha1.ScopeGrantList{}, &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: list.ResourceVersion}})
	if err != nil {
		return err
	}
	defer watching.Stop()
	var decided, heard []float64
	for i := range b.Changes {
		suspend := i%2 == 0
		d, h, err := b.change(ctx, ask, watching, suspend)
		if err != nil {
			return err
		}
		decided, heard = append(decided, d), append(heard, h)
	}
	b.compare(sectionChange, "median", "ms", decided, "somebody who only watches", heard, 0)
	b.row(sectionChange, fmt.Sprintf("p99 of %d", b.Changes), "ms", []float64{report.Quantile(decided, 0.99)}, 250)
	b.tell("%d changes took %.1f ms in the median, %.1f ms at most", b.Changes, report.Quantile(decided, 0.5), report.Quantile(decided, 1))
	return nil
}

// change the grant once, and return how many milliseconds it took.
func (b *bench) change(ctx context.Context, ask *asker, watching watch.Interface, suspend bool) (decided, heard float64, err error) {
	grant := &v1alpha1.ScopeGrant{ObjectMeta: metav1.ObjectMeta{Namespace: apiName(0).Namespace, Name: probeGrant}}
	patch := fmt.Appendf(nil, `{"spec":{"suspend":%t}}`, suspend)
	if err := b.admin.Patch(ctx, grant, client.RawPatch(types.MergePatchType, patch)); err != nil {
		return 0, 0, err
	}
	accepted := time.Now()
	told := make(chan time.Time, 1)
	go func() {
		for event := range watching.ResultChan() {
			if object, ok := event.Object.(*v1alpha1.ScopeGrant); ok && object.ResourceVersion == grant.ResourceVersion {
				told <- time.Now()
				return
			}
		}
	}()
	for {
		granted, err := ask.granted(ctx)
		if err != nil {
			return 0, 0, err
		}
		if granted != suspend {
			break
		}
	}
	decided = milliseconds(time.Since(accepted))
	select {
	case at := <-told:
		return decided, milliseconds(at.Sub(accepted)), nil
	case <-time.After(startTimeout):
		return 0, 0, fmt.Errorf("the watch does not tell of resourceVersion %s", grant.ResourceVersion)
	}
}

// milliseconds, and some where the news was faster than the API server's answer.
func milliseconds(d time.Duration) float64 { return max(float64(d.Microseconds())/1000, 0.01) }
