package issuer

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// maxForwarded bounds how many addresses of X-Forwarded-For are looked at.
const maxForwarded = 32

// isProxy says whether whoever forwards from the address is believed whom for.
func (s *Server) isProxy(address netip.Addr) bool {
	issuer, _ := s.state.issuer()
	return isTrusted(address, issuer.TrustedProxies)
}

// sourceOf is the peer of a connection or, where that is a trusted proxy, whom it forwards for: the last address of
// X-Forwarded-For that is not one of a trusted proxy itself. What stands further to the left, and in the header of
// anybody else, anybody may have written. Where the header ends early or makes no sense, the proxy that came last is
// the source.
func sourceOf(peer string, header http.Header, trusted []netip.Prefix) netip.Addr {
	addressPort, err := netip.ParseAddrPort(peer)
	if err != nil {
		return netip.Addr{}
	}
	source := plain(addressPort.Addr())
	if !isTrusted(source, trusted) {
		return source
	}
	hops := strings.Join(header["X-Forwarded-For"], ",")
	for range maxForwarded {
		comma := strings.LastIndexByte(hops, ',')
		hop, ok := parseHop(hops[comma+1:])
		if !ok {
			return source
		}
		source = hop
		if comma < 0 || !isTrusted(source, trusted) {
			return source
		}
		hops = hops[:comma]
	}
	return source
}

// parseHop reads an address, with or without a port, one of IPv6 with or without brackets.
func parseHop(text string) (netip.Addr, bool) {
	text = strings.Trim(text, " \t")
	if addressPort, err := netip.ParseAddrPort(text); err == nil {
		return plain(addressPort.Addr()), true
	}
	if inner, ok := strings.CutPrefix(text, "["); ok {
		if text, ok = strings.CutSuffix(inner, "]"); !ok || !strings.Contains(text, ":") {
			return netip.Addr{}, false
		}
	}
	address, err := netip.ParseAddr(text)
	return plain(address), err == nil
}

// plain is an address as it is written in networks: an IPv4 address as such, and none with a zone, which means
// something to one machine only.
func plain(address netip.Addr) netip.Addr { return address.Unmap().WithZone("") }

func isTrusted(address netip.Addr, networks []netip.Prefix) bool {
	return slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(address) })
}
