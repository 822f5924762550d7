// Package graph draws who may call what: as Mermaid and Graphviz text, and as one page of HTML that needs nothing else.
// What is allowed it has from internal/review, and so from the engine that issues. It does no I/O, and knows no time but
// the one that it is given.
//
// Everything that the objects say is tenants' input: names, descriptions, scopes and messages stay text in all three.
package graph
