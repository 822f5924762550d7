package pki

import (
	"bytes"
	"time"
)

// AnnouncePeriod is how long an authority is published before it signs anything, and how long it stays published after
// it was replaced: until everybody who mounts a bundle has seen it.
const AnnouncePeriod = 24 * time.Hour

// Authorities are the authority that signs, the one that will, and those that did. Verifiers are told of all of them.
type Authorities struct {
	// Current signs. It is empty when its key was lost; then nothing is signed until Next takes its place.
	Current Pair
	// Next is published and does not sign yet.
	Next      Pair
	NextSince time.Time
	// Previous are PEM certificates of authorities that sign no more.
	Previous      []byte
	PreviousSince time.Time
}

// Bundle is what verifiers trust, PEM.
func (a Authorities) Bundle() []byte {
	var parts [][]byte
	for _, part := range [][]byte{a.Current.Certificate, a.Next.Certificate, a.Previous} {
		if part = bytes.TrimSpace(part); len(part) > 0 {
			parts = append(parts, append(part, '\n'))
		}
	}
	return bytes.Join(parts, nil)
}

// Advance takes the one step that is due, and says why and when to look again. The reason is "" if nothing is due.
// serving is the certificate that is in use: as long as it is good, an authority whose key was lost is replaced in the
// same order as one that is old, so that nobody meets a certificate of an authority that he has not heard of.
func (a Authorities) Advance(commonName string, serving Pair, now time.Time) (next Authorities, reason string, due time.Time, err error) {
	current, _, _ := parse(a.Current)
	if current != nil && !now.Before(current.NotAfter) {
		current = nil
	}
	leaf, _, _ := parse(serving)
	inUse := leaf != nil && now.Before(leaf.NotAfter)
	_, _, nextErr := parse(a.Next)
	announced := nextErr == nil
	switch {
	case announced && (!now.Before(a.NextSince.Add(AnnouncePeriod)) || (current == nil && !inUse)):
		a.Previous, a.PreviousSince = bytes.TrimSpace(append(bytes.Clone(a.Current.Certificate), a.Previous...)), now
		a.Current, a.Next = a.Next, Pair{}
		return a, "the next authority has been published long enough to sign", now.Add(AnnouncePeriod), nil
	case announced:
		return a, "", a.NextSince.Add(AnnouncePeriod), nil
	case current == nil && !inUse:
		a.Current, err = NewAuthority(commonName, now)
		return a, "there was none", now.Add(AuthorityLife * 2 / 3), err
	case current == nil:
		a.Next, err = NewAuthority(commonName, now)
		a.NextSince = now
		return a, "the key of the one before is gone; the new one is published before it signs", now.Add(AnnouncePeriod), err
	case !now.Before(RenewalTime(current)):
		a.Next, err = NewAuthority(commonName, now)
		a.NextSince = now
		return a, "two thirds of the life of the one before have passed; the new one is published before it signs", now.Add(AnnouncePeriod), err
	case len(a.Previous) > 0 && !now.Before(a.PreviousSince.Add(AnnouncePeriod)):
		a.Previous = nil
		return a, "the one before is not needed any more", RenewalTime(current), nil
	case len(a.Previous) > 0:
		return a, "", a.PreviousSince.Add(AnnouncePeriod), nil
	}
	return a, "", RenewalTime(current), nil
}
