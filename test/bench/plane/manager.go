package plane

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/test/bench/report"
)

const (
	sectionManager = "manager"
	// workers that write beside each other, as many as the manager has.
	workers = 8
	// quiet is how long nothing may be written before a manager that was started again has nothing more to do.
	quiet = 10 * time.Second
	// strangers are Secrets of tenants that have nothing to do with the product, of so many bytes each.
	strangers    = 200
	strangerSize = 100 << 10
)

// manager measures what the manager does when clients are applied, and when it is started again.
func (b *bench) manager(ctx context.Context) error {
	running, err := b.startManager(ctx)
	if err != nil {
		return err
	}
	if err := b.awaitIssuer(ctx); err != nil {
		return err
	}
	empty, err := running.memory(ctx)
	if err != nil {
		return err
	}
	if err := b.emptyIssuer(ctx); err != nil {
		return err
	}
	if err := b.createStrangers(ctx); err != nil {
		return err
	}
	besides, err := running.memory(ctx)
	if err != nil {
		return err
	}
	b.compare(sectionManager, fmt.Sprintf("memory with %d Secrets of others, %d KB each", strangers, strangerSize>>10), "MB",
		[]float64{besides / 1e6}, "without", []float64{empty / 1e6}, 1.1)
	var writes, seconds []float64
	for round := range b.ManagedRounds {
		wrote, took, err := b.apply(ctx)
		if err != nil {
			return err
		}
		writes, seconds = append(writes, wrote/float64(b.Managed)), append(seconds, took.Seconds())
		b.tell("%d M2MClients applied at once are ready after %s, round %d", b.Managed, took.Round(time.Millisecond), round+1)
	}
	b.row(sectionManager, "writes for each client", "", writes, 3)
	full, err := running.memory(ctx)
	if err != nil {
		return err
	}
	size, err := b.look(ctx)
	if err != nil {
		return err
	}
	b.compare(sectionManager, "memory for each client", "KB", []float64{(full - besides) / 1024 / float64(b.world.clients)},
		"M2MClient and Secret as JSON", []float64{size / 1024}, 0)
	if err := running.stop(); err != nil {
		return err
	}
	b.world.seconds = seconds
	return b.restart(ctx)
}

// awaitIssuer waits until all is there that an issuer needs.
func (b *bench) awaitIssuer(ctx context.Context) error {
	return await(ctx, func(ctx context.Context) (bool, error) {
		var issuer v1alpha1.TokenIssuer
		err := b.admin.Get(ctx, types.NamespacedName{Name: tokenIssuer}, &issuer)
		return meta.IsStatusConditionTrue(issuer.Status.Conditions, v1alpha1.ConditionProgrammed), err
	})
}

// createStrangers makes Secrets that no manager should keep in memory.
func (b *bench) createStrangers(ctx context.Context) error {
	return parallel(ctx, strangers, writers, func(ctx context.Context, i int) error {
		return b.admin.Create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: fmt.Sprintf("jobs-%d", i%clientNamespaces), Name: fmt.Sprintf("other-%d", i)},
			Data:       map[string][]byte{"data": make([]byte, strangerSize)},
		})
	})
}

// apply makes clients, and waits until all are ready. It returns what was written for that besides.
func (b *bench) apply(ctx context.Context) (writes float64, took time.Duration, err error) {
	first := b.world.clients
	b.world.clients += b.Managed
	before, err := b.writes(ctx)
	if err != nil {
		return 0, 0, err
	}
	began := time.Now()
	failed := make(chan error, 1)
	go func() {
		failed <- parallel(ctx, b.Managed, writers, func(ctx context.Context, i int) error { return b.admin.Create(ctx, newClient(first+i)) })
	}()
	if err := b.awaitClients(ctx); err != nil {
		return 0, 0, err
	}
	took = time.Since(began)
	if err := <-failed; err != nil {
		return 0, 0, err
	}
	after, err := b.writes(ctx)
	return after - before, took, err
}

// awaitClients waits until all clients are ready, as somebody who watches them would.
func (b *bench) awaitClients(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	ready := map[types.NamespacedName]bool{}
	for ctx.Err() == nil && len(ready) < b.world.clients {
		var list v1alpha1.M2MClientList
		if err := b.admin.List(ctx, &list); err != nil {
			return err
		}
		for i := range list.Items {
			note(ready, &list.Items[i])
		}
		watching, err := b.admin.Watch(ctx, &v1alpha1.M2MClientList{}, &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: list.ResourceVersion}})
		if err != nil {
			return err
		}
		for len(ready) < b.world.clients {
			event, open := <-watching.ResultChan()
			if !open {
				break
			}
			if found, ok := event.Object.(*v1alpha1.M2MClient); ok {
				note(ready, found)
			}
		}
		watching.Stop()
	}
	return ctx.Err()
}

// note that a client is ready, if it is.
func note(ready map[types.NamespacedName]bool, found *v1alpha1.M2MClient) {
	if meta.IsStatusConditionTrue(found.Status.Conditions, v1alpha1.ConditionReady) {
		ready[client.ObjectKeyFromObject(found)] = true
	}
}

