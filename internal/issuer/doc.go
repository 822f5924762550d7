// Package issuer is the HTTP server of one TokenIssuer: it issues access tokens to clients (RFC 6749 section 4.4) and
// publishes what verifiers need to check them. A token request passes through one function a step (parse, authenticate,
// find the audience, decide the scopes, mint), failures are values, and one writer answers. The server keeps nothing and
// asks nobody: a State, which somebody else keeps up to date, holds all that it needs.
package issuer
