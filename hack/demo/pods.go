package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/hack/demo/nightly"
)

const (
	managerName = "m2m-manager"
	programs    = "hack/demo/pods.yaml"
)

// playInPods is the demo on a real cluster, from nothing to the verdict.
func playInPods(ctx context.Context, at paths, out *terminal, keep bool) error {
	lock, err := takeLock(at)
	if err != nil {
		return err
	}
	defer lock.Close()
	began := time.Now()
	out.line("%s", out.paint(bold, "m2m-operator demo: a nightly job may publish courses, and nothing else"))
	out.section("A Kubernetes cluster on this machine, with a kubelet and pods")
	c := &cluster{at: at, out: out}
	err = c.raise(ctx)
	if err == nil {
		err = playBeforeCluster(ctx, at, out, c.found)
	}
	interrupted := ctx.Err() != nil
	keep = (keep || c.found) && !interrupted
	if err != nil && !interrupted {
		explainPods(at, out, err)
	}
	if keep {
		sayWhatToTryInPods(at, out, c.found)
	} else if endErr := c.end(); endErr != nil {
		err = errors.Join(err, endErr)
		out.failed("%v", endErr)
	}
	switch {
	case interrupted:
		out.failed("Interrupted. The cluster is gone.")
		return errTold
	case err != nil:
		return errTold
	}
	out.verdict("All of it happened, in %.0f s.", time.Since(began).Seconds())
	return nil
}

func playBeforeCluster(ctx context.Context, at paths, out *terminal, found bool) error {
	assets, err := findAssets(ctx)
	if err != nil {
		return err
	}
	if err := errors.Join(linkKubectl(at, assets), os.RemoveAll(at.run), os.MkdirAll(at.run, 0o700)); err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", at.kubeconfig)
	if err != nil {
		return err
	}
	config.QPS = -1 // it looks often
	p := &podScenario{found: found}
	if p.clients, err = kubernetes.NewForConfig(config); err != nil {
		return err
	}
	if p.scenario, err = newScenario(at, out, state{}); err != nil {
		return err
	}
	return p.tell(ctx, []chapter{
		{"One command installs the operator", p.install},
		{"Two teams apply YAML: an API, a client, and what the client may do", p.applySamples},
		{"The job's team gets a Secret to mount", p.showCredential},
		{"The API is a Deployment, the nightly job a CronJob, each with what the operator made for it", p.runPrograms},
		{"The API's team takes the grant away, and gives it back, while there is no manager", p.removeAndRestore},
		{"The client is suspended, and let go again", p.suspendAndResume},
	})
}

// podScenario is the scenario where every program is a pod.
type podScenario struct {
	*scenario
	clients kubernetes.Interface
	found   bool // the cluster may hold what somebody has done with it before
	nights  int
}

func (p *podScenario) install(ctx context.Context) error {
	if p.found {
		for _, remains := range [][]string{{"namespace", "courses", "jobs"}, {"-k", "config/default"}} {
			if err := p.kubectl(ctx, append([]string{"delete", "--ignore-not-found"}, remains...)...); err != nil {
				return err
			}
		}
	}
	for _, args := range [][]string{
		{"apply", "-k", "config/default"},
		{"wait", "--for=create", "tokenissuer/" + issuerName, "--timeout=60s"},
		{"wait", "--for=condition=Ready", "tokenissuer/" + issuerName, "--timeout=60s"},
		{"rollout", "status", "-n", installNamespace, "deployment/m2m-issuer-" + issuerName, "--timeout=60s"},
		{"get", "pods", "-n", installNamespace},
	} {
		if err := p.kubectl(ctx, args...); err != nil {
			return err
		}
	}
	return p.findIssuers(ctx)
}

// findIssuers notes where each issuer answers: the machine can dial pods, which the story needs to ask each by itself.
func (p *podScenario) findIssuers(ctx context.Context) error {
	if err := p.kube.Get(ctx, client.ObjectKeyFromObject(&p.issuer), &p.issuer); err != nil {
		return err
	}
	p.stage.IssuerURL = p.issuer.Status.URL
	var pods corev1.PodList
	if err := p.kube.List(ctx, &pods, client.InNamespace(installNamespace), client.MatchingLabels{"app.kubernetes.io/name": "m2m-issuer"}); err != nil {
		return err
	}
	for _, pod := range pods.Items {
		p.stage.Issuers = append(p.stage.Issuers, issuerProcess{Address: net.JoinHostPort(pod.Status.PodIP, "8443")})
	}
	if len(p.stage.Issuers) != issuerCount {
		return fmt.Errorf("there are %d issuer pods, not %d", len(p.stage.Issuers), issuerCount)
	}
	p.out.ok("%d issuers answer for %s", issuerCount, p.stage.IssuerURL)
	return nil
}

