// Package e2e has no code, only tests (build tag e2e): the product in real pods on a real cluster, as its users run it.
// `make e2e` runs them, in some eleven minutes. For six of these Rotation waits until a new signing key may sign.
//
// They bring up the cluster of hack/cluster, and take it down unless KEEP=1. With E2E_USE_CURRENT_CLUSTER=1 they use the
// cluster of $KUBECONFIG instead and install, upgrade and uninstall the operator there, so it must be one for that. It
// must have the images E2E_IMAGE (default localhost/m2m-operator:e2e), the same with -base added to its tag, which is upgraded from,
// localhost/course-api:demo, localhost/publisher:demo and localhost/loader:e2e; E2E_LOAD_IMAGE is a command that is called
// with each tarball, such as "kind load image-archive". The addresses of its pods and Services must be reachable from here.
package e2e
