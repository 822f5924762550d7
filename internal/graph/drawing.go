package graph

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Kinds of nodes.
const (
	apiNode    = "api"
	clientNode = "client"
	anyNode    = "any" // stands for every client of an issuer
)

// drawing is the model as nodes and lines between them.
type drawing struct {
	places []place
	edges  []edge
}

// place is a namespace with what is in it; nodes that belong to none are in the place "".
type place struct {
	namespace string
	nodes     []node
}

type node struct {
	// id is made up, so that no name of a tenant's is part of the syntax.
	id    string
	kind  string
	lines []string
	// flagged nodes have a problem, idle ones are clients that have nothing.
	flagged, idle bool
}

type edge struct {
	from, to string
	lines    []string
	// limited ones are bounded in time, or subject to conditions.
	limited bool
}

const (
	// fewAlike is how many clients of a namespace with the same access are drawn one by one. More are one node.
	fewAlike = 4
	// fewNames and fewScopes are how many are written down before the others are counted.
	fewNames  = 3
	fewScopes = 8
)

func newDrawing(m Model) drawing {
	d := &drafter{model: m, flagged: map[string]bool{}, places: map[string]int{}}
	for _, p := range m.Problems {
		d.flagged[p.Kind+" "+p.Namespace+"/"+p.Name] = true
	}
	for i, api := range m.APIs {
		d.api(i, api)
	}
	for i, alike := range d.alike() {
		d.clients(fmt.Sprintf("c%d", i), alike)
	}
	slices.SortFunc(d.drawing.places, func(a, b place) int { return cmp.Compare(a.namespace, b.namespace) })
	return d.drawing
}

type drafter struct {
	model   Model
	drawing drawing
	flagged map[string]bool // problems, by kind and name
	places  map[string]int  // places in drawing.places
}

func (d *drafter) add(namespace string, n node) {
	at, ok := d.places[namespace]
	if !ok {
		at = len(d.drawing.places)
		d.places[namespace] = at
		d.drawing.places = append(d.drawing.places, place{namespace: namespace})
	}
	d.drawing.places[at].nodes = append(d.drawing.places[at].nodes, n)
}

func (d *drafter) api(i int, api API) {
	id := fmt.Sprintf("a%d", i)
	key := api.Namespace + "/" + api.Name
	d.add(api.Namespace, node{id: id, kind: apiNode, lines: named(key, api.DisplayName, api.Identifier), flagged: d.flagged["ApiResource "+key]})
	if !api.AnyClient {
		return
	}
	d.add("", node{id: "any" + id, kind: anyNode, lines: []string{"any client of " + api.Issuer}})
	var scopes []string
	for _, scope := range api.Scopes {
		scopes = append(scopes, scope.Name)
	}
	d.drawing.edges = append(d.drawing.edges, edge{
		from: "any" + id, to: id, lines: append([]string{few(scopes, fewScopes)}, conditioned(api.Rules)...), limited: len(api.Rules) > 0,
	})
}

// alike puts clients of a namespace together that are drawn alike, if they are more than a few.
func (d *drafter) alike() [][]Client {
	var order []string
	groups := map[string][]Client{}
	for _, c := range d.model.Clients {
		look := fmt.Sprintf("%q %v %v %v", c.Namespace, c.Suspended, d.flagged["M2MClient "+c.Namespace+"/"+c.Name], d.lines("", c))
		if groups[look] == nil {
			order = append(order, look)
		}
		groups[look] = append(groups[look], c)
	}
	var out [][]Client
	for _, look := range order {
		if group := groups[look]; len(group) > fewAlike {
			out = append(out, group)
		} else {
			for _, c := range group {
				out = append(out, []Client{c})
			}
		}
	}
	slices.SortStableFunc(out, func(a, b []Client) int { return cmp.Compare(a[0].ID, b[0].ID) })
	return out
}

func (d *drafter) clients(id string, group []Client) {
	c := group[0]
	n := node{
		id: id, kind: clientNode, lines: named(c.ID, c.DisplayName), idle: len(c.Access) == 0,
		flagged: d.flagged["M2MClient "+c.Namespace+"/"+c.Name],
	}
	if len(group) > 1 {
		var ids []string
		for _, one := range group {
			ids = append(ids, one.ID)
		}
		n.lines = []string{fmt.Sprintf("%d clients", len(group)), few(ids, fewNames)}
	}
	if c.Suspended {
		n.lines = append(n.lines, "suspended")
	}
	d.add(c.Namespace, n)
	d.drawing.edges = append(d.drawing.edges, d.lines(id, c)...)
}

// lines from a client to the APIs, one for the scopes that have the same limits.
func (d *drafter) lines(from string, c Client) []edge {
	var out []edge
	for _, holding := range c.Access {
		api := d.model.APIs[holding.API]
		if api.AnyClient {
			continue
		}
		var limits [][]string
		scopes := map[string][]string{}
		for _, set := range holding.Sets {
			bounds := append(d.limits(set), conditioned(api.Rules)...)
			text := strings.Join(bounds, "\n")
			if scopes[text] == nil {
				limits = append(limits, bounds)
			}
			scopes[text] = append(scopes[text], set.Scopes...)
		}
		for _, bounds := range limits {
			names := slices.Sorted(slices.Values(scopes[strings.Join(bounds, "\n")]))
			out = append(out, edge{
				from: from, to: fmt.Sprintf("a%d", holding.API), lines: append([]string{few(names, fewScopes)}, bounds...), limited: len(bounds) > 0,
			})
		}
	}
	return out
}

// limits of scopes: none if one of the ways has none.
func (d *drafter) limits(set Set) []string {
	var out []string
	for _, way := range set.Ways {
		var parts []string
		if !way.From.IsZero() {
			parts = append(parts, "from "+moment(way.From))
		}
		if !way.Until.IsZero() {
			parts = append(parts, "until "+moment(way.Until))
		}
		if way.Grant >= 0 {
			parts = append(parts, conditioned(d.model.Grants[way.Grant].Conditions)...)
		}
		if len(parts) == 0 {
			return nil
		}
		out = append(out, strings.Join(parts, ", "))
	}
	return slices.Compact(out)
}

func conditioned(conditions []string) []string {
	if len(conditions) == 0 {
		return nil
	}
	return []string{"if " + strings.Join(conditions, " && ")}
}

// named is the first text, and of the others those that say something.
func named(name string, others ...string) []string {
	return append([]string{name}, slices.DeleteFunc(others, func(s string) bool { return s == "" || s == name })...)
}

func few(items []string, most int) string {
	if len(items) <= most {
		return strings.Join(items, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(items[:most], ", "), len(items)-most)
}