func (p *podScenario) runPrograms(ctx context.Context) error {
	if err := p.kubectl(ctx, "apply", "--server-side", "-f", programs); err != nil {
		return err
	}
	if err := p.kubectl(ctx, "rollout", "status", "-n", p.api.Namespace, "deployment/course-api", "--timeout=60s"); err != nil {
		return err
	}
	if err := nightly.AwaitAPI(ctx, p.clients); err != nil {
		return err
	}
	return p.night(ctx, true, "published  ")
}

// night runs the CronJob's Job now, and checks how it ends and what it says.
func (p *podScenario) night(ctx context.Context, well bool, says string) error {
	p.nights++
	name := fmt.Sprintf("night-%d", p.nights)
	p.out.command("kubectl create job -n %s %s --from=cronjob/publisher; kubectl logs -n %[1]s -f job/%[2]s", p.client.Namespace, name)
	ran, err := nightly.Run(ctx, p.clients, name)
	if err != nil {
		return err
	}
	p.out.block(ran.Log)
	if ran.Succeeded != well || !strings.Contains(ran.Log, says) {
		return fmt.Errorf("job %s ended with succeeded=%t, want %t and a log that has %q", name, ran.Succeeded, well, says)
	}
	p.out.okTook(ran.Took, "%s", map[bool]string{true: "the job has succeeded", false: "the job has failed, and names the reason"}[well])
	return nil
}

// removeAndRestore without a manager: neither taking away nor giving may depend on it.
func (p *podScenario) removeAndRestore(ctx context.Context) error {
	if err := p.scaleManagers(ctx, 0); err != nil {
		return err
	}
	if err := p.kubectl(ctx, "wait", "--for=delete", "pod", "-n", installNamespace, "-l", "app.kubernetes.io/name="+managerName, "--timeout=60s"); err != nil {
		return err
	}
	if err := p.deleteGrant(ctx); err != nil {
		return err
	}
	if err := p.night(ctx, false, "publisher: no token: "+refusedTarget.code); err != nil {
		return err
	}
	if err := p.restoreGrant(ctx); err != nil {
		return err
	}
	if err := p.night(ctx, true, "got a token"); err != nil {
		return err
	}
	return p.scaleManagers(ctx, 2)
}

func (p *podScenario) scaleManagers(ctx context.Context, replicas int) error {
	return p.kubectl(ctx, "scale", "-n", installNamespace, "deployment/"+managerName, fmt.Sprintf("--replicas=%d", replicas))
}

func (p *podScenario) suspendAndResume(ctx context.Context) error {
	if err := p.change(ctx, "refuses", granted, refusedClient, p.suspend("true")); err != nil {
		return err
	}
	if err := p.night(ctx, false, "publisher: no token: "+refusedClient.code); err != nil {
		return err
	}
	if err := p.resumeClient(ctx); err != nil {
		return err
	}
	return p.night(ctx, true, "got a token")
}

// explainPods says what has failed while the cluster is still there to be asked.
func explainPods(at paths, out *terminal, err error) {
	out.failed("%v", err)
	if pods, err := exec.Command(filepath.Join(at.bin, "kubectl"), "--kubeconfig", at.kubeconfig, "get", "pods", "-A").CombinedOutput(); err == nil {
		out.block(string(pods))
	}
	logs, _ := filepath.Glob(filepath.Join(at.log, "pods", "*", "*", "*.log"))
	if len(logs) == 0 { // it has not got as far as pods
		logs, _ = filepath.Glob(filepath.Join(at.log, "*.log"))
	}
	for _, path := range logs {
		out.showEnd(path)
	}
}

// sayWhatToTryInPods is for KEEP=1.
func sayWhatToTryInPods(at paths, out *terminal, found bool) {
	out.section("The cluster keeps running: try it")
	for _, command := range []string{
		"export KUBECONFIG=" + at.kubeconfig + " NO_PROXY=" + clusterNetwork + " PATH=$PATH:" + at.bin,
		"kubectl get pods,m2m -A",
		"kubectl create job -n jobs try --from=cronjob/publisher && kubectl logs -n jobs -f job/try",
		"kubectl logs -n " + installNamespace + " -l app.kubernetes.io/name=m2m-issuer",
		"kubectl delete pod -n " + installNamespace + " -l app.kubernetes.io/name=m2m-issuer     # they come back",
		"kubectl delete tokenissuer " + issuerName + "     # its pods go, its keys stay",
	} {
		out.command("%s", command)
	}
	if found {
		out.say("`hack/cluster/cluster.sh down` ends it.")
		return
	}
	out.say("`make demo-stop` ends it.")
}
