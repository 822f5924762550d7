package issuer

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestParseJSON(t *testing.T) {
	manyMembers := func(n int) string {
		var members []string
		for i := range n {
			members = append(members, fmt.Sprintf(`"x%d":%d`, i, i))
		}
		return "{" + strings.Join(members, ",") + "}"
	}
	nested := func(depth int) string {
		return `{"x":` + strings.Repeat("[", depth) + strings.Repeat("]", depth) + "}"
	}
	resources := func(n int) string {
		return `{"resource":[` + strings.TrimSuffix(strings.Repeat(`"a",`, n), ",") + "]}"
	}
	for name, test := range map[string]struct {
		body    string
		failure *oauthError
	}{
		"nothing":                            {"{}", nil},
		"space around":                       {" \t\r\n{ } \n", nil},
		"a known string":                     {`{"scope":"a"}`, nil},
		"an empty string":                    {`{"scope":""}`, nil},
		"an escaped name":                    {`{"\u0073cope":"a"}`, nil},
		"another case":                       {`{"SCOPE":1,"Scope":null}`, nil},
		"a pair of surrogates":               {`{"scope":"\ud83d\ude00","\uD83D\uDE00":1}`, nil},
		"an escaped backslash":               {`{"x":"\\ud800"}`, nil},
		"unknown of every type":              {`{"a":null,"b":true,"c":-1.5e9,"d":"x","e":[1,{"f":{}}],"g":{"scope":"x","scope":1}}`, nil},
		"an unknown number beyond all":       {`{"x":1e999999999999}`, nil},
		"unknown repeated":                   {`{"x":1,"x":2}`, nil},
		"resources":                          {`{"resource":["a","a",""]}`, nil},
		"no resources":                       {`{"resource":[]}`, nil},
		"unknown, as deep as may be":         {nested(maxDepth), nil},
		"as many as may be":                  {manyMembers(maxParameters), nil},
		"as many resources as may be":        {resources(maxParameters), nil},
		"one too many":                       {manyMembers(maxParameters + 1), errParameters},
		"too many resources":                 {resources(maxParameters + 1), errForm},
		"unknown, too deep":                  {nested(maxDepth + 1), errForm},
		"unknown, much too deep":             {nested(maxBody / 2), errForm},
		"known repeated":                     {`{"scope":"a","scope":"a"}`, errRepeated},
		"known repeated, escaped":            {`{"scope":"a","\u0073\u0063ope":"b"}`, errRepeated},
		"known repeated, empty":              {`{"scope":"","scope":""}`, errRepeated},
		"resource repeated":                  {`{"resource":[],"resource":"a"}`, errRepeated},
		"null":                               {`{"scope":null}`, errForm},
		"a number":                           {`{"scope":1}`, errForm},
		"a truth":                            {`{"scope":true}`, errForm},
		"an array":                           {`{"scope":["a"]}`, errForm},
		"an object":                          {`{"scope":{"a":"b"}}`, errForm},
		"a resource of no string":            {`{"resource":1}`, errForm},
		"resources of no string":             {`{"resource":["a",1]}`, errForm},
		"a resource in a resource":           {`{"resource":[["a"]]}`, errForm},
		"no document":                        {"", errForm},
		"no object":                          {`["scope"]`, errForm},
		"a string":                           {`"scope"`, errForm},
		"null alone":                         {"null", errForm},
		"two documents":                      {"{}{}", errForm},
		"a form after it":                    {"{}&scope=a", errForm},
		"NUL after it":                       {"{}\x00", errForm},
		"cut off":                            {`{"scope":"a"`, errForm},
		"cut off, unknown":                   {`{"x":[`, errForm},
		"a comma too many":                   {`{"scope":"a",}`, errForm},
		"a comma too many, unknown":          {`{"x":[1,]}`, errForm},
		"a comma too few":                    {`{"scope":"a" "x":1}`, errForm},
		"a name that is no string":           {`{1:"a"}`, errForm},
		"single quotes":                      {`{'scope':'a'}`, errForm},
		"a comment":                          {`{/**/}`, errForm},
		"a byte order mark":                  {"\ufeff{}", errForm},
		"a control character":                {"{\"scope\":\"a\nb\"}", errForm},
		"a malformed escape":                 {`{"scope":"\x41"}`, errForm},
		"a malformed number":                 {`{"x":01}`, errForm},
		"not UTF-8":                          {"{\"scope\":\"\xff\"}", errForm},
		"not UTF-8, unknown":                 {"{\"x\":\"\xc0\xaf\"}", errForm},
		"a surrogate as UTF-8":               {"{\"x\":\"\xed\xa0\x80\"}", errForm},
		"half a pair":                        {`{"scope":"\ud83d"}`, errForm},
		"half a pair, unknown":               {`{"x":"\ud83dx"}`, errForm},
		"half a pair, in a name":             {`{"\udc00":1}`, errForm},
		"the other half":                     {`{"x":"\ude00\ud83d"}`, errForm},
		"half a pair, and another character": {`{"x":"\ud83d\u0041"}`, errForm},
		"half a pair, and another escape":    {`{"x":"\ud83d\n"}`, errForm},
		"UTF-16":                             {"\xff\xfe{\x00}\x00", errForm},
	} {
		if _, failure := parseJSON(test.body, tokenParameters); failure != test.failure {
			t.Errorf("%s: %+v, want %+v", name, failure, test.failure)
		}
	}
}

func TestParseJSONValues(t *testing.T) {
	f, failure := parseJSON(`{"scope":"a\u0020b\"","resource":["x","","x"],"client_id":"","audience":"\u00e9\u0000","other":"y"}`, tokenParameters)
	if failure != nil || f.get("scope") != `a b"` || f.get("client_id") != "" || f.get("audience") != "é\x00" || f.get("other") != "" {
		t.Errorf("got %+v, %+v", f, failure)
	}
	if got := valuesOf(f)[paramResource]; !slices.Equal(got, []string{"x", "", "x"}) {
		t.Errorf("resources %q", got)
	}
}
