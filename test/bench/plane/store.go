package plane

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
)

// perTransaction is how many objects etcd takes at once, unless it is told otherwise.
const perTransaction = 100

// multiplied puts objects into etcd that are like one that the API server has made: a hundred thousand would take it longer
// to make than all else takes that is measured.
type multiplied struct {
	resource string
	like     *unstructured.Unstructured
}

// multiply reads the object as the API server serves it.
func (b *bench) multiply(ctx context.Context, kind, resource string, like types.NamespacedName) (*multiplied, error) {
	m := &multiplied{resource: resource, like: &unstructured.Unstructured{}}
	m.like.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
	return m, b.admin.Get(ctx, like, m.like)
}

// as is an object as it stands in etcd: with what the API server has filled in for the one that it is like.
func (m *multiplied) as(object client.Object) (key string, value []byte, err error) {
	own, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		return "", nil, err
	}
	out := m.like.DeepCopy()
	out.SetResourceVersion("")
	out.SetUID(uuid.NewUUID())
	out.SetNamespace(object.GetNamespace())
	out.SetName(object.GetName())
	out.SetLabels(object.GetLabels())
	maps.Copy(out.Object["spec"].(map[string]any), own["spec"].(map[string]any))
	value, err = json.Marshal(out.Object)
	return fmt.Sprintf("/registry/%s/%s/%s/%s", v1alpha1.GroupVersion.Group, m.resource, object.GetNamespace(), object.GetName()), value, err
}

// put makes objects from the first to the last but one.
func (b *bench) put(ctx context.Context, m *multiplied, first, end int, made func(i int) client.Object) error {
	transactions := (end - first + perTransaction - 1) / perTransaction
	return parallel(ctx, transactions, workers, func(ctx context.Context, n int) error {
		type put struct {
			Key   []byte `json:"key"`
			Value []byte `json:"value"`
		}
		var puts []map[string]put
		for i := first + n*perTransaction; i < min(first+(n+1)*perTransaction, end); i++ {
			key, value, err := m.as(made(i))
			if err != nil {
				return err
			}
			puts = append(puts, map[string]put{"requestPut": {[]byte(key), value}})
		}
		return b.transact(ctx, map[string]any{"success": puts})
	})
}

// transact has etcd carry out a transaction, by its JSON gateway.
func (b *bench) transact(ctx context.Context, transaction any) error {
	body, err := json.Marshal(transaction)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, b.plane.Store()+"/v3/kv/txn", bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		answer, _ := io.ReadAll(response.Body)
		return fmt.Errorf("etcd answers %s: %s", response.Status, answer)
	}
	return nil
}
