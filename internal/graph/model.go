package graph

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/m2m-operator/m2m-operator/api/v1alpha1"
	"github.com/m2m-operator/m2m-operator/internal/inventory"
	"github.com/m2m-operator/m2m-operator/internal/review"
)

// Model is what is drawn. Lists refer to each other by places, so that thousands of clients make a page of a few MB.
type Model struct {
	// Now is the instant that everything is said of.
	Now time.Time `json:"now"`
	// Source says where the objects are from, for people.
	Source   string    `json:"source"`
	Issuers  []Issuer  `json:"issuers"`
	APIs     []API     `json:"apis"`
	Clients  []Client  `json:"clients"`
	Grants   []Grant   `json:"grants"`
	Problems []Problem `json:"problems"`
	// Notes say what could not be seen.
	Notes []string `json:"notes,omitempty"`
}

// Issuer is a TokenIssuer with its published signing keys.
type Issuer struct {
	Name string `json:"name"`
	URL  string `json:"url"`
	Keys []Key  `json:"keys,omitempty"`
	// CertificateUntil is when the serving certificate ends; zero: not known.
	CertificateUntil time.Time `json:"certificateUntil,omitzero"`
}

// Key is a published signing key, and how long it is in its state.
type Key struct {
	ID        string    `json:"id"`
	Algorithm string    `json:"algorithm"`
	State     string    `json:"state"`
	Since     time.Time `json:"since,omitzero"`
	Until     time.Time `json:"until,omitzero"`
}

// API is an ApiResource.
type API struct {
	Namespace   string `json:"namespace"`
	Name        string `json:"name"`
	DisplayName string `json:"displayName,omitempty"`
	Identifier  string `json:"identifier"`
	Issuer      string `json:"issuer,omitempty"`
	// AnyClient is true if every client of the issuer has every scope.
	AnyClient bool       `json:"anyClient,omitempty"`
	Scopes    []APIScope `json:"scopes,omitempty"`
	// Rules that each request has to meet, whoever granted what.
	Rules []string `json:"rules,omitempty"`
}

// APIScope is a declared scope.
type APIScope struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
}

// Client is an M2MClient, with what it has.
type Client struct {
	ID          string `json:"id"`
	Namespace   string `json:"namespace"`
	Name        string `json:"name"`
	DisplayName string `json:"displayName,omitempty"`
	Description string `json:"description,omitempty"`
	Issuer      string `json:"issuer"`
	Suspended   bool   `json:"suspended,omitempty"`
	// Methods by which it may prove who it is.
	Methods []string  `json:"methods"`
	Access  []Holding `json:"access,omitempty"`
	// Wishes are those of spec.requests that are not granted in whole.
	Wishes  []review.Wish `json:"wishes,omitempty"`
	Secrets []Secret      `json:"secrets,omitempty"`
	// NextRotation is when it gets its next secret; zero: when somebody asks for one.
	NextRotation time.Time `json:"nextRotation,omitzero"`
}

// Holding is what a client has of one API.
type Holding struct {
	// API is a place in Model.APIs.
	API int `json:"api"`
	// TokenLifetime as Go writes it; "" if it is not known.
	TokenLifetime string `json:"tokenLifetime,omitempty"`
	Sets          []Set  `json:"sets"`
}

// Set is scopes that a client has in the same ways.
type Set struct {
	Scopes []string `json:"scopes"`
	Ways   []Way    `json:"ways,omitempty"`
}

// anyone is the grant of a Way where the API gives its scopes to any client; unseen where it may not be looked at.
const (
	anyone = -1
	unseen = -2
)

// Way is one way of having scopes.
type Way struct {
	// Grant is a place in Model.Grants; negative if there is none, or it may not be looked at.
	Grant int    `json:"grant"`
	Role  string `json:"role,omitempty"`
	// From and Until bound the time; zero: from now on, and without end.
	From  time.Time `json:"from,omitzero"`
	Until time.Time `json:"until,omitzero"`
}

