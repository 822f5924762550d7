package manager

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/test/suite"
)

// obstacle is in the way of a manager's requests whose method and path begin in one way, until it is lifted.
type obstacle struct {
	mu     sync.Mutex
	prefix string
	answer func(*http.Request) (*http.Response, error)
	met    int            // how often it was met
	writes map[string]int // of everything, by path
}

func (o *obstacle) put(prefix string, answer func(*http.Request) (*http.Response, error)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.prefix, o.answer, o.met, o.writes = prefix, answer, 0, map[string]int{}
}

func (o *obstacle) lift() { o.put("", nil) }

func (o *obstacle) count(path string) (met, writes int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.met, o.writes[path]
}

func (o *obstacle) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		o.mu.Lock()
		answer := o.answer
		if answer == nil || !strings.HasPrefix(r.Method+" "+r.URL.Path, o.prefix) {
			answer = next.RoundTrip
			if r.Method != http.MethodGet && o.writes != nil {
				o.writes[r.URL.Path]++
			}
		} else {
			o.met++
		}
		o.mu.Unlock()
		return answer(r)
	})
}

// TestConditionsSayWhatIsWaitedFor: whatever keeps a Secret from being written is said once, and not again at each try.
func TestConditionsSayWhatIsWaitedFor(t *testing.T) {
	way := &obstacle{}
	startManager(t, suite.ManagerOptions{Wrap: way.wrap})
	issuer := tokenIssuer("waiting")
	create(t, issuer, namespace("waiting"))
	awaitReady(t, issuer)
	for name, test := range map[string]struct {
		answer func(*http.Request) (*http.Response, error)
		says   string
	}{
		"fails":       {func(r *http.Request) (*http.Response, error) { return refusal(r, refused500), nil }, "the API server answers 500 InternalError"},
		"unavailable": {func(r *http.Request) (*http.Response, error) { return refusal(r, refused503), nil }, "the API server answers 503 ServiceUnavailable"},
		"throttles": {func(r *http.Request) (*http.Response, error) {
			response := refusal(r, refused429)
			response.Header.Del("Retry-After") // which would be waited for, ten times
			return response, nil
		}, "the API server asks for fewer requests (429)"},
		"slow": {func(*http.Request) (*http.Response, error) { return nil, context.DeadlineExceeded }, "the API server does not answer in time"},
		"gone": {func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") }, "the API server cannot be reached"},
	} {
		t.Run(name, func(t *testing.T) {
			way.put("POST /api/v1/namespaces/waiting/secrets", test.answer)
			defer way.lift()
			c := m2mClient("waiting", name, "waiting")
			create(t, c)
			suite.Eventually(t, func() string {
				got := condition(t, c, v1alpha1.ConditionReady)
				if got.Status != metav1.ConditionFalse || got.Reason != v1alpha1.ReasonWaiting || !strings.Contains(got.Message, test.says) {
					return fmt.Sprintf("%s %s: %s; want %q", got.Status, got.Reason, got.Message, test.says)
				}
				return ""
			})
			status := "/apis/m2m-operator.io/v1alpha1/namespaces/waiting/m2mclients/" + name + "/status"
			tried, said := way.count(status)
			suite.Eventually(t, func() string {
				if met, _ := way.count(status); met < tried+3 {
					return fmt.Sprintf("it was tried %d times", met)
				}
				return ""
			})
			if _, now := way.count(status); now != said {
				t.Errorf("it was said %d times, and %d times after three more tries", said, now)
			}
			way.lift()
			awaitReady(t, c)
		})
	}
}

// TestRequestsThatNobodyAnswersHoldUpNobodyElse, although there are more of them than workers.
func TestRequestsThatNobodyAnswersHoldUpNobodyElse(t *testing.T) {
	way := &obstacle{}
	startManager(t, suite.ManagerOptions{Wrap: way.wrap, Timeout: time.Second})
	issuer := tokenIssuer("hanging")
	create(t, issuer, namespace("hanging"), namespace("not-hanging"))
	awaitReady(t, issuer)
	way.put("POST /api/v1/namespaces/hanging/secrets", func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	})
	var hanging []conditioned
	for i := range 12 {
		c := m2mClient("hanging", fmt.Sprintf("client-%d", i), "hanging")
		hanging = append(hanging, c)
		create(t, c)
	}
	suite.Eventually(t, func() string {
		if met, _ := way.count(""); met < 8 {
			return "nothing hangs"
		}
		return ""
	})
	other := m2mClient("not-hanging", "other", "hanging")
	create(t, other)
	awaitReady(t, other)
	for _, c := range hanging {
		suite.Eventually(t, func() string {
			if got := condition(t, c, v1alpha1.ConditionReady); !strings.Contains(got.Message, "the API server does not answer in time") {
				return fmt.Sprintf("%s: %+v", c.GetName(), got)
			}
			return ""
		})
	}
	way.lift()
	awaitReady(t, hanging...)
}

