package issuer

import "testing"

func TestMatches(t *testing.T) {
	const etag = `"abc"`
	for _, header := range [][]string{{etag}, {"W/" + etag}, {"*"}, {`"x"`, etag}, {`"x" ,	"abc"`}, {`"x,y", "abc"`}} {
		if !matches(header, etag) {
			t.Errorf("%q does not match", header)
		}
	}
	for _, header := range [][]string{nil, {""}, {"abc"}, {`"ABC"`}, {`"abc`}, {`w/"abc"`}, {`"x", "y"`}} {
		if matches(header, etag) {
			t.Errorf("%q matches", header)
		}
	}
}