// Secret is a credential that issuers accept.
type Secret struct {
	ID      string    `json:"id"`
	State   string    `json:"state"`
	Created time.Time `json:"created,omitzero"`
	// Expires is zero if it is not limited.
	Expires time.Time `json:"expires,omitzero"`
}

// Grant is a ScopeGrant.
type Grant struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// API is the name of its ApiResource, in its own namespace.
	API        string   `json:"api"`
	Subjects   []string `json:"subjects"`
	Scopes     []string `json:"scopes,omitempty"`
	Roles      []string `json:"roles,omitempty"`
	Conditions []string `json:"conditions,omitempty"`
	// State is Active, or the reason why it is not.
	State   string `json:"state"`
	Message string `json:"message"`
	// Clients is how many the subjects match.
	Clients int       `json:"clients"`
	From    time.Time `json:"from,omitzero"`
	Until   time.Time `json:"until,omitzero"`
}

// Build makes the model of a world; source says where its objects are from.
func Build(w review.World, source string) Model {
	b := &builder{
		world: w, apis: map[string]int{}, grants: map[string]int{},
		Model: Model{
			Now: w.Now.UTC(), Source: source, Notes: w.Unseen(),
			Issuers: []Issuer{}, APIs: []API{}, Clients: []Client{}, Grants: []Grant{}, Problems: []Problem{},
		},
	}
	for _, issuer := range w.Issuers() {
		b.issuer(issuer)
	}
	for _, api := range w.APIs() {
		b.api(api)
	}
	for _, grant := range w.Grants() {
		b.grant(grant)
	}
	for _, client := range w.Clients() {
		b.client(client)
	}
	b.Problems = problems(w)
	return b.Model
}

type builder struct {
	Model
	world        review.World
	apis, grants map[string]int // places, by namespace/name
}

func (b *builder) issuer(issuer *v1alpha1.TokenIssuer) {
	out := Issuer{Name: issuer.Name, URL: issuer.Status.URL}
	if known, ok := b.world.Index.Issuer(issuer.Name); ok {
		out.URL = known.URL
	}
	if end := issuer.Status.CertificateExpiryTime; end != nil {
		out.CertificateUntil = end.UTC()
	}
	for _, key := range issuer.Status.Keys {
		entry := Key{ID: key.KID, Algorithm: string(key.Algorithm), State: string(key.State), Since: key.SinceTime.UTC()}
		if key.UntilTime != nil {
			entry.Until = key.UntilTime.UTC()
		}
		out.Keys = append(out.Keys, entry)
	}
	b.Issuers = append(b.Issuers, out)
}

func (b *builder) api(api *v1alpha1.ApiResource) {
	out := API{
		Namespace: api.Namespace, Name: api.Name, DisplayName: api.Spec.DisplayName, Identifier: api.Spec.Identifier,
		Issuer: cmp.Or(api.Spec.IssuerRef.Name, inventory.DefaultIssuer), AnyClient: api.Spec.Authorization == v1alpha1.AuthorizationAnyClient,
	}
	for _, scope := range api.Spec.Scopes {
		out.Scopes = append(out.Scopes, APIScope{string(scope.Name), scope.Description})
	}
	for _, rule := range api.Spec.Rules {
		out.Rules = append(out.Rules, string(rule.Expression))
	}
	b.apis[api.Namespace+"/"+api.Name] = len(b.APIs)
	b.APIs = append(b.APIs, out)
}

