package tokens

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/keyring"
)

// Paths of the bare server.
const (
	pathSign         = "/sign/" // and the algorithm
	pathUnauthorized = "/unauthorized"
	pathIntrospect   = "/introspect"
	pathJWKS         = "/jwks"
)

// signedSize is how much the bare server signs.
const signedSize = 200

// fixed is an answer of the issuer's kind and size that nothing is thought about.
type fixed struct {
	status int
	header http.Header
	body   []byte
}

func newFixed(status, size int, more ...string) fixed {
	f := fixed{status: status, header: http.Header{"X-Content-Type-Options": {"nosniff"}}, body: []byte(strings.Repeat("x", size))}
	for i := 0; i < len(more); i += 2 {
		f.header.Set(more[i], more[i+1])
	}
	if status != http.StatusNotModified {
		f.header.Set("Content-Length", strconv.Itoa(size))
	}
	return f
}

// uncached is what answers have that must not be stored.
var uncached = []string{"Content-Type", "application/json", "Cache-Control", "no-store", "Pragma", "no-cache"}

func (f fixed) write(w http.ResponseWriter, r *http.Request) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return
	}
	maps.Copy(w.Header(), f.header)
	w.WriteHeader(f.status)
	_, _ = w.Write(f.body)
}

// newBare makes the handler of servers that do nothing but what has to be done: they read the body, sign, and write.
func newBare(w world) (http.Handler, error) {
	mux := http.NewServeMux()
	signers, err := newSigners(w)
	if err != nil {
		return nil, err
	}
	token := newFixed(http.StatusOK, 800, uncached...)
	input := make([]byte, signedSize)
	for algorithm, sign := range signers {
		mux.HandleFunc(pathSign+string(algorithm), func(w http.ResponseWriter, r *http.Request) {
			if err := sign(input); err != nil {
				http.Error(w, "", http.StatusInternalServerError)
				return
			}
			token.write(w, r)
		})
	}
	challenge := append([]string{"Www-Authenticate", `Basic realm="` + issuerURL + `", charset="UTF-8"`}, uncached...)
	mux.HandleFunc(pathUnauthorized, newFixed(http.StatusUnauthorized, 82, challenge...).write)
	mux.HandleFunc(pathIntrospect, newFixed(http.StatusOK, 320, uncached...).write)
	mux.HandleFunc(pathJWKS, newFixed(http.StatusNotModified, 0, "Etag", `"0123456789012345678901"`,
		"Cache-Control", "public, max-age=300, stale-if-error=300", "Access-Control-Allow-Origin", "*", keyring.Header, "0123456789abcdef").write)
	return mux, nil
}

// signer makes one signature, and forgets it.
type signer func(input []byte) error

// newSigners are the standard library's, as raw as they are.
func newSigners(w world) (map[v1alpha1.SigningAlgorithm]signer, error) {
	signers := map[v1alpha1.SigningAlgorithm]signer{}
	for _, text := range w.Keys {
		key, err := keyring.ParsePrivate(text)
		if err != nil {
			return nil, err
		}
		switch private := key.Key.(type) {
		case *ecdsa.PrivateKey:
			signers[v1alpha1.ES256] = func(input []byte) error {
				digest := sha256.Sum256(input)
				_, err := ecdsa.SignASN1(rand.Reader, private, digest[:])
				return err
			}
		case *rsa.PrivateKey:
			signers[v1alpha1.RS256] = func(input []byte) error {
				digest := sha256.Sum256(input)
				_, err := rsa.SignPKCS1v15(nil, private, crypto.SHA256, digest[:])
				return err
			}
		case crypto.Signer:
			signers[v1alpha1.EdDSA] = func(input []byte) error {
				_, err := private.Sign(nil, input, crypto.Hash(0))
				return err
			}
		default:
			return nil, fmt.Errorf("no way to sign with a %T", private)
		}
	}
	return signers, nil
}
