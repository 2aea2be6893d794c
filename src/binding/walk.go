package binding

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
)

// object is one object of the credentials, however deep. A connection belongs to the object in which it is written.
type object struct {
	path     string // "" for the credentials themselves, else "connection.postgres"
	key      string // folded, under which it stands
	parent   *object
	values   []value // under keys that mean something, by their spelling, so that the result does not depend on chance
	children []*object

	other bool // it is about MySQL or another kind of database, and then never about a Postgres connection
	holds bool // it is about a Postgres connection
}

// value is what stands under a key of an object.
type value struct {
	in   *object
	path string // for people: "tenants[0].sslmode"
	key  string // folded
	raw  any    // string, json.Number, bool, nil, []any or map[string]any
}

// text is a text anywhere in the credentials, also in a list.
type text struct {
	in   *object
	path string
	key  string // folded, of the list where it stands in one
	text string
}

// isSecret says whether the text is a password, which is never taken for a connection string. A list under such a key is none.
func (t text) isSecret() bool {
	return slices.Contains(secretKeys, t.key) && !strings.HasSuffix(t.path, "]")
}

const deepest = 32

// errDeep says that nobody can have meant this.
var errDeep = fmt.Errorf("the credentials are nested more than %d levels deep", deepest)

// walk returns the objects and the texts of credentials, outer ones first. A text that is itself a JSON object or list is read as
// one: that is how SERVICE_BINDING_ROOT delivers them.
func walk(credentials map[string]any) (root *object, objects []*object, texts []text, err error) {
	w := walker{}
	root, err = w.object(nil, "", "", credentials, 0)
	return root, w.objects, w.texts, err
}

type walker struct {
	objects []*object
	texts   []text
}

func (w *walker) object(parent *object, key, path string, raw map[string]any, depth int) (*object, error) {
	if depth > deepest {
		return nil, errDeep
	}
	o := &object{path: path, key: key, parent: parent}
	w.objects = append(w.objects, o)
	keys := make([]string, 0, len(raw))
	for key := range raw {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		v := value{in: o, path: joinPath(path, key), key: fold(key), raw: raw[key]}
		if s, ok := v.raw.(string); ok && !slices.Contains(secretKeys, v.key) {
			if nested, ok := asJSON(s); ok {
				v.raw = nested
			}
		}
		if hasMeaning(v.key) {
			o.values = append(o.values, v)
		}
		if err := w.value(o, v.key, v.path, v.raw, depth); err != nil {
			return nil, err
		}
	}
	return o, nil
}

func (w *walker) value(in *object, key, path string, raw any, depth int) error {
	switch v := raw.(type) {
	case string:
		w.texts = append(w.texts, text{in, path, key, v})
	case map[string]any:
		child, err := w.object(in, key, path, v, depth+1)
		if err != nil {
			return err
		}
		in.children = append(in.children, child)
	case []any:
		if depth >= deepest {
			return errDeep
		}
		for i, item := range v {
			if err := w.value(in, key, path+"["+strconv.Itoa(i)+"]", item, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// joinPath adds a key to a path. A key comes from a binding too: one that does not look like a key may be anything, and is not shown.
func joinPath(path, key string) string {
	if len(key) > 64 || strings.ContainsFunc(key, unicode.IsControl) || strings.ContainsAny(key, "@=?/ ") && strings.ContainsAny(key, "@=:") {
		key = "(a key that is not shown)"
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// asJSON reads a text that is a JSON object or list.
func asJSON(s string) (any, bool) {
	trimmed := strings.TrimSpace(s)
	if len(trimmed) < 2 || !(trimmed[0] == '{' && trimmed[len(trimmed)-1] == '}' || trimmed[0] == '[' && trimmed[len(trimmed)-1] == ']') {
		return nil, false
	}
	nested, err := decodeJSON([]byte(trimmed))
	return nested, err == nil
}

// decodeJSON reads JSON and keeps numbers as they are written.
func decodeJSON(data []byte) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		return nil, err
	}
	if decoder.More() {
		return nil, errors.New("more than one value")
	}
	return v, nil
}

// asText returns a text or a number as text, and the texts of a list joined by commas.
func asText(raw any) string {
	switch v := raw.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	case []any:
		var texts []string
		for _, item := range v {
			if t := asText(item); t != "" {
				texts = append(texts, t)
			}
		}
		return strings.Join(texts, ",")
	}
	return ""
}

// first returns the value of the first of the keys under which the object has a text or a number.
func (o *object) first(keys []string) (value, bool) {
	for _, key := range keys {
		for _, v := range o.values {
			if v.key == key && asText(v.raw) != "" {
				return v, true
			}
		}
	}
	return value{}, false
}

// says whether a key that tells what the object is about holds one of the words.
func (o *object) says(words []string) bool {
	return slices.ContainsFunc(o.values, func(v value) bool {
		return slices.Contains(kindKeys, v.key) && holdsAny(asText(v.raw), words)
	})
}

// isMode says whether the key is one for modes: sslmode, "ssl": {"mode": …}, or "ssl" and "tls" with a mode.
func (v value) isMode() bool {
	switch v.key {
	case "mode":
		return v.in.key == "ssl" || v.in.key == "tls"
	case "ssl", "tls":
		text, _ := single(v.raw).(string)
		return sslmode.Resembles(text)
	}
	return slices.Contains(modeKeys, v.key)
}

// single returns the item of a list of one, and anything else as it is.
func single(raw any) any {
	if list, ok := raw.([]any); ok && len(list) == 1 {
		return list[0]
	}
	return raw
}

// owner returns the nearest object, from o outwards, that is about a database of whatever kind.
func (o *object) owner() *object {
	for ; o != nil; o = o.parent {
		if o.holds || o.other {
			return o
		}
	}
	return nil
}
