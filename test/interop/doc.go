// Package interop has no code, only tests (build tag interop): OAuth clients and token verifiers that nobody here wrote,
// each against running issuers over TLS. `make interop` runs them, and installs what is not there yet: tools.sh.
//
// The scripts of node and python use a library as its own documentation does. The requests and verifiers of
// testdata/documents are the words of five identity products' documents on machine-to-machine authorization; what has to
// be said otherwise for them to work here is listed in documents_test.go, with the reason.
package interop
