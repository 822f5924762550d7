package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/m2m-operator/m2m-operator/hack/controlplane"
)

const (
	// stageCommand is how the demo starts itself a second time.
	stageCommand = "stage"
	// wordKeep, on the stage's standard input, says that the stage shall outlive the demo.
	wordKeep = "keep"
	// reportFD is the pipe on which the stage reports to the demo.
	reportFD = 3

	installNamespace = "m2m-system"
	issuerName       = "default"
	issuerCount      = 2
)

// report of the stage to the demo, one JSON object a line. Exactly one field is set.
type report struct {
	Done   string `json:"done,omitempty"`   // a step of the building has succeeded
	Ready  *state `json:"ready,omitempty"`  // all stands
	Kept   bool   `json:"kept,omitempty"`   // the stage will outlive the demo
	Failed string `json:"failed,omitempty"` // the stage ends
}

// stage holds everything that the demo plays in front of.
type stage struct {
	at       paths
	reports  *json.Encoder
	plane    *controlplane.ControlPlane
	mu       sync.Mutex // guards what follows: the course API comes late
	state    state
	children []*process
}

func runStage(ctx context.Context, at paths) error {
	syscall.CloseOnExec(reportFD) // the demo waits for its end: no child may keep it open
	pipe := os.NewFile(reportFD, "reports")
	lock, err := takeLock(at)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := clearStage(at); err != nil {
		return err
	}
	s := &stage{at: at, reports: json.NewEncoder(pipe), state: state{PID: os.Getpid()}}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go s.listenToDemo(cancel)

	err = s.build(ctx)
	if err == nil {
		ready := s.state
		s.tell(report{Ready: &ready})
		err = s.mountVerifierAndStartCourseAPI(ctx)
	}
	if err != nil && ctx.Err() == nil {
		s.tell(report{Failed: err.Error()})
	} else {
		err = nil
		<-ctx.Done()
	}
	return errors.Join(err, s.tearDown())
}

// listenToDemo ends the stage when the demo is gone, unless the demo has said that it shall be kept.
func (s *stage) listenToDemo(end func()) {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		if lines.Text() != wordKeep {
			continue
		}
		s.mu.Lock()
		s.state.Kept = true
		err := writeState(s.at, s.state)
		s.mu.Unlock()
		if err == nil {
			s.tell(report{Kept: true})
			return
		}
		log.Printf("stage: %v", err)
	}
	end()
}

func (s *stage) tell(r report) {
	if err := s.reports.Encode(r); err != nil {
		log.Printf("stage: nobody hears %+v: %v", r, err) // the demo is gone; listenToDemo notices
	}
}

func (s *stage) done(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	log.Printf("stage: %s", text)
	s.tell(report{Done: text})
}

func (s *stage) build(ctx context.Context) error {
	addresses, err := freeAddresses(2 + 2*issuerCount + 1)
	if err != nil {
		return err
	}
	if s.plane, err = controlplane.Start(ctx, controlplane.Options{LogDir: s.at.log}); err != nil {
		return err
	}
	if err := controlplane.WriteKubeconfig(s.at.kubeconfig, s.plane.AdminKubeconfig()); err != nil {
		return err
	}
	s.done("etcd and kube-apiserver are up, with RBAC")
	if err := s.install(ctx); err != nil {
		return err
	}
	// The balancer's port is the issuer URL's, and the TokenIssuer names it before any issuer is there.
	front, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.state.IssuerURL = "https://" + front.Addr().String()
	s.state.CourseAPI = "http://" + addresses[0]
	if err := s.createTokenIssuer(ctx); err != nil {
		return err
	}
	if err := s.startOperator(ctx, addresses[1:]); err != nil {
		return err
	}
	go func() {
		if err := newBalancer(s.state.Issuers).serve(ctx, front); err != nil {
			log.Printf("stage: balancer: %v", err)
		}
	}()
	return nil
}

func (s *stage) install(ctx context.Context) error {
	if err := s.plane.InstallManifests(ctx, "config/crd/bases"); err != nil {
		return err
	}
	s.done("CustomResourceDefinitions of config/crd are served")
	if err := s.plane.InstallManifests(ctx, "config/rbac"); err != nil {
		return err
	}
	s.done("ServiceAccounts and RBAC of config/rbac are in")
	return nil
}

func (s *stage) createTokenIssuer(ctx context.Context) error {
	file := filepath.Join(s.at.run, "tokenissuer.yaml")
	text := fmt.Sprintf("apiVersion: m2m-operator.io/v1alpha1\nkind: TokenIssuer\nmetadata:\n  name: %s\nspec:\n  url: %s\n",
		issuerName, s.state.IssuerURL)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	if err := s.plane.InstallManifests(ctx, file); err != nil {
		return err
	}
	s.done("TokenIssuer %s says that its URL is %s", issuerName, s.state.IssuerURL)
	return nil
}

