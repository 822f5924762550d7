// Package tokens measures what a token costs its issuer: CPU time of the issuer's process, user and system, as the kernel
// counts it. The issuers and the bare servers that they are compared with are processes of their own; this one sends
// the requests.
package tokens
