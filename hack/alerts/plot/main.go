// Command plot draws the dashboard of config/prometheus without Grafana: it scrapes what runs for a while, asks the
// dashboard's queries of it by Prometheus' own engine, and writes an SVG.
//
//	go -C hack/alerts run ./plot -for 3m -o /abs/dashboard.svg \
//	    -target issuer-0=http://127.0.0.1:8081/metrics -target manager=https://127.0.0.1:8443/metrics -token "$TOKEN"
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"
)

// rateInterval is what the dashboard's $__rate_interval stands for.
const rateInterval = "20s"

type options struct {
	targets         []target
	token           string
	every, duration time.Duration
	dashboard, out  string
}

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "plot:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	var o options
	flags := flag.NewFlagSet("plot", flag.ContinueOnError)
	flags.Func("target", "POD=URL to scrape; repeat it for more", func(s string) error {
		pod, url, ok := strings.Cut(s, "=")
		if !ok {
			return errors.New("want POD=URL")
		}
		o.targets = append(o.targets, target{pod, url})
		return nil
	})
	flags.StringVar(&o.token, "token", "", "bearer token for https targets")
	flags.DurationVar(&o.every, "every", 2*time.Second, "how often to scrape")
	flags.DurationVar(&o.duration, "for", 3*time.Minute, "how long to scrape")
	flags.StringVar(&o.dashboard, "dashboard", "../../config/prometheus/dashboard.json", "the dashboard")
	flags.StringVar(&o.out, "o", "", "the SVG to write")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if len(o.targets) == 0 || o.out == "" {
		return errors.New("want -target and -o")
	}
	panels, err := readDashboard(o.dashboard)
	if err != nil {
		return err
	}
	store, err := openStore()
	if err != nil {
		return err
	}
	defer store.close()
	start := time.Now()
	if err := store.scrape(ctx, o); err != nil {
		return err
	}
	for i := range panels {
		if err := store.ask(ctx, &panels[i], start, time.Now(), o.every); err != nil {
			return fmt.Errorf("%s: %w", panels[i].title, err)
		}
	}
	return os.WriteFile(o.out, draw(panels), 0o644)
}
