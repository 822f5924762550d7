// Package nightly runs the publisher's CronJob of hack/demo/pods.yaml without waiting for the night, for the demo and the
// end-to-end tests.
package nightly

import (
	"context"
	"fmt"
	"net/http"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
)

const (
	namespace = "jobs"
	cronJob   = "publisher"

	patience = time.Minute
	interval = 50 * time.Millisecond
)

// AwaitAPI waits until the course API answers under its Service's address. That takes a moment longer than its pod's
// readiness: kube-proxy has to hear of it.
func AwaitAPI(ctx context.Context, clients kubernetes.Interface) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("the course API's Service does not answer within %s", patience))
	defer cancel()
	service, err := clients.CoreV1().Services("courses").Get(ctx, "course-api", metav1.GetOptions{})
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+service.Spec.ClusterIP+"/healthz", nil)
	if err != nil {
		return err
	}
	direct := &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	return poll(ctx, func(context.Context) (bool, error) {
		response, err := direct.Do(request)
		if err != nil {
			return false, nil
		}
		return response.StatusCode == http.StatusOK, response.Body.Close()
	})
}

// Result of a run that has ended, well or not.
type Result struct {
	Succeeded bool
	Log       string
	Took      time.Duration
}

// Run creates a Job of that name, as the CronJob would, and waits until it has ended. One that is there already from an
// earlier night is replaced.
func Run(ctx context.Context, clients kubernetes.Interface, name string) (Result, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("job %s has not ended within %s", name, patience))
	defer cancel()
	if err := remove(ctx, clients, name); err != nil {
		return Result{}, err
	}
	cron, err := clients.BatchV1().CronJobs(namespace).Get(ctx, cronJob, metav1.GetOptions{})
	if err != nil {
		return Result{}, err
	}
	began := time.Now()
	job, err := clients.BatchV1().Jobs(namespace).Create(ctx, &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Labels: cron.Spec.JobTemplate.Labels,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(cron, batchv1.SchemeGroupVersion.WithKind("CronJob"))},
		},
		Spec: cron.Spec.JobTemplate.Spec,
	}, metav1.CreateOptions{})
	if err != nil {
		return Result{}, err
	}
	if job, err = ended(ctx, clients, job); err != nil {
		return Result{}, err
	}
	result := Result{Succeeded: job.Status.Succeeded > 0, Took: time.Since(began)}
	result.Log, err = output(ctx, clients, job)
	return result, err
}

func remove(ctx context.Context, clients kubernetes.Interface, name string) error {
	background := metav1.DeletePropagationBackground // or the pods would stay
	jobs := clients.BatchV1().Jobs(namespace)
	err := jobs.Delete(ctx, name, metav1.DeleteOptions{PropagationPolicy: &background})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return poll(ctx, func(ctx context.Context) (bool, error) {
		_, err := jobs.Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return true, nil
		}
		return false, err
	})
}

func ended(ctx context.Context, clients kubernetes.Interface, job *batchv1.Job) (last *batchv1.Job, err error) {
	err = poll(ctx, func(ctx context.Context) (bool, error) {
		if last, err = clients.BatchV1().Jobs(namespace).Get(ctx, job.Name, metav1.GetOptions{}); err != nil {
			return false, err
		}
		for _, c := range last.Status.Conditions {
			if (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) && c.Status == corev1.ConditionTrue {
				return true, nil
			}
		}
		return false, nil
	})
	return last, err
}

// output of the Job's one pod: it is not tried again.
func output(ctx context.Context, clients kubernetes.Interface, job *batchv1.Job) (string, error) {
	pods, err := clients.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: batchv1.ControllerUidLabel + "=" + string(job.UID)})
	if err != nil {
		return "", err
	}
	if len(pods.Items) != 1 {
		return "", fmt.Errorf("job %s has %d pods", job.Name, len(pods.Items))
	}
	text, err := clients.CoreV1().Pods(namespace).GetLogs(pods.Items[0].Name, &corev1.PodLogOptions{}).DoRaw(ctx)
	return string(text), err
}

func poll(ctx context.Context, condition wait.ConditionWithContextFunc) error {
	err := wait.PollUntilContextCancel(ctx, interval, true, condition)
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx) // which says what was waited for
	}
	return err
}