// look at what the manager has made for a client, and how large that is in all.
func (b *bench) look(ctx context.Context) (bytes float64, err error) {
	var made v1alpha1.M2MClient
	if err := b.admin.Get(ctx, clientKey(0), &made); err != nil {
		return 0, err
	}
	b.world.credentials, b.world.conditions = made.Status.Credentials, made.Status.Conditions
	if err := b.admin.Get(ctx, types.NamespacedName{Namespace: made.Namespace, Name: made.Status.SecretName}, &b.world.secret); err != nil {
		return 0, err
	}
	made.ManagedFields, b.world.secret.ManagedFields = nil, nil
	for _, object := range []any{made, b.world.secret} {
		text, err := json.Marshal(object)
		if err != nil {
			return 0, err
		}
		bytes += float64(len(text))
	}
	return bytes, nil
}

// restart starts the manager again where everything is in place.
func (b *bench) restart(ctx context.Context) error {
	before, err := b.writes(ctx)
	if err != nil {
		return err
	}
	running, err := b.startManager(ctx)
	if err != nil {
		return err
	}
	if err := running.awaitIdle(ctx); err != nil {
		return err
	}
	after, err := b.writes(ctx)
	if err != nil {
		return err
	}
	b.rows = append(b.rows, report.Row{Section: sectionManager, Case: fmt.Sprintf("writes at a restart with %d clients", b.world.clients), Limit: "goal", Measured: after - before, Ratio: after - before + 1, Low: after - before + 1, High: after - before + 1, Goal: 1, Rounds: 1})
	b.tell("a manager that was started again has written %.0f times", after-before)
	return running.stop()
}

// awaitIdle waits until the process has stopped working: it uses next to no CPU time.
func (p *process) awaitIdle(ctx context.Context) error {
	last, err := p.cpu()
	if err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(quiet):
		}
		now, err := p.cpu()
		if err != nil {
			return err
		}
		if last > 0 && now-last < quiet/50 {
			return nil
		}
		last = now
	}
}

// plainLoop does for as many clients what the manager does, with neither controllers nor caches.
func (b *bench) plainLoop(ctx context.Context) error {
	var seconds []float64
	for round := range b.ManagedRounds {
		first := b.world.clients
		b.world.clients += b.Managed
		began := time.Now()
		created := make(chan *v1alpha1.M2MClient, b.Managed)
		failed := make(chan error, 1)
		go func() {
			defer close(created)
			failed <- parallel(ctx, b.Managed, writers, func(ctx context.Context, i int) error {
				made := newClient(first + i)
				err := b.admin.Create(ctx, made)
				created <- made
				return err
			})
		}()
		err := parallel(ctx, workers, workers, func(ctx context.Context, _ int) error {
			for made := range created {
				if err := b.writeSame(ctx, made); err != nil {
					return err
				}
			}
			return nil
		})
		if err := errors.Join(err, <-failed); err != nil {
			return err
		}
		seconds = append(seconds, time.Since(began).Seconds())
		b.tell("a plain loop has done the same in %.1f s, round %d", seconds[round], round+1)
	}
	b.compare(sectionManager, fmt.Sprintf("%d clients, until all are ready", b.Managed), "s", b.world.seconds, "plain loop", seconds, 2)
	return nil
}

// writeSame writes what the manager writes for a client: the verifier, the Secret, and the rest of the status.
func (b *bench) writeSame(ctx context.Context, made *v1alpha1.M2MClient) error {
	if err := b.announce(ctx, made); err != nil {
		return err
	}
	secret := b.world.secret.DeepCopy()
	secret.ObjectMeta = metav1.ObjectMeta{
		Namespace: made.Namespace, Name: made.Name + "-credentials", Labels: secret.Labels, Annotations: secret.Annotations}
	if err := b.admin.Create(ctx, secret); err != nil {
		return err
	}
	before := made.DeepCopy()
	made.Status.Conditions = b.world.conditions
	made.Status.ClientID, made.Status.SecretName = made.ClientID(), secret.Name
	return b.admin.Status().Patch(ctx, made, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
}

var (
	requestCount = regexp.MustCompile(`(?m)^apiserver_request_total\{(.*)\} (\S+)$`)
	metricLabel  = regexp.MustCompile(`(\w+)="([^"]*)"`)
)

// writes are how often the API server was asked to write, but for leases and events, and the M2MClients that were made.
func (b *bench) writes(ctx context.Context) (float64, error) {
	clientset, err := kubernetes.NewForConfig(b.plane.Admin())
	if err != nil {
		return 0, err
	}
	text, err := clientset.RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return 0, err
	}
	total := 0.0
	for _, line := range requestCount.FindAllStringSubmatch(string(text), -1) {
		labels := map[string]string{}
		for _, label := range metricLabel.FindAllStringSubmatch(line[1], -1) {
			labels[label[1]] = label[2]
		}
		if !strings.Contains("POST PUT PATCH APPLY DELETE", labels["verb"]) {
			continue
		}
		switch resource := labels["resource"]; {
		case resource == "leases", resource == "events", resource == "apiservices", resource == "tokenreviews",
			resource == "m2mclients" && labels["verb"] == "POST":
			continue
		}
		count, err := strconv.ParseFloat(line[2], 64)
		if err != nil {
			return 0, err
		}
		total += count
	}
	return total, nil
}
