package issuer

import (
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// member is a parameter of a request: its name, and its values as a form has them.
type member struct {
	name   string
	values []string
}

// valuesOf is a form as others have it.
func valuesOf(f form) url.Values {
	values := url.Values{}
	for _, p := range f {
		values.Add(p.name, p.value)
	}
	return values
}

// wantForm compares a form with what another reader finds in the same body.
func wantForm(t *testing.T, f form, others []member) {
	t.Helper()
	for _, name := range tokenParameters {
		var values []string
		for _, other := range others {
			if other.name == name {
				values = append(values, other.values...)
			}
		}
		if !slices.Equal(valuesOf(f)[name], values) {
			t.Errorf("%s is read as %q, by others as %q", name, valuesOf(f)[name], values)
		}
	}
}

// repeats reports whether one of these parameters stands several times.
func repeats(others []member, names ...string) bool {
	seen := map[string]bool{}
	for _, other := range others {
		if slices.Contains(names, other.name) && seen[other.name] {
			return true
		}
		seen[other.name] = true
	}
	return false
}

// FuzzParseForm: a form has exactly the parameters that stand in it, and each refusal a cause.
func FuzzParseForm(f *testing.F) {
	for _, seed := range []string{
		"grant_type=client_credentials", "grant_type=client_credentials&client_id=jobs.publisher&client_secret=s3cr3t",
		"grant_type=client_credentials&audience=https%3A%2F%2Fcourses.example.com%2Fapi&scope=courses%3Apublish+courses%3Aread",
		"grant_type=client_credentials&resource=https://payment.example.com/api&scope=all",
		"client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion=e30.e30.e30",
		"", "&", "=", "=&=", "scope", "scope&scope=", "scope=a&scope=a", "scope=a&%73cope=b", "scope=a&Scope=b", "resource=a&resource=b",
		"a=1;scope=b", "%=1", "scope=%", "scope=%g0", "scope=%00%ff", "scope=%uff41", "scope=a=b", "scope==", "scope=\xc0\xaf", "scope=a b",
		"client_secret[]=x", "scope=a%26scope%3Db", "scope=\r\n&scope\n=b", "?scope=a", "#scope=a", strings.Repeat("a&", maxParameters), "\ufeffscope=a",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		var others []member
		malformed := strings.Contains(body, ";")
		pairs := strings.Split(body, "&")
		for _, pair := range slices.DeleteFunc(slices.Clone(pairs), func(pair string) bool { return pair == "" }) {
			name, value, _ := strings.Cut(pair, "=")
			name, err1 := url.QueryUnescape(name)
			value, err2 := url.QueryUnescape(value)
			malformed = malformed || err1 != nil || err2 != nil
			others = append(others, member{name, []string{value}})
		}
		got, failure := parseForm(body, tokenParameters)
		once := slices.DeleteFunc(slices.Clone(tokenParameters), func(name string) bool { return name == paramResource })
		if refused := len(pairs) > maxParameters || malformed || repeats(others, once...); refused != (failure != nil) {
			t.Fatalf("refused with %+v, the cause is there: %t", failure, refused)
		}
		if failure != nil {
			return
		}
		wantForm(t, got, others)
		again, failure := parseForm(valuesOf(got).Encode(), tokenParameters)
		if failure != nil || valuesOf(again).Encode() != valuesOf(got).Encode() {
			t.Errorf("written anew it is %q, %+v", again, failure)
		}
	})
}

// FuzzParseJSON: an object has exactly the parameters that encoding/json finds member by member, and each refusal a cause.
func FuzzParseJSON(f *testing.F) {
	for _, seed := range []string{
		`{"audience":"https://courses.example.com/api","grant_type":"client_credentials","client_id":"jobs.publisher","client_secret":"s3cr3t","scope":"read"}`,
		`{"grant_type":"client_credentials","resource":["https://payment.example.com/api",""],"client_assertion":"e30.e30.e30"}`,
		"{}", " {\t}\r\n", `{"scope":"a","scope":"b"}`, `{"scope":"a","\u0073cope":"b"}`, `{"SCOPE":"a","scope":"b"}`, `{"scope":null}`, `{"scope":["a"]}`,
		`{"resource":[],"resource":"a"}`, `{"resource":[1]}`, `{"resource":[["a"]]}`, `{"resource":{}}`, `{"scope":{"scope":"a"}}`, `{"x":{"scope":"a"},"scope":"b"}`,
		`{"x":[[[[[[[[1]]]]]]]]}`, `{"x":[[[[[[[[[1]]]]]]]]]}`, `{"x":1e999,"y":-0,"z":true,"x":null}`, `{"x":01}`, `{"x":[1,]}`, `{"a":1,}`, `{"a" "b"}`, `{"a":1 "b":2}`,
		`{"scope":"\ud83d\ude00"}`, `{"scope":"\ud83d"}`, `{"\ude00":1}`, `{"x":"\\ud800"}`, `{"x":"\ufffd"}`, `{"x":"\ud83d\u0041"}`, "{\"x\":\"\ufffd\"}",
		"{\"scope\":\"\xff\"}", "{\"scope\":\"\xed\xa0\x80\"}", "\ufeff{}", "{}{}", "{}\x00", "[]", "null", `"scope"`, "", "{", `{"scope":"a`, `{'scope':'a'}`, "{/**/}",
		"{\"scope\":\"a\nb\"}", `{"scope":"\x41"}`, `{"":"","":""}`, "{" + strings.Repeat(`"x":1,`, maxParameters) + `"y":1}`, strings.Repeat("[", 500),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		others, wellFormed := readObject(body)
		got, failure := parseJSON(body, tokenParameters)
		if refused := !wellFormed || len(others) > maxParameters || repeats(others, tokenParameters...); refused != (failure != nil) {
			t.Fatalf("refused with %+v, the cause is there: %t", failure, refused)
		}
		if failure != nil {
			return
		}
		wantForm(t, got, others)
		object := map[string]any{}
		for name, values := range valuesOf(got) {
			if object[name] = values; name != paramResource {
				object[name] = values[0]
			}
		}
		text, err := json.Marshal(object)
		again, failure := parseJSON(string(text), tokenParameters)
		if err != nil || failure != nil || valuesOf(again).Encode() != valuesOf(got).Encode() {
			t.Errorf("written anew it is %q, %+v, %v", again, failure, err)
		}
	})
}