// TestRefusalsAreConditions: a quota or an admission policy is a person's matter, and says so where people look. What the
// policy says may hold what it was shown, which is kept out.
func TestRefusalsAreConditions(t *testing.T) {
	startManager(t, suite.ManagerOptions{})
	issuer := tokenIssuer("refusals")
	policy := denySecrets(t, "m2m-refusals-pepper", "pepper")
	create(t, issuer, namespace("refusals"))
	limit := allowNone(t, "refusals", "count/configmaps")
	got := awaitRefusal(t, issuer)
	if !strings.Contains(got.Message, "policy saw (secret)") || regexp.MustCompile(`[A-Za-z0-9+/]{40}`).MatchString(got.Message) {
		t.Errorf("the message is %q", got.Message)
	}
	allow(t, policy)
	awaitReady(t, issuer)

	api := apiResource("refusals", "api", "refusals", "read")
	create(t, api)
	if got := awaitRefusal(t, api); !strings.Contains(got.Message, "exceeded quota") {
		t.Errorf("the message is %q", got.Message)
	}
	remove(t, limit)
	awaitReady(t, api)

	policy = denySecrets(t, "publisher", "client_secret")
	c := m2mClient("refusals", "publisher", "refusals")
	create(t, c)
	suite.Eventually(t, func() string {
		got = condition(t, c, v1alpha1.ConditionReady)
		if got.Reason != v1alpha1.ReasonSecretRefused {
			return fmt.Sprintf("condition %+v", got)
		}
		return ""
	})
	if !strings.Contains(got.Message, "policy saw (secret)") || regexp.MustCompile(`[A-Za-z0-9+/]{40}`).MatchString(got.Message) {
		t.Errorf("the message is %q", got.Message)
	}
	allow(t, policy)
	awaitReady(t, c)
}

func awaitRefusal(t *testing.T, object conditioned) (got metav1.Condition) {
	t.Helper()
	suite.Eventually(t, func() string {
		got = condition(t, object, v1alpha1.ConditionReady)
		if got.Status != metav1.ConditionFalse || got.Reason != v1alpha1.ReasonRefused || condition(t, object, v1alpha1.ConditionStalled).Status != metav1.ConditionTrue {
			return fmt.Sprintf("condition %+v", got)
		}
		return ""
	})
	return got
}

// allowNone is a quota of a resource. Nobody counts here, so that what is used has to be said too.
func allowNone(t *testing.T, namespace string, of corev1.ResourceName) *corev1.ResourceQuota {
	t.Helper()
	quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "none"}}
	quota.Spec.Hard = corev1.ResourceList{of: resource.MustParse("0")}
	create(t, quota)
	quota.Status = corev1.ResourceQuotaStatus{Hard: quota.Spec.Hard, Used: quota.Spec.Hard}
	if err := admin.Status().Update(ctx, quota); err != nil {
		t.Fatal(err)
	}
	return quota
}

// denySecrets refuses Secrets of a name, and repeats what one of their keys holds.
func denySecrets(t *testing.T, name, key string) *admissionv1.ValidatingAdmissionPolicy {
	t.Helper()
	policy := &admissionv1.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}}
	policy.Spec.MatchConstraints = &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{
		ResourceNames: []string{name},
		RuleWithOperations: admissionv1.RuleWithOperations{
			Operations: []admissionv1.OperationType{admissionv1.Create, admissionv1.Update},
			Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"secrets"}},
		},
	}}}
	policy.Spec.Validations = []admissionv1.Validation{{
		Expression: "false", MessageExpression: fmt.Sprintf("'policy saw ' + string(object.data['%s'])", key),
	}}
	binding := &admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: name}}
	binding.Spec.PolicyName = name
	binding.Spec.ValidationActions = []admissionv1.ValidationAction{admissionv1.Deny}
	create(t, policy, binding)
	await(t, name, key, true)
	return policy
}

func allow(t *testing.T, policy *admissionv1.ValidatingAdmissionPolicy) {
	t.Helper()
	remove(t, &admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: policy.Name}})
	remove(t, policy)
}

// await waits until the policy is in force.
func await(t *testing.T, name, key string, denied bool) {
	t.Helper()
	suite.Eventually(t, func() string {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Data: map[string][]byte{key: []byte("public")}}
		if err := admin.Create(ctx, secret, client.DryRunAll); (err != nil) != denied {
			return fmt.Sprintf("the policy is not in force: %v", err)
		}
		return ""
	})
}

// TestObjectsOfANamespaceThatIsBeingDeletedSaySo: here it stays so, as it may where something else has a finalizer.
func TestObjectsOfANamespaceThatIsBeingDeletedSaySo(t *testing.T) {
	startManager(t, suite.ManagerOptions{})
	issuer, api := tokenIssuer("departing"), apiResource("departing", "api", "departing", "read")
	c := m2mClient("departing", "publisher", "departing")
	grant := scopeGrant(api, "grant", named(c), "read")
	create(t, issuer, namespace("departing"), api, c, grant)
	awaitReady(t, issuer, api, c, grant)
	remove(t, namespace("departing"))
	for _, object := range []conditioned{api, c, grant} {
		suite.Eventually(t, func() string {
			got := condition(t, object, v1alpha1.ConditionReady)
			if got.Status != metav1.ConditionFalse || got.Reason != v1alpha1.ReasonNamespaceTerminating {
				return fmt.Sprintf("%s: %+v", object.GetName(), got)
			}
			return ""
		})
	}
}
