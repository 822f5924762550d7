// Package scenarios plays the stories of config/samples against a running product: a real kube-apiserver, the manager, and
// a token issuer that is asked over TLS with what is in the credential Secrets. What the stories do not tell of the newer
// fields is tested beside them.
package scenarios
