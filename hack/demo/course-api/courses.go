package main

import (
	"slices"
	"sync"
	"time"
)

// The stages of a course's life.
const (
	statusPending   = "pending"
	statusApproved  = "approved"
	statusPublished = "published"
)

// course as the API shows it.
type course struct {
	ID        int    `json:"id"`
	Name      string `json:"name"`
	Details   string `json:"details"`
	StartDate string `json:"startDate"` // YYYY-MM-DD
	Status    string `json:"status"`
}

// courses are kept in memory: this is an example.
type courses struct {
	mu  sync.Mutex
	all []course
}

func (c *courses) withStatus(status string) []course {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := []course{} // an empty list is [] in JSON, not null
	for _, each := range c.all {
		if each.Status == status {
			out = append(out, each)
		}
	}
	return out
}

func (c *courses) add(name, details, startDate string) course {
	c.mu.Lock()
	defer c.mu.Unlock()
	added := course{ID: len(c.all) + 1, Name: name, Details: details, StartDate: startDate, Status: statusPending}
	c.all = append(c.all, added)
	return added
}

// publish reports what became of the course, whether it exists, and whether it may be published: publishing twice is
// harmless, publishing what nobody has approved is not.
func (c *courses) publish(id int) (published course, exists, allowed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := slices.IndexFunc(c.all, func(each course) bool { return each.ID == id })
	if at < 0 {
		return course{}, false, false
	}
	if c.all[at].Status == statusPending {
		return c.all[at], true, false
	}
	c.all[at].Status = statusPublished
	return c.all[at], true, true
}

// sampleCourses start around now, whenever that is.
func sampleCourses(now time.Time) *courses {
	in := func(days int) string { return now.UTC().AddDate(0, 0, days).Format(time.DateOnly) }
	return &courses{all: []course{
		{1, "Distributed systems", "Clocks, consensus and what fails in between", in(-20), statusPublished},
		{2, "Compilers", "From a grammar to machine code in twelve weeks", in(-6), statusPublished},
		{3, "Cryptography", "What to use, and why not to build it", in(2), statusApproved},
		{4, "Databases", "Relations, indexes and transactions", in(5), statusApproved},
		{5, "Operating systems", "Write one that boots", in(6), statusApproved},
		{6, "Computer graphics", "Light, and how to fake it", in(19), statusApproved},
		{7, "Numerical methods", "Floating point without tears", in(40), statusApproved},
		{8, "Type theory", "Waits for a room", in(3), statusPending},
	}}
}
