package binding

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
)

// object is an object in the credentials, at any depth.
type object struct {
	path     string // "connection.postgres"; "" for the credentials themselves
	key      string // the folded key that it is under
	parent   *object
	raw      map[string]any
	values   []value // under keys that we read, sorted so that the result is always the same
	children []*object
	hosts    []address // under its own keys
	hasLogin bool      // it names a user or a database
	family   string    // of the keys that name its host: PGHOST
	beside   bool      // it has only the keys of a family, which are in its parent

	strings     []connString // that are about it
	queries     []connString // in it, without a URI around them
	pems        []text       // in it: certificates
	hasOtherURI bool         // it has a URI of another kind of database
	asks        asking
	about       about
	guessed     bool      // it may be about something else than Postgres
	nested      []*object // the cache of levels
}

// about says what an object is about.
type about int

const (
	unknown  about = iota
	postgres       // a Postgres connection
	doubtful       // only a tag or a port says that it is another kind of database
	other          // MySQL or another kind of database, so never Postgres
)

// value is the value under a key of an object.
type value struct {
	in     *object
	path   string // for errors: "tenants[0].sslmode"
	family string // of the key: pg of PGHOST
	key    string // folded, without the family
	raw    any    // string, json.Number, bool, nil, []any or map[string]any; the item of a list of one
}

// text is a text anywhere in the credentials, also as an item of a list.
type text struct {
	in   *object
	path string
	key  string // folded; for an item, the key of the list
	text string
}

// isSecret says whether the text is a password, which we never read as a connection string. A text
// in a list is not.
func (t text) isSecret() bool {
	return slices.Contains(secretKeys, t.key) && !strings.HasSuffix(t.path, "]")
}

const deepest = 32

var errDeep = fmt.Errorf("the credentials are nested more than %d levels deep", deepest)

// walk returns the objects and the texts of credentials, outer ones first. It also reads a text
// that is a JSON object or list, because SERVICE_BINDING_ROOT delivers those as texts.
func walk(credentials map[string]any) ([]*object, []text, error) {
	w := walker{}
	if w.object(nil, "", "", credentials, 0); w.tooDeep {
		return nil, nil, errDeep
	}
	return w.objects, w.texts, nil
}

type walker struct {
	objects []*object
	texts   []text
	tooDeep bool
}

func (w *walker) object(parent *object, key, path string, raw map[string]any, depth int) *object {
	o := &object{path: path, key: key, parent: parent, raw: raw}
	w.objects = append(w.objects, o)
	values, hosts := make([]value, 0, len(raw)), 0
	for key, raw := range raw {
		v := value{path: key, raw: raw}
		if v.family, v.key = inFamily(fold(key)); v.isHost() {
			hosts++
		}
		values = append(values, v)
	}
	slices.SortFunc(values, func(a, b value) int { return strings.Compare(a.path, b.path) })
	for i := range values {
		values[i].path = joinPath(path, values[i].path)
	}
	var of map[string]*object
	if hosts > 1 {
		of = o.families(values)
		w.objects = append(w.objects, o.children...)
	}
	for _, v := range values {
		v.in = cmp.Or(of[v.family], o)
		if s, ok := v.raw.(string); ok && !slices.Contains(secretKeys, v.key) {
			if nested, ok := asJSON(s); ok {
				v.raw = nested
			}
		}
		w.value(v, depth)
		if hasMeaning(v.key) {
			v.raw = single(v.raw)
			v.in.values = append(v.in.values, v)
		}
		if v.isHost() {
			v.in.family = cmp.Or(v.in.family, v.family)
		}
	}
	o.finish()
	for _, family := range of {
		family.finish()
	}
	return o
}

func (o *object) finish() {
	o.hosts = o.readHosts()
	_, o.hasLogin = o.first(loginKeys)
}

func (w *walker) value(v value, depth int) {
	if w.tooDeep = w.tooDeep || depth > deepest; w.tooDeep {
		return
	}
	switch raw := v.raw.(type) {
	case string:
		w.texts = append(w.texts, text{v.in, v.path, v.key, raw})
	case map[string]any:
		v.in.children = append(v.in.children, w.object(v.in, v.key, v.path, raw, depth+1))
	case []any:
		for i, item := range raw {
			w.value(value{in: v.in, path: v.path + "[" + strconv.Itoa(i) + "]", key: v.key, raw: item}, depth+1)
		}
	}
}

