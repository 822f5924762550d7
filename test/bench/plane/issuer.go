package plane

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

const (
	sectionIssuer = "issuer"
	sectionChange = "one change, until decisions follow it"
	// pageSize of a bare list, as kubectl has it.
	pageSize = 500
)

// issuer measures how an issuer starts, and what it keeps, with nothing and with everything.
func (b *bench) issuer(ctx context.Context) error {
	if err := b.fill(ctx); err != nil {
		return err
	}
	if err := b.createProbe(ctx); err != nil {
		return err
	}
	var ready, listed, later, kilobytes, each []float64
	for round := range b.Rounds {
		bare, err := b.list(ctx)
		if err != nil {
			return err
		}
		p, took, err := b.startIssuer(ctx)
		if err != nil {
			return err
		}
		full, err := p.memory(ctx)
		if err != nil {
			return err
		}
		ready, listed, later = append(ready, took.Seconds()), append(listed, bare.Seconds()), append(later, max(took-bare, 0).Seconds())
		more := (full - b.world.empty) / 1024
		kilobytes = append(kilobytes, more/float64(b.world.clients))
		each = append(each, more/float64(b.world.clients+b.APIs+b.Grants))
		b.tell("an issuer was ready after %.1f s, a bare list took %.1f s, it has %.1f MB, round %d", took.Seconds(), bare.Seconds(), full/1e6, round+1)
		if round == b.Rounds-1 {
			err = b.changes(ctx, p)
		}
		if err != nil {
			return err
		}
		if round == b.Rounds-1 {
			worked, err := p.memory(ctx)
			if err != nil {
				return err
			}
			b.compare(sectionIssuer, "memory after it has answered requests", "MB", []float64{worked / 1e6}, "before", []float64{full / 1e6}, 0)
		}
		if err := p.stop(); err != nil {
			return err
		}
	}
	b.compare(sectionIssuer, "from its start until it is ready", "s", ready, "bare list of the same objects", listed, 0)
	b.row(sectionIssuer, "ready later than the bare list, by", "s", later, 15)
	b.row(sectionIssuer, "memory for each client, with its grant", "KB", kilobytes, 4)
	b.compare(sectionIssuer, "memory for each object", "KB", each, "for each client", kilobytes, 0)
	return b.profile(ctx)
}

// emptyIssuer is how much memory an issuer has that knows no client.
func (b *bench) emptyIssuer(ctx context.Context) error {
	p, took, err := b.startIssuer(ctx)
	if err != nil {
		return err
	}
	if b.world.empty, err = p.memory(ctx); err != nil {
		return err
	}
	b.tell("an issuer without clients was ready after %.1f s, and has %.1f MB", took.Seconds(), b.world.empty/1e6)
	return p.stop()
}

// list asks for all objects that an issuer knows, page by page, a kind beside the other.
func (b *bench) list(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	for _, list := range []client.ObjectList{&v1alpha1.M2MClientList{}, &v1alpha1.ApiResourceList{}, &v1alpha1.ScopeGrantList{}} {
		group.Go(func() error {
			for {
				if err := b.page(ctx, list, client.Limit(pageSize), client.Continue(list.GetContinue())); err != nil {
					return fmt.Errorf("list %T: %w", list, err)
				}
				if list.GetContinue() == "" {
					return nil
				}
			}
		})
	}
	err := group.Wait()
	return time.Since(began), err
}
