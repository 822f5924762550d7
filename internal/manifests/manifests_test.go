package manifests_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/credential"
	"github.com/m2m-operator/m2m-operator/internal/keyring"
	"github.com/m2m-operator/m2m-operator/internal/manifests"
	"github.com/m2m-operator/m2m-operator/internal/pki"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestGolden(t *testing.T) {
	endpoint := manifests.Endpoint{URL: "https://tokens.example.com", Authority: []byte("AUTHORITY PEM\n")}
	client := &v1alpha1.M2MClient{ObjectMeta: metav1.ObjectMeta{Namespace: "jobs", Name: "publisher"}}
	client.Spec.Credential.SecretName = "publisher-credentials"
	api := &v1alpha1.ApiResource{ObjectMeta: metav1.ObjectMeta{Namespace: "courses", Name: "course-api"}}
	api.Spec.Identifier = "https://courses.example.com/api"
	slot := keyring.Slot{Algorithm: v1alpha1.ES256, Generation: 3}
	pepper, err := credential.ParsePepper([]byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	for name, object := range map[string]any{
		"credential":              manifests.Credential(client, endpoint, "SECRET"),
		"credential-system-roots": manifests.Credential(client, manifests.Endpoint{URL: "https://tokens.example.com/"}, "SECRET"),
		"endpoint":                manifests.ClientEndpoint(client, endpoint),
		"endpoint-system-roots":   manifests.ClientEndpoint(client, manifests.Endpoint{URL: "https://tokens.example.com/"}),
		"verifier":                manifests.Verifier(api, endpoint),
		"key-ring":                manifests.Ring("default", "m2m-system", []byte(`{"keys":[]}`), pepper),
		"signing-key":             manifests.SigningKey("default", "m2m-system", slot, []byte("PRIVATE JWK"), "SEAL"),
		"pepper":                  manifests.IssuerSecret("default", "m2m-system", manifests.PepperName("default"), "pepper", map[string][]byte{manifests.KeyPepper: []byte("PEPPER")}),
		"serving-certificate":     manifests.CertificateSecret("default", "m2m-system", "m2m-default-tls", "serving-certificate", pki.Pair{Certificate: []byte("CERT"), Key: []byte("KEY")}, []byte("AUTHORITY")),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := yaml.Marshal(object)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", name+".yaml")
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != string(want) {
				t.Errorf("differs from %s (-update rewrites it):\n%s", file, got)
			}
		})
	}
}

func TestServingNames(t *testing.T) {
	for url, host := range map[string]string{
		"": "m2m-issuer-default.m2m-system.svc", "https://tokens.example.com": "tokens.example.com",
		"https://127.0.0.1:8443/x": "127.0.0.1", "https://[::1]:8443": "::1",
		"https://[2001:DB8::1]": "2001:db8::1", "https://[0:0:0:0:0:0:0:1]:1": "::1", "https://[::ffff:10.0.0.1]": "10.0.0.1",
	} {
		issuer := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
		issuer.Spec.URL = url
		names := strings.Join(manifests.ServingNames(issuer, "m2m-system"), " ")
		for _, want := range []string{host, "m2m-issuer-default", "m2m-issuer-default.m2m-system.svc.cluster.local"} {
			if !strings.Contains(" "+names+" ", " "+want+" ") {
				t.Errorf("url %q: no %s in %s", url, want, names)
			}
		}
	}
}

func TestServingNameIsTheOneOfTheSpec(t *testing.T) {
	issuer := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	if got := manifests.ServingName(issuer); got != "m2m-default-tls" {
		t.Error(got)
	}
	issuer.Spec.TLS = &v1alpha1.TokenIssuerTLS{SecretName: "mine"}
	if got := manifests.ServingName(issuer); got != "mine" {
		t.Error(got)
	}
	if manifests.CertificateSecret("default", "ns", "n", "c", pki.Pair{}, nil).Type != corev1.SecretTypeTLS {
		t.Error("not a kubernetes.io/tls Secret")
	}
}

func TestOneNameForEverySlot(t *testing.T) {
	for name, want := range map[string]keyring.Slot{
		"m2m-default-key-es256-1":                   {Algorithm: v1alpha1.ES256, Generation: 1},
		"m2m-default-key-eddsa-12":                  {Algorithm: v1alpha1.EdDSA, Generation: 12},
		"m2m-default-key-es256-01":                  {},
		"m2m-default-key-es256-+1":                  {},
		"m2m-default-key-ES256-1":                   {},
		"m2m-default-key-es256-0":                   {},
		"m2m-default-key-es256--1":                  {},
		"m2m-default-key-es256-9223372036854775808": {},
		"m2m-default-key-es256":                     {},
		"m2m-default-key-hs256-1":                   {},
		"m2m-other-key-es256-1":                     {},
		"m2m-default-key-ring":                      {},
	} {
		slot, ok := manifests.SlotOf("default", name)
		if slot != want || ok != (want != keyring.Slot{}) {
			t.Errorf("%s: %v %t", name, slot, ok)
		}
		if ok && manifests.KeyName("default", slot) != name {
			t.Errorf("%s is called %s", name, manifests.KeyName("default", slot))
		}
	}
}
