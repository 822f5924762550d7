// Package cli is kubectl m2m: the commands, their flags, and how answers are printed. What is answered about access comes
// from internal/review, and so from internal/access.
package cli
