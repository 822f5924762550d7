package feed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"

	"github.com/m2m-operator/m2m-operator/internal/clientauth"
)

const (
	// Where kube-apiserver says how its ServiceAccounts' tokens are verified. The document names an address of the keys
	// too, which may be anybody's: the keys are asked of the API server itself.
	clusterIssuerPath = "/.well-known/openid-configuration"
	clusterKeysPath   = "/openid/v1/jwks"

	clusterRefresh     = 5 * time.Minute
	clusterRetry       = 15 * time.Second
	clusterMinInterval = 10 * time.Second
	clusterTimeout     = 10 * time.Second
	maxClusterDocument = 256 << 10
)

// clusterFeed keeps what verifies tokens of the cluster's ServiceAccounts. While the API server is away, or says what
// cannot be read, the last good answer stays.
type clusterFeed struct {
	client *http.Client
	server *url.URL
	use    func(*clientauth.Cluster)
	log    *slog.Logger
	wanted chan struct{}
	// problem is what was logged last, "" while all is well.
	problem string
	current *clientauth.Cluster
}

// newClusterFeed asks as the config says and hands what it finds to use.
func newClusterFeed(config *rest.Config, log *slog.Logger, use func(*clientauth.Cluster)) (*clusterFeed, error) {
	transport, err := rest.TransportFor(config)
	if err != nil {
		return nil, err
	}
	server, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, err
	}
	client := &http.Client{
		Transport: transport,
		Timeout:   clusterTimeout,
		// Wherever a redirect leads, the credentials are not for it.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &clusterFeed{client: client, server: server, use: use, log: log, wanted: make(chan struct{}, 1)}, nil
}

// run asks now, every few minutes, and soon after somebody wanted it, until the context ends.
func (f *clusterFeed) run(ctx context.Context) {
	limiter := rate.NewLimiter(rate.Every(clusterMinInterval), 1)
	for limiter.Wait(ctx) == nil {
		after := clusterRefresh
		if !f.refresh(ctx) {
			after = clusterRetry
		}
		timer := time.NewTimer(wait.Jitter(after, 0.2))
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-f.wanted:
		}
		timer.Stop()
	}
}

// clusterDocument is a Cluster as a snapshot holds it.
type clusterDocument struct {
	Issuer string             `json:"issuer"`
	Keys   jose.JSONWebKeySet `json:"keys"`
}

// restore uses what was known before this process began, until the API server says it anew.
func (f *clusterFeed) restore(text []byte) error {
	var document clusterDocument
	if err := json.Unmarshal(text, &document); err != nil {
		return errors.New("what verifies tokens of ServiceAccounts cannot be read")
	}
	f.use(&clientauth.Cluster{Issuer: document.Issuer, Keys: document.Keys, Refetch: f.want})
	return nil
}

// want asks for a refresh, and does not wait for it.
func (f *clusterFeed) want() {
	select {
	case f.wanted <- struct{}{}:
	default: // somebody else has asked
	}
}

// refresh asks once, and reports whether it has the answer.
func (f *clusterFeed) refresh(ctx context.Context) bool {
	cluster, err := f.fetch(ctx)
	if ctx.Err() != nil {
		return false
	}
	if err != nil {
		if f.problem != err.Error() {
			f.log.Warn("the cluster does not say how its ServiceAccounts' tokens are verified; what it said last is used", "error", err)
		}
		f.problem = err.Error()
		return false
	}
	if f.problem != "" || f.current == nil || !sameCluster(f.current, cluster) {
		f.log.Info("tokens of the cluster's ServiceAccounts are verified", "issuer", cluster.Issuer, "keys", len(cluster.Keys.Keys))
	}
	f.problem, f.current = "", cluster
	f.use(cluster)
	return true
}

func sameCluster(a, b *clientauth.Cluster) bool {
	if a.Issuer != b.Issuer || len(a.Keys.Keys) != len(b.Keys.Keys) {
		return false
	}
	for i := range a.Keys.Keys {
		if a.Keys.Keys[i].KeyID != b.Keys.Keys[i].KeyID {
			return false
		}
	}
	return true
}

// fetch asks for both documents.
func (f *clusterFeed) fetch(ctx context.Context) (*clientauth.Cluster, error) {
	var discovery struct {
		Issuer string `json:"issuer"`
	}
	var keys struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := errors.Join(f.get(ctx, clusterIssuerPath, &discovery), f.get(ctx, clusterKeysPath, &keys)); err != nil {
		return nil, err
	}
	if discovery.Issuer == "" {
		return nil, fmt.Errorf("%s names no issuer", clusterIssuerPath)
	}
	cluster := &clientauth.Cluster{Issuer: discovery.Issuer, Refetch: f.want}
	for _, text := range keys.Keys {
		if key, ok := signingKey(text); ok {
			cluster.Keys.Keys = append(cluster.Keys.Keys, key)
		}
	}
	if len(cluster.Keys.Keys) == 0 {
		return nil, fmt.Errorf("%s holds no key that verifies signatures", clusterKeysPath)
	}
	return cluster, nil
}

// signingKey reads a public key, and reports whether it is one that signatures are verified with: a set may hold others,
// also of types that nobody here knows.
func signingKey(text []byte) (jose.JSONWebKey, bool) {
	var key jose.JSONWebKey
	err := key.UnmarshalJSON(text)
	return key, err == nil && key.KeyID != "" && key.IsPublic() && key.Valid() && (key.Use == "" || key.Use == "sig")
}

func (f *clusterFeed) get(ctx context.Context, path string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, f.server.JoinPath(path).String(), nil)
	if err != nil {
		return err
	}
	response, err := f.client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the API server answers %s with status %d", path, response.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxClusterDocument+1))
	switch {
	case err != nil:
		return fmt.Errorf("read %s: %w", path, err)
	case len(body) > maxClusterDocument:
		return fmt.Errorf("%s is larger than %d KiB", path, maxClusterDocument>>10)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("%s is not what it should be: %w", path, err)
	}
	return nil
}
