// Package snapshot keeps, in a file, what a token server needs after a restart while the API server is away.
//
// The file is a log: a header and then entries, each of which says what one thing is now, or that it is gone; the last
// word on a thing holds. So a change costs one short write however much there is. When most of what is in the file is
// outdated, what holds is copied into a new file that takes the place of the old one in a single step, so that at every
// moment one of them is whole.
//
// Every entry is encrypted and authenticated (AES-256-GCM) under a key of the TokenIssuer's pepper and a salt that is
// new in each file. An entry that was altered, moved, left out or added, and a file of another TokenIssuer, of another
// pepper or of a later form, is refused as a whole. A file that merely ends early is what a crash leaves: the entries
// before hold. Who can cut the file short can therefore bring an older state back; that takes the rights of the container
// itself, whose environment has the pepper too.
package snapshot
