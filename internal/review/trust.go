package review

import (
	"cmp"
	"crypto"
	"encoding/base64"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/access"
)

// differing gathers what differs of one object.
type differing struct {
	about Change
	found []Change
}

func (d *differing) add(widens bool, format string, args ...any) {
	c := d.about
	c.Sign, c.Widens, c.Detail = Differs, widens, fmt.Sprintf(format, args...)
	d.found = append(d.found, c)
}

// set tells what is in one list and not in the other. What is added widens, or what is removed does.
func (d *differing) set(before, after []string, widens bool, added, removed string) {
	if more := without(after, before); len(more) > 0 {
		d.add(widens, added, few(more))
	}
	if less := without(before, after); len(less) > 0 {
		d.add(!widens, removed, few(less))
	}
}

func without(items, others []string) []string {
	return slices.DeleteFunc(slices.Clone(items), func(item string) bool { return slices.Contains(others, item) })
}

// revocation tells how the instant moves before which tokens are revoked.
func (d *differing) revocation(before, after time.Time) {
	switch {
	case before.Equal(after):
	case after.IsZero():
		d.add(true, "tokens issued before %s are no longer revoked", before.UTC().Format(time.RFC3339))
	case after.Before(before):
		d.add(true, "tokens issued from %s to %s are no longer revoked", after.UTC().Format(time.RFC3339), before.UTC().Format(time.RFC3339))
	default:
		d.add(false, "tokens issued before %s are revoked", after.UTC().Format(time.RFC3339))
	}
}

// authentication says who can be the client that could not be it before, and who cannot any more.
func (c comparison) authentication(key types.NamespacedName) []Change {
	before, after := c.before.Client(key), c.after.Client(key)
	if before == nil || after == nil || before == after {
		return nil // gains and losses say what that changes
	}
	d := differing{about: Change{Kind: KindAuthentication, Client: after.ClientID()}}
	d.set(c.before.proofs(before), c.after.proofs(after), true, "can also be proved by %s", "is no longer proved by %s")
	d.set(texts(before.Spec.Credential.RevokedIDs), texts(after.Spec.Credential.RevokedIDs), false,
		"refuses the credential %s", "refuses no longer the credential %s")
	d.revocation(instant(before.Spec.RevokeTokensIssuedBefore), instant(after.Spec.RevokeTokensIssuedBefore))
	return d.found
}

// proofs are what a client may prove itself by. A ServiceAccount proves the oldest client that names it.
func (w World) proofs(client *v1alpha1.M2MClient) []string {
	view, alive := w.Index.Client(client.ClientID())
	if !alive {
		return nil
	}
	var out []string
	if view.Authenticates(v1alpha1.AuthenticateBySecret) {
		out = append(out, "a client secret")
	}
	if account := client.Spec.ServiceAccountName; view.Authenticates(v1alpha1.AuthenticateByServiceAccount) && account != "" {
		if proved, ok := w.Index.ClientByServiceAccount(view.Issuer, client.Namespace, account); ok && proved.ID == view.ID {
			out = append(out, "ServiceAccount "+client.Namespace+"/"+account)
		}
	}
	for _, key := range view.Keys {
		thumbprint, err := (&jose.JSONWebKey{Key: key.Public}).Thumbprint(crypto.SHA256)
		if err != nil {
			continue // it was parsed: there is none of which one cannot be made
		}
		out = append(out, fmt.Sprintf("key %q (%s, thumbprint %s)", key.ID, key.Algorithm, base64.RawURLEncoding.EncodeToString(thumbprint)))
	}
	return out
}

func instant(t *metav1.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.Time
}

