// Package manifests says what the manager writes: names, labels and contents, each a pure function of its inputs. The
// token issuers find what they need by the same names.
package manifests
