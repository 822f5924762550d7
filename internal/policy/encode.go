package policy

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
)

// Bounds of a claim's value.
const (
	maxClaimBytes = 2048
	maxClaimDepth = 8
	// maxInteger is the largest one that every JSON parser reads as it was written (RFC 7493 section 2.2).
	maxInteger = 1<<53 - 1
)

// encode writes a value as JSON. Keys are sorted, so that the same value is always the same text.
func encode(value ref.Val) (json.RawMessage, error) {
	w := &jsonWriter{}
	if err := w.value(value, 0); err != nil {
		return nil, fmt.Errorf("%w: %s", ErrResult, printable(err.Error(), maxRuntimeErrorText))
	}
	return w.text, nil
}

// jsonWriter stops as soon as the text is too long: whatever it is given, it does little.
type jsonWriter struct{ text []byte }

func (w *jsonWriter) value(value ref.Val, depth int) error {
	switch v := value.(type) {
	case types.Null:
		return w.write("null")
	case types.Bool:
		return w.write(strconv.FormatBool(bool(v)))
	case types.Int:
		if v > maxInteger || v < -maxInteger {
			return fmt.Errorf("an integer is not within 2^53")
		}
		return w.write(strconv.FormatInt(int64(v), 10))
	case types.Uint:
		if v > maxInteger {
			return fmt.Errorf("an integer is not within 2^53")
		}
		return w.write(strconv.FormatUint(uint64(v), 10))
	case types.Double:
		return w.double(float64(v))
	case types.String:
		return w.string(string(v))
	case types.Bytes:
		return w.string(base64.StdEncoding.EncodeToString(v))
	case types.Timestamp:
		return w.string(v.UTC().Format(time.RFC3339Nano))
	case types.Duration:
		return w.string(strconv.FormatFloat(v.Seconds(), 'f', -1, 64) + "s")
	case traits.Mapper, traits.Lister:
		return w.container(v, depth+1)
	}
	return fmt.Errorf("it has a part of type %s, which JSON does not have", value.Type().TypeName())
}

func (w *jsonWriter) container(value ref.Val, depth int) error {
	if depth > maxClaimDepth {
		return fmt.Errorf("it is nested deeper than %d levels", maxClaimDepth)
	}
	if object, ok := value.(traits.Mapper); ok {
		return w.object(object, depth)
	}
	return w.array(value.(traits.Lister), depth)
}

func (w *jsonWriter) double(number float64) error {
	if math.IsNaN(number) || math.IsInf(number, 0) {
		return fmt.Errorf("a number is not finite")
	}
	text, err := json.Marshal(number)
	if err != nil {
		return err
	}
	return w.write(string(text))
}

func (w *jsonWriter) string(text string) error {
	if len(text) > maxClaimBytes {
		return errTooLong
	}
	if !utf8.ValidString(text) {
		return fmt.Errorf("a string is not UTF-8")
	}
	var quoted strings.Builder
	encoder := json.NewEncoder(&quoted)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(text); err != nil {
		return err
	}
	return w.write(strings.TrimSuffix(quoted.String(), "\n"))
}

func (w *jsonWriter) array(list traits.Lister, depth int) error {
	separator := "["
	for it := list.Iterator(); it.HasNext() == types.True; separator = "," {
		if err := w.write(separator); err != nil {
			return err
		}
		if err := w.value(it.Next(), depth); err != nil {
			return err
		}
	}
	if separator == "[" {
		return w.write("[]")
	}
	return w.write("]")
}

func (w *jsonWriter) object(mapper traits.Mapper, depth int) error {
	var keys []string
	for it := mapper.Iterator(); it.HasNext() == types.True; {
		key, ok := it.Next().(types.String)
		if !ok {
			return fmt.Errorf("a key is not a string")
		}
		if keys = append(keys, string(key)); len(keys) > maxClaimBytes {
			return errTooLong
		}
	}
	slices.Sort(keys)
	separator := "{"
	for _, key := range keys {
		if err := w.write(separator); err != nil {
			return err
		}
		if err := w.string(key); err != nil {
			return err
		}
		if err := w.write(":"); err != nil {
			return err
		}
		if err := w.value(mapper.Get(types.String(key)), depth); err != nil {
			return err
		}
		separator = ","
	}
	if separator == "{" {
		return w.write("{}")
	}
	return w.write("}")
}

var errTooLong = fmt.Errorf("it is longer than %d bytes of JSON", maxClaimBytes)

func (w *jsonWriter) write(text string) error {
	if len(w.text)+len(text) > maxClaimBytes {
		return errTooLong
	}
	w.text = append(w.text, text...)
	return nil
}