// readObject reads an object one member after the other, and says whether all is as it must be.
func readObject(body string) (members []member, wellFormed bool) {
	if !utf8.ValidString(body) || halfPair(body) || json.Unmarshal([]byte(body), &map[string]json.RawMessage{}) != nil {
		return nil, false
	}
	decoder := json.NewDecoder(strings.NewReader(body))
	if token, _ := decoder.Token(); token != json.Delim('{') { // null is a map too
		return nil, false
	}
	for decoder.More() {
		name, _ := decoder.Token()
		var value any
		decoder.UseNumber()
		if decoder.Decode(&value) != nil {
			return nil, false
		}
		m := member{name: name.(string)}
		list, isList := value.([]any)
		switch text, isText := value.(string); {
		case !slices.Contains(tokenParameters, m.name):
			if depth(value) > maxDepth {
				return nil, false
			}
		case isText:
			m.values = []string{text}
		case isList && m.name == paramResource && len(list) <= maxParameters:
			for _, one := range list {
				text, isText := one.(string)
				if !isText {
					return nil, false
				}
				m.values = append(m.values, text)
			}
		default:
			return nil, false
		}
		members = append(members, m)
	}
	return members, true
}

// depth is how many arrays and objects are around what is innermost.
func depth(value any) int {
	deepest := 0
	switch value := value.(type) {
	case []any:
		for _, one := range value {
			deepest = max(deepest, depth(one))
		}
	case map[string]any:
		for _, one := range value {
			deepest = max(deepest, depth(one))
		}
	default:
		return 0
	}
	return deepest + 1
}

var (
	surrogates    = regexp.MustCompile(`(?i)\\ud[89a-f][0-9a-f]{2}`)
	surrogatePair = regexp.MustCompile(`(?i)\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}`)
)

// halfPair reports whether there is half a surrogate pair in a JSON text: one that is left when pairs are taken out.
func halfPair(text string) bool {
	text = strings.ReplaceAll(text, `\\`, "backslash")
	return surrogates.MatchString(surrogatePair.ReplaceAllString(text, "pair"))
}

// FuzzSourceOf: nobody but trusted proxies has a say in where a request comes from, and what stands to the left of an
// address that is not a proxy's has none.
func FuzzSourceOf(f *testing.F) {
	for _, peer := range []string{"192.0.2.1:1", "10.0.0.1:4711", "[2001:db8:1::1]:1", "[::ffff:10.0.0.1]:1", "[fe80::1%eth0]:1", "pipe", ""} {
		for _, forwarded := range []string{
			"", "198.51.100.1", "203.0.113.9, 10.0.0.7,198.51.100.1, 10.1.2.3", "2001:db8::1", "[2001:db8::1]:443", "[2001:db8::1", "[198.51.100.1]",
			"198.51.100.1:80", "::ffff:198.51.100.1", "fe80::2%eth1", "unknown", ",", "10.0.0.3, 10.0.0.2", "198.51.100.1,,10.0.0.2", "for=198.51.100.1",
			"198.51.100.1\n10.0.0.2", "198.51.100.0/24", "0x7f.1", "198.51.100.1" + strings.Repeat(",10.0.0.2", maxForwarded),
		} {
			f.Add(peer, forwarded)
		}
	}
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:1::/48"), netip.MustParsePrefix("fe80::/10")}
	f.Fuzz(func(t *testing.T, peer, forwarded string) {
		lines := strings.Split(forwarded, "\n")
		from := func(lines ...string) netip.Addr {
			return sourceOf(peer, http.Header{"X-Forwarded-For": lines}, trusted)
		}
		got := from(lines...)
		connection, err := netip.ParseAddrPort(peer)
		proxied := err == nil && isTrusted(connection.Addr().Unmap().WithZone(""), trusted)
		switch {
		case err != nil && got.IsValid():
			t.Errorf("%q is %s", peer, got)
		case !proxied && got != connection.Addr().Unmap().WithZone(""):
			t.Errorf("%s says that it is %s", peer, got)
		case got.Zone() != "" || got.Is4In6():
			t.Errorf("%s may be written otherwise", got)
		}
		if one := from(strings.Join(lines, ",")); one != got {
			t.Errorf("in one line it is %s, in several %s", one, got)
		}
		more := from(append([]string{"203.0.113.77"}, lines...)...)
		if !isTrusted(got, trusted) && more != got {
			t.Errorf("what the client writes makes %s of %s", more, got)
		}
		hops := strings.Split(strings.Join(lines, ","), ",")
		if got.IsValid() && got != connection.Addr().Unmap().WithZone("") && !slices.ContainsFunc(hops, func(hop string) bool { return isHop(hop, got) }) {
			t.Errorf("%s is made up", got)
		}
	})
}

// isHop reports whether a text is an address, with or without a port.
func isHop(text string, address netip.Addr) bool {
	text = strings.Trim(text, " \t")
	host, _, err := net.SplitHostPort(text)
	if err != nil {
		host = strings.Trim(text, "[]")
	}
	parsed, err := netip.ParseAddr(host)
	return err == nil && parsed.Unmap().WithZone("") == address
}