// claims says what tokens for APIs tell that they did not tell before. What verifiers make of it cannot be told.
func (c comparison) claims() []Change {
	var out []Change
	for _, after := range c.after.APIs() {
		before := c.before.API(keyOf(after, after.Name))
		if before == nil {
			continue
		}
		d := differing{about: Change{Kind: KindClaims, API: keyOf(after, after.Name).String(), Audience: after.Spec.Identifier}}
		old := map[string]string{}
		for _, claim := range before.Spec.Claims {
			old[claim.Name] = string(claim.Expression)
		}
		for _, claim := range after.Spec.Claims {
			was, known := old[claim.Name]
			delete(old, claim.Name)
			switch {
			case !known:
				d.add(true, "tokens get the claim %s: %s", claim.Name, claim.Expression)
			case was != string(claim.Expression):
				d.add(true, "the claim %s is %s; was: %s", claim.Name, claim.Expression, was)
			}
		}
		for _, name := range sortedKeys(old) {
			d.add(true, "tokens lose the claim %s; was: %s", name, old[name])
		}
		out = append(out, d.found...)
	}
	return out
}

// issuers says what TokenIssuers believe, accept and allow that they did not before.
func (c comparison) issuers() []Change {
	if !c.before.Everywhere(access.KindTokenIssuer) {
		return nil
	}
	var out []Change
	for _, after := range c.after.Issuers() {
		before := c.before.Issuer(after.Name)
		old, known := c.before.Index.Issuer(after.Name)
		now, alive := c.after.Index.Issuer(after.Name)
		if before == nil || !known || !alive {
			continue
		}
		d := differing{about: Change{Kind: KindIssuer, Issuer: after.Name}}
		d.set(texts(before.Spec.Signing.RevokedKeys), texts(after.Spec.Signing.RevokedKeys), false, "revokes the key %s", "revokes no longer the key %s")
		d.revocation(old.TokensRevokedBefore, now.TokensRevokedBefore)
		d.set(networks(old.TrustedProxies, now.TrustedProxies), networks(now.TrustedProxies, old.TrustedProxies), true,
			"believes the X-Forwarded-For of %s", "believes no longer the X-Forwarded-For of %s")
		if old.MaxStaleness != now.MaxStaleness {
			widens := now.MaxStaleness == 0 || (old.MaxStaleness > 0 && old.MaxStaleness < now.MaxStaleness)
			d.add(widens, "issues by knowledge %s; was: %s", staleness(now), staleness(old))
		}
		if more, less := claimants(old, now), claimants(now, old); len(more)+len(less) > 0 {
			d.set(less, more, true, "identifiers may be claimed: %s", "identifiers may be claimed no longer: %s")
		}
		out = append(out, d.found...)
	}
	return out
}

func staleness(i *access.Issuer) string {
	if i.MaxStaleness == 0 {
		return "of any age"
	}
	return "at most " + i.MaxStaleness.String() + " old"
}

// networks are those of a list of which the other one has not all.
func networks(list, other []netip.Prefix) []string {
	var out []string
	for _, p := range list {
		if !slices.ContainsFunc(other, func(o netip.Prefix) bool { return o.Bits() <= p.Bits() && o.Contains(p.Addr()) }) {
			out = append(out, p.String())
		}
	}
	return out
}

// claimants are the identifiers that namespaces may claim of one issuer and not of the other. Which namespaces may is the
// same for all identifiers that begin with the same of the reserved prefixes.
func claimants(before, after *access.Issuer) []string {
	prefixes, namespaces := []string{""}, []string{""}
	for _, issuer := range []*access.Issuer{before, after} {
		p, n := issuer.Reservations()
		prefixes, namespaces = append(prefixes, p...), append(namespaces, n...)
	}
	slices.Sort(prefixes)
	slices.Sort(namespaces)
	var out []string
	for _, prefix := range slices.Compact(prefixes) {
		var who []string
		for _, namespace := range slices.Compact(slices.Clone(namespaces)) {
			const tail = "\x00" // goes on as no prefix does
			if after.MayClaim(namespace, prefix+tail) && !before.MayClaim(namespace, prefix+tail) {
				who = append(who, cmp.Or(namespace, "others"))
			}
		}
		if len(who) > 0 {
			out = append(out, fmt.Sprintf("%s… by %s", prefix, strings.Join(who, ", ")))
		}
	}
	return out
}

func texts[S ~string](items []S) []string {
	out := make([]string, 0, len(items))
	for _, item := range items {
		out = append(out, string(item))
	}
	return out
}
