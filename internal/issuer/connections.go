package issuer

import (
	"container/list"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/m2m-operator/m2m-operator/internal/clientauth"
)

const (
	// maxConnections bounds the connections of the public port. One that waits takes some 40 KiB, for TLS and its
	// buffers, so that all of them take 160 MiB.
	maxConnections = 4096
	// maxOpsConnections bounds those of the operations port, where a kubelet and some monitoring come.
	maxOpsConnections = 64
)

// connections bounds how many connections a port has. When there is no place for a new one, that one makes room which
// has waited the longest for a request: it may be the first one, of which nothing has arrived yet or not all of its
// header. If none waits, the new one is closed.
type connections struct {
	places *quota
	// exempt says who may take all the places: proxies, through which many sources come.
	exempt func(netip.Addr) bool

	mu  sync.Mutex
	all list.List // of *connection; of those that wait, the one that has waited the longest first
}

// connection that takes a place until it is closed.
type connection struct {
	net.Conn
	home   *connections
	source netip.Addr // not valid if it is exempt

	// Guarded by the lock of home.
	element *list.Element // in its list; nil once it is closed
	waits   bool          // no request is being answered
}

func newConnections(all, perSource int, exempt func(netip.Addr) bool) *connections {
	return &connections{places: newQuota(all, perSource), exempt: exempt}
}

// on bounds the connections of a listener.
func (c *connections) on(listener net.Listener) net.Listener {
	return boundedListener{Listener: listener, connections: c}
}

type boundedListener struct {
	net.Listener
	connections *connections
}

// Accept returns the next connection for which there is a place.
func (l boundedListener) Accept() (net.Conn, error) {
	for {
		accepted, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if admitted := l.connections.admit(accepted); admitted != nil {
			return admitted, nil
		}
		_ = accepted.Close() // there is nothing to lose in it
	}
}

// admit finds a place for a connection; nil if there is none.
func (c *connections) admit(accepted net.Conn) *connection {
	admitted := &connection{Conn: accepted, home: c}
	peer, err := netip.ParseAddrPort(accepted.RemoteAddr().String())
	if address := plain(peer.Addr()); err == nil && !c.exempt(address) {
		admitted.source = clientauth.Network(address)
	}
	for !c.places.take(admitted.source) {
		longest := c.longestWaiting(admitted.source)
		if longest == nil {
			return nil
		}
		_ = longest.Close() // it gives back its place in any case
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	admitted.element, admitted.waits = c.all.PushBack(admitted), true
	return admitted
}

// longestWaiting is who should make room for a connection from the source: one from there, if the source has too many.
func (c *connections) longestWaiting(source netip.Addr) *connection {
	spent := c.places.spent(source)
	c.mu.Lock()
	defer c.mu.Unlock()
	for e := c.all.Front(); e != nil; e = e.Next() {
		if x := e.Value.(*connection); x.waits && (!spent || x.source == source) {
			return x
		}
	}
	return nil
}

// changed is for http.Server.ConnState, which tells of a new request when its header has arrived, and over HTTP/2 of the
// first and the last of those that are answered at once.
func (c *connections) changed(conn net.Conn, state http.ConnState) {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	if admitted, ok := conn.(*connection); ok && (state == http.StateActive || state == http.StateIdle) {
		c.setWaiting(admitted, state == http.StateIdle)
	}
}

func (c *connections) setWaiting(x *connection, waits bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	x.waits = waits
	if waits && x.element != nil {
		c.all.MoveToBack(x.element)
	}
}

// Close gives back the connection's place.
func (x *connection) Close() error {
	if x.home.forget(x) {
		x.home.places.giveBack(x.source)
	}
	return x.Conn.Close()
}

// forget a connection; false if it has been forgotten before.
func (c *connections) forget(x *connection) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if x.element == nil {
		return false
	}
	c.all.Remove(x.element)
	x.element = nil
	return true
}

// newLoadGauges tell how many places are taken.
func (s *Server) newLoadGauges() []prometheus.Collector {
	gauge := func(name, help string, q *quota) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(q.count()) })
	}
	return []prometheus.Collector{
		gauge("m2m_issuer_open_connections", "Connections of the public port.", s.publicConnections.places),
		gauge("m2m_issuer_requests_in_progress", "Requests of the public port that are being answered.", s.requests),
	}
}