// families makes an object of each family of keys with a host, if there are several hosts beside
// one another: "host": …, "PGHOST": …. A family without one belongs to the host beside it.
func (o *object) families(values []value) map[string]*object {
	of := map[string]*object{}
	for _, v := range values {
		if !v.isHost() || of[v.family] != nil {
			continue
		}
		of[v.family] = &object{path: v.path, parent: o, raw: o.raw, beside: true}
		if v.family != "" {
			o.children = append(o.children, of[v.family])
		}
	}
	if len(of) < 2 {
		o.children = nil
		return nil
	}
	delete(of, "")
	return of
}

func (v value) isHost() bool { return slices.Contains(hostKeys, v.key) }

// joinPath adds a key to a path. A key comes from the binding too. If it does not look like a key,
// it may be anything, so it is not shown.
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
	if !strings.HasPrefix(trimmed, "{") && !strings.HasPrefix(trimmed, "[") {
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
	if _, err := decoder.Token(); err != io.EOF {
		return nil, errors.New("more than one value")
	}
	return v, nil
}

// asText returns a text or a number as text. It joins the texts of a list with commas.
func asText(raw any) string { return joinTexts(raw, ",") }

// joinTexts is asText with another separator. Certificates may come as a list.
func joinTexts(raw any, separator string) string {
	switch v := raw.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	case []any:
		var texts []string
		for _, item := range v {
			if t := joinTexts(item, separator); t != "" {
				texts = append(texts, t)
			}
		}
		return strings.Join(texts, separator)
	}
	return ""
}

// first returns the value of the first key that has a text or a number in the object.
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

// says reports whether the object's kind, written under one of kindKeys, contains one of the words.
func (o *object) says(words []string) bool {
	return slices.ContainsFunc(o.values, func(v value) bool {
		return slices.Contains(kindKeys, v.key) && containsAny(asText(v.raw), words)
	})
}

// isEmpty says whether a value is null or a blank text.
func (v value) isEmpty() bool {
	text, isText := v.raw.(string)
	return v.raw == nil || isText && strings.TrimSpace(text) == ""
}

// isMode says whether the value should be a mode: under sslmode, under "mode" in an object "ssl" or
// "tls", or under "ssl" or "tls" itself if it looks like a mode. As "encryption" and as "level"
// there, only one that verifies is a mode, since that of a storage may say anything.
func (v value) isMode() bool {
	text, _ := v.raw.(string)
	switch v.key {
	case "mode":
		return v.in.isTLS()
	case "ssl", "tls":
		return isModeWord(text)
	case "level", "encryption":
		return v.level().Verifies()
	}
	return slices.Contains(modeKeys, v.key)
}

// level returns the mode under "encryption", or under "level" in an object "ssl" or "tls".
func (v value) level() sslmode.Mode {
	if v.key != "encryption" && (v.key != "level" || !v.in.isTLS()) {
		return sslmode.None
	}
	text, _ := v.raw.(string)
	mode, _ := parseMode(text)
	return mode
}

// asksForTLS says whether the value asks for TLS without a mode. Node's word for any certificate,
// "rejectUnauthorized": false, does too.
func (v value) asksForTLS() bool {
	switch {
	case slices.Contains(askKeys, v.key):
		return isYes(v.raw)
	case v.key == "rejectunauthorized" && v.in.isTLS() && isNo(v.raw), v.level() == sslmode.Require:
		return true
	}
	return slices.Contains(inTLSKeys, v.key) && v.in.isTLS() && isYes(v.raw)
}

// isTLS says whether the object is the value of a key "ssl" or "tls".
func (o *object) isTLS() bool { return o.key == "ssl" || o.key == "tls" }

// single returns the only item of a list of one, and any other value unchanged.
func single(raw any) any {
	if list, ok := raw.([]any); ok && len(list) == 1 {
		return list[0]
	}
	return raw
}

// nearest returns the nearest object, from o outwards, that is about a database of any kind.
func (o *object) nearest() *object {
	for ; o != nil; o = o.parent {
		if o.about != unknown {
			return o
		}
	}
	return nil
}
