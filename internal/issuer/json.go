package issuer

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth bounds how deep members are nested that nobody knows.
const maxDepth = 8

// parseJSON takes apart a JSON object (RFC 8259) by the rules of forms: what is known is a string and stands there once,
// however its name is escaped, and what is not known is ignored, whatever it is. A resource may be an array of strings.
// There is no null, number or truth that counts as omitted, but the empty string.
func parseJSON(body string, known []string) (form, *oauthError) {
	// encoding/json would put U+FFFD where there is no character, so that two texts become the same one.
	if !utf8.ValidString(body) || !json.Valid([]byte(body)) || !pairedSurrogates(body) {
		return nil, errForm
	}
	decoder := json.NewDecoder(strings.NewReader(body))
	decoder.UseNumber() // whoever does not know a number need not be able to hold it
	if token, err := decoder.Token(); err != nil || token != json.Delim('{') {
		return nil, errForm
	}
	var f form
	var seen []string
	for members := 1; decoder.More(); members++ {
		if members > maxParameters {
			return nil, errParameters
		}
		token, err := decoder.Token()
		name, isName := token.(string)
		if err != nil || !isName {
			return nil, errForm
		}
		if !slices.Contains(known, name) {
			if !skipValue(decoder) {
				return nil, errForm
			}
			continue
		}
		if slices.Contains(seen, name) {
			return nil, errRepeated
		}
		seen = append(seen, name)
		texts, ok := readTexts(decoder, name == paramResource)
		if !ok {
			return nil, errForm
		}
		for _, text := range texts {
			f = append(f, parameter{name, text})
		}
	}
	return f, nil
}

// readTexts reads a string or, where it may be one, an array of strings.
func readTexts(decoder *json.Decoder, arrayToo bool) ([]string, bool) {
	token, err := decoder.Token()
	if text, ok := token.(string); err == nil && ok {
		return []string{text}, true
	}
	if err != nil || !arrayToo || token != json.Delim('[') {
		return nil, false
	}
	texts := []string{}
	for decoder.More() && len(texts) < maxParameters {
		token, err := decoder.Token()
		text, ok := token.(string)
		if err != nil || !ok {
			return nil, false
		}
		texts = append(texts, text)
	}
	token, err = decoder.Token()
	return texts, err == nil && token == json.Delim(']')
}

// skipValue reads over a value, unless it is nested too deep.
func skipValue(decoder *json.Decoder) bool {
	for depth := 0; ; {
		token, err := decoder.Token()
		if err != nil {
			return false
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 || depth > maxDepth {
			return depth == 0
		}
	}
}

// pairedSurrogates says whether every escape of a valid JSON text is one of a character: half a surrogate pair is none
// (RFC 8259 section 8.2).
func pairedSurrogates(text string) bool {
	for {
		_, escape, found := strings.Cut(text, `\`)
		if !found {
			return true
		}
		if escape[0] != 'u' {
			text = escape[1:]
			continue
		}
		text = escape[5:]
		if first := codeUnit(escape[1:5]); utf16.IsSurrogate(first) {
			if !strings.HasPrefix(text, `\u`) || utf16.DecodeRune(first, codeUnit(text[2:6])) == unicode.ReplacementChar {
				return false
			}
			text = text[6:]
		}
	}
}

// codeUnit is the value of four hexadecimal digits.
func codeUnit(digits string) rune {
	unit, err := strconv.ParseUint(digits, 16, 16)
	if err != nil {
		return unicode.ReplacementChar
	}
	return rune(unit)
}