// startOperator starts the manager and the issuers, each as its own ServiceAccount and nothing more.
func (s *stage) startOperator(ctx context.Context, addresses []string) error {
	metrics, health := addresses[0], addresses[1]
	kubeconfig, err := s.writeKubeconfig(ctx, "m2m-manager")
	if err != nil {
		return err
	}
	manager, err := s.start("m2m-manager", filepath.Join(s.at.bin, "m2m-manager"),
		"--kubeconfig", kubeconfig, "--namespace", installNamespace, "--leader-elect=true",
		"--metrics-listen", metrics, "--health-listen", health)
	if err != nil {
		return err
	}
	s.state.ManagerPID = manager.pid()
	if kubeconfig, err = s.writeKubeconfig(ctx, "m2m-issuer"); err != nil {
		return err
	}
	var issuers []*process
	for i := range issuerCount {
		address, ops := addresses[2+2*i], addresses[3+2*i]
		issuer, err := s.start(fmt.Sprintf("m2m-issuer-%d", i+1), filepath.Join(s.at.bin, "m2m-issuer"),
			"--kubeconfig", kubeconfig, "--namespace", installNamespace, "--token-issuer", issuerName,
			"--listen", address, "--ops-listen", ops, "--drain-delay", drainDelay.String())
		if err != nil {
			return err
		}
		issuers = append(issuers, issuer)
		s.state.Issuers = append(s.state.Issuers, issuerProcess{PID: issuer.pid(), Address: address, Ops: ops})
	}
	if err := manager.awaitReady(ctx, "http://"+health+"/readyz"); err != nil {
		return err
	}
	s.done("m2m-manager is ready: process %d, ServiceAccount %s/m2m-manager", manager.pid(), installNamespace)
	for i, issuer := range issuers {
		if err := issuer.awaitReady(ctx, s.state.Issuers[i].readyURL()); err != nil {
			return err
		}
		s.done("m2m-issuer %d of %d is ready: process %d, ServiceAccount %s/m2m-issuer", i+1, issuerCount, issuer.pid(), installNamespace)
	}
	return nil
}

func (s *stage) writeKubeconfig(ctx context.Context, account string) (string, error) {
	contents, err := s.plane.ServiceAccountKubeconfig(ctx, installNamespace, account)
	if err != nil {
		return "", err
	}
	file := filepath.Join(s.at.run, account+".kubeconfig")
	return file, controlplane.WriteKubeconfig(file, contents)
}

// mountVerifierAndStartCourseAPI plays the kubelet: a pod that mounts a ConfigMap starts when the ConfigMap is there.
func (s *stage) mountVerifierAndStartCourseAPI(ctx context.Context) error {
	dir := filepath.Join(s.at.run, "course-api-verifier")
	if err := mountConfigMap(ctx, s.plane.Client(), "courses", "course-api-verifier", dir); err != nil {
		return err
	}
	address := s.state.CourseAPI[len("http://"):]
	_, err := s.start("course-api", filepath.Join(s.at.bin, "course-api"), "--verifier-dir", dir, "--listen", address)
	return err
}

func (s *stage) start(name, binary string, args ...string) (*process, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := startProcess(s.at, name, binary, args...)
	if err != nil {
		return nil, err
	}
	s.children = append(s.children, p)
	s.state.Processes = append(s.state.Processes, p.pid())
	return p, writeState(s.at, s.state)
}

// tearDown ends all processes and removes what only made sense while they ran: credentials above all.
func (s *stage) tearDown() error {
	const patience = 10 * time.Second
	var ended sync.WaitGroup
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, child := range s.children {
		ended.Go(func() { child.end(patience) })
	}
	ended.Wait()
	var err error
	if s.plane != nil {
		err = s.plane.Stop()
	}
	err = errors.Join(err, os.RemoveAll(s.at.env), os.RemoveAll(s.at.run))
	if err != nil {
		log.Printf("stage: end: %v", err)
	}
	return err
}

// clearStage removes what an earlier stage has left, but for stage.log, which is ours already.
func clearStage(at paths) error {
	logs, err := filepath.Glob(filepath.Join(at.log, "*.log"))
	if err != nil {
		return err
	}
	for _, old := range logs {
		if old != at.logOf(stageCommand) {
			err = errors.Join(err, os.Remove(old))
		}
	}
	return errors.Join(err, os.RemoveAll(at.env), os.RemoveAll(at.run), os.MkdirAll(at.run, 0o700))
}