func (b *builder) grant(grant *v1alpha1.ScopeGrant) {
	out := Grant{
		Namespace: grant.Namespace, Name: grant.Name, API: string(grant.Spec.ApiResourceRef.Name), Subjects: []string{},
		Scopes: texts(grant.Spec.Scopes), Roles: texts(grant.Spec.Roles),
		State: v1alpha1.ReasonNamespaceTerminating, Message: "The grant, or its namespace, is being deleted: it counts as gone",
	}
	for _, subject := range grant.Spec.Subjects {
		out.Subjects = append(out.Subjects, review.Describe(subject))
	}
	for _, condition := range grant.Spec.Conditions {
		out.Conditions = append(out.Conditions, string(condition.Expression))
	}
	if t := grant.Spec.NotBefore; t != nil {
		out.From = t.UTC()
	}
	if t := grant.Spec.ExpiresAt; t != nil {
		out.Until = t.UTC()
	}
	if v, alive := b.world.Index.GrantVerdict(types.NamespacedName{Namespace: grant.Namespace, Name: grant.Name}, b.world.Now); alive {
		out.State, out.Message, out.Clients = v.Active.Reason, v.Active.Message, v.MatchedClients
	}
	b.grants[grant.Namespace+"/"+grant.Name] = len(b.Grants)
	b.Grants = append(b.Grants, out)
}

func (b *builder) client(client *v1alpha1.M2MClient) {
	said := b.world.Explain(client, nil)
	out := Client{
		ID: client.ClientID(), Namespace: client.Namespace, Name: client.Name, DisplayName: client.Spec.DisplayName,
		Description: client.Spec.Description, Issuer: said.Issuer, Suspended: said.Suspended, Methods: methods(client),
	}
	for _, a := range said.Access {
		out.Access = append(out.Access, Holding{API: b.place(a), TokenLifetime: a.TokenLifetime, Sets: b.sets(a.Scopes)})
	}
	for _, wish := range said.Wishes {
		if wish.State != string(v1alpha1.AccessRequestGranted) {
			out.Wishes = append(out.Wishes, wish)
		}
	}
	for _, c := range client.Status.Credentials {
		secret := Secret{ID: c.ID, State: string(c.State), Created: c.CreatedTime.UTC()}
		if c.ExpiryTime != nil {
			secret.Expires = c.ExpiryTime.UTC()
		}
		if slices.Contains(client.Spec.Credential.RevokedIDs, v1alpha1.CredentialID(c.ID)) {
			secret.State = "Revoked"
		}
		out.Secrets = append(out.Secrets, secret)
	}
	if next := client.Status.NextRotationTime; next != nil {
		out.NextRotation = next.UTC()
	}
	b.Clients = append(b.Clients, out)
}

func methods(client *v1alpha1.M2MClient) []string {
	if len(client.Spec.Authentication) == 0 {
		return []string{string(v1alpha1.AuthenticateBySecret)}
	}
	return texts(client.Spec.Authentication)
}

// place of an API. One that may not be looked at is known from clients' statuses only.
func (b *builder) place(a review.Access) int {
	place, ok := b.apis[a.API]
	if !ok {
		namespace, name, _ := strings.Cut(a.API, "/")
		place = len(b.APIs)
		b.apis[a.API] = place
		b.APIs = append(b.APIs, API{Namespace: namespace, Name: name, Identifier: a.Audience})
	}
	return place
}

// sets puts scopes together that a client has in the same ways.
func (b *builder) sets(scopes []review.Scope) []Set {
	var out []Set
	for _, scope := range scopes {
		ways := b.ways(scope.Ways)
		at := slices.IndexFunc(out, func(s Set) bool { return slices.Equal(s.Ways, ways) })
		if at < 0 {
			at = len(out)
			out = append(out, Set{Ways: ways})
		}
		out[at].Scopes = append(out[at].Scopes, scope.Name)
	}
	return out
}

func (b *builder) ways(ways []review.Way) []Way {
	out := make([]Way, 0, len(ways))
	for _, way := range ways {
		grant := anyone
		if way.Grant != "" {
			grant = unseen
			if place, ok := b.grants[way.Grant]; ok {
				grant = place
			}
		}
		out = append(out, Way{Grant: grant, Role: way.Role, From: way.From, Until: way.Until})
	}
	return out
}

func texts[S ~string](items []S) []string {
	var out []string
	for _, item := range items {
		out = append(out, string(item))
	}
	return out
}
