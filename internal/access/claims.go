package access

import (
	"cmp"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// birth decides between those who claim the same.
type birth struct {
	created time.Time
	key     types.NamespacedName
}

// compare orders the older before the younger. What was never created, being a manifest for preview, is younger than
// all that was.
func (b birth) compare(other birth) int {
	if b.created.IsZero() != other.created.IsZero() {
		if b.created.IsZero() {
			return 1
		}
		return -1
	}
	return cmp.Or(b.created.Compare(other.created), compareKeys(b.key, other.key))
}

// claims lists who claims something that one alone can have, the oldest first. The first one that is not gone has it.
type claims[K comparable, R interface{ birth() birth }] map[K][]R

func (c claims[K, R]) add(what K, by R) {
	at, _ := c.find(what, by)
	c[what] = slices.Insert(c[what], at, by)
}

func (c claims[K, R]) remove(what K, by R) {
	at, found := c.find(what, by)
	if !found {
		return
	}
	if c[what] = slices.Delete(c[what], at, at+1); len(c[what]) == 0 {
		delete(c, what)
	}
}

func (c claims[K, R]) find(what K, by R) (int, bool) {
	return slices.BinarySearchFunc(c[what], by.birth(), func(r R, b birth) int { return r.birth().compare(b) })
}

// holder is who has it, nil if nobody does.
func (c claims[K, R]) holder(what K, x *Index) (none R) {
	for _, r := range c[what] {
		if !x.gone(r.birth().key.Namespace) {
			return r
		}
	}
	return none
}
