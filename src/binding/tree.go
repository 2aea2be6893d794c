package binding

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
)

// object is an object in the credentials, at any depth. It is small, because there may be many.
type object struct {
	name     string // where it is in its parent: "postgres", "tenants[0]"
	key      string // the folded key that it is under
	parent   *object
	values   []value  // sorted by name, so that the result is always the same
	known    []*value // those whose key or value we know, which are asked for again and again
	items    []value  // the texts in lists of several items
	children []*object
	hosts    []address // under its own keys
	family   string    // of the keys that name its host: PGHOST

	strings     []connString // that are about it
	queries     []connString // in it, without a URI around them
	hasLogin    bool         // it names a user or a database
	beside      bool         // it has only the keys of a family, which are in its parent
	hasOtherURI bool         // it has a URI of another kind of database
	hasPEM      bool         // it has a certificate
	guessed     bool         // it may be about something else than Postgres
	asks        asking
	about       about
}

// about says what an object is about.
type about int8

const (
	unknown  about = iota
	postgres       // a Postgres connection
	doubtful       // only a tag or a port says that it is another kind of database
	other          // MySQL or another kind of database, so never Postgres
)

// value is the value under a key of an object, or an item of a list there. A list of one is its
// item.
type value struct {
	in    *object
	name  string // the key, for people: "sslmode", "hosts[0]"
	key   string // folded, without the family
	raw   any    // string, json.Number, bool, nil, []any or map[string]any
	heard bool   // we have read the mode that it may contain
}

// path says where an object is, for errors: "connection.postgres". It is "" for the credentials
// themselves. The keys of a family are where their parent's are.
func (o *object) path() string {
	switch {
	case o.parent == nil:
		return ""
	case o.beside:
		return o.parent.path()
	}
	return joinPath(o.parent.path(), o.name)
}

func (v value) path() string { return joinPath(v.in.path(), v.name) }

// texts returns the texts in an object that may be connection strings or certificates, in order. A
// password is neither, unless it is in a list.
func (o *object) texts() iter.Seq2[*value, string] {
	return func(yield func(*value, string) bool) {
		items := o.items
		for i := range o.values {
			v := &o.values[i]
			text, ok := v.raw.(string)
			if ok && (!slices.Contains(secretKeys, v.key) || strings.HasSuffix(v.name, "]")) && !yield(v, text) {
				return
			}
			for len(items) > 0 && items[0].key == v.key {
				if !yield(&items[0], items[0].raw.(string)) {
					return
				}
				items = items[1:]
			}
		}
	}
}

const deepest = 32

var errDeep = fmt.Errorf("the credentials are nested more than %d levels deep", deepest)

// walk returns the objects of credentials, outer ones first. It also reads a text that is a JSON
// object or list, because SERVICE_BINDING_ROOT delivers those as texts.
func walk(credentials map[string]any) ([]*object, error) {
	w := walker{}
	w.object(nil, "", "", credentials, 0)
	return w.objects, w.err
}

type walker struct {
	objects []*object
	err     error // errDeep or errMany
}

func (w *walker) object(parent *object, name, key string, raw map[string]any, depth int) *object {
	o := &object{name: name, key: key, parent: parent, values: make([]value, 0, len(raw))}
	hosts := 0
	for name, raw := range raw {
		family, key := inFamily(fold(name))
		o.values = append(o.values, value{in: o, name: name, key: key, raw: raw})
		if slices.Contains(hostKeys, key) {
			hosts++
			o.family = family
		}
	}
	slices.SortFunc(o.values, func(a, b value) int { return strings.Compare(a.name, b.name) })
	if hosts > 1 {
		o.splitFamilies()
	}
	families := slices.Clip(o.children)
	w.objects = append(append(w.objects, o), families...)
	w.values(o, depth)
	for _, family := range families {
		w.values(family, depth)
	}
	return o
}

// splitFamilies makes an object of each family of keys with a host, if there are several hosts
// beside one another: "host": …, "PGHOST": …. A family without one belongs to the host beside it.
func (o *object) splitFamilies() {
	of := map[string]*object{}
	for _, v := range o.values {
		family, key := inFamily(fold(v.name))
		if !slices.Contains(hostKeys, key) || of[family] != nil {
			continue
		}
		of[family] = &object{name: shownKey(v.name), parent: o, beside: true, family: family}
		if family != "" {
			o.children = append(o.children, of[family])
		}
	}
	if len(of) < 2 {
		o.children = nil
		return
	}
	o.family, of[""] = "", o
	for i := range o.values {
		v := &o.values[i]
		family, _ := inFamily(fold(v.name))
		if v.in = cmp.Or(of[family], o); v.in != o {
			v.in.values = append(v.in.values, *v)
		}
	}
	o.values = slices.DeleteFunc(o.values, func(v value) bool { return v.in != o })
}

// values goes on in the values of an object.
func (w *walker) values(o *object, depth int) {
	for i := range o.values {
		v, depth := &o.values[i], depth
		v.name = shownKey(v.name)
		if text, ok := v.raw.(string); ok && !slices.Contains(secretKeys, v.key) {
			nested, err := asJSON(text)
			switch err {
			case nil:
				v.raw = nested
			case errMany:
				w.err = err
			}
		}
		list, ok := v.raw.([]any)
		for ; ok && len(list) == 1 && depth <= deepest; list, ok = v.raw.([]any) {
			v.name, v.raw, depth = v.name+"[0]", list[0], depth+1
		}
		if _, isKnown := meanings[v.key]; isKnown || v.isMode() || v.asksForTLS() {
			o.known = append(o.known, v)
		}
		w.value(*v, depth)
	}
	o.hosts = o.readHosts()
	_, o.hasLogin = o.first(loginKeys)
}

func (w *walker) value(v value, depth int) {
	if depth > deepest {
		w.err = errDeep
		return
	}
	switch raw := v.raw.(type) {
	case map[string]any:
		v.in.children = append(v.in.children, w.object(v.in, v.name, v.key, raw, depth+1))
	case []any:
		for i, item := range raw {
			v := value{in: v.in, name: v.name + "[" + strconv.Itoa(i) + "]", key: v.key, raw: item}
			if _, ok := item.(string); ok {
				v.in.items = append(v.in.items, v)
			}
			w.value(v, depth+1)
		}
	}
}

// shownKey is a key for people. It comes from the binding too. If it does not look like a key, it may
// be anything, so it is not shown.
func shownKey(key string) string {
	if len(key) > 64 || strings.ContainsFunc(key, unicode.IsControl) || strings.ContainsAny(key, "@=?/ ") && strings.ContainsAny(key, "@=:") {
		return "(a key that is not shown)"
	}
	return key
}

// joinPath adds a key to a path.
func joinPath(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// asJSON reads a text that is a JSON object or list.
func asJSON(s string) (any, error) {
	trimmed := strings.TrimSpace(s)
	if !strings.HasPrefix(trimmed, "{") && !strings.HasPrefix(trimmed, "[") {
		return nil, errNoJSON
	}
	return decodeJSON([]byte(trimmed))
}

// mostSigns limits a JSON text, and so the time that a launch takes. A thousand services have about
// as many.
const mostSigns = 30_000

var (
	errMany   = fmt.Errorf("more than %d commas and brackets: unbind some services", mostSigns)
	errNoJSON = errors.New("not one value")
)

// decodeJSON reads JSON and keeps numbers as they are written.
func decodeJSON(data []byte) (v any, err error) {
	if bytes.Count(data, []byte(","))+bytes.Count(data, []byte("{"))+bytes.Count(data, []byte("[")) > mostSigns {
		return nil, errMany
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if err := decoder.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, errNoJSON
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
		for _, v := range o.known {
			if v.key == key && asText(v.raw) != "" {
				return *v, true
			}
		}
	}
	return value{}, false
}

// says reports whether the object's kind, written under one of kindKeys, contains one of the words. The
// kind of something beside it does not count: cache_db_type.
func (o *object) says(words []string) bool {
	return slices.ContainsFunc(o.known, func(v *value) bool {
		if !slices.Contains(kindKeys, v.key) || !containsAny(asText(v.raw), words) {
			return false
		}
		family, _ := inFamily(fold(v.name))
		return family == "" || family == o.family || slices.Contains(families, family)
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
	switch {
	case slices.Contains(modeKeys, v.key), v.key == "mode" && (v.in.key == "ssl" || v.in.key == "tls"):
		return true
	case v.key == "ssl", v.key == "tls", v.tlsKey() == "mode":
		return isModeWord(text)
	}
	return v.level().Verifies()
}

// level returns the mode under "encryption", or under "level" in an object "ssl" or "tls".
func (v value) level() sslmode.Mode {
	if v.key != "encryption" && v.tlsKey() != "level" {
		return sslmode.None
	}
	text, _ := v.raw.(string)
	if isOneOf(text, "required") {
		return sslmode.Require
	}
	mode, _ := parseMode(text)
	return mode
}

// asksForTLS says whether the value asks for TLS without a mode. Node's word for any certificate,
// "rejectUnauthorized": false, does too.
func (v value) asksForTLS() bool {
	key := v.tlsKey()
	switch {
	case slices.Contains(askKeys, v.key):
		return isYes(v.raw) || isOneOf(asText(v.raw), "require")
	case key == "rejectunauthorized" && isNo(v.raw), v.level() == sslmode.Require:
		return true
	}
	return slices.Contains(inTLSKeys, key) && isYes(v.raw)
}

// tlsKey returns the key in an object "ssl" or "tls", also of a flat ssl.level. It is "" elsewhere.
func (v value) tlsKey() string {
	if v.in.isTLS() {
		return v.key
	}
	key, _ := cutTLS(v.key)
	return key
}

// isTLS says whether the object is the value of a key "ssl" or "tls", or of such as sslOptions.
func (o *object) isTLS() bool {
	rest, ok := cutTLS(o.key)
	return ok && slices.Contains([]string{"", "options", "opts", "config", "configuration", "settings"}, rest)
}

func cutTLS(key string) (rest string, ok bool) {
	if len(key) < len("ssl") || key[:3] != "ssl" && key[:3] != "tls" {
		return "", false
	}
	return key[3:], true
}

// kind says what the nearest object is about, from o outwards, that is about a database of any kind.
func (o *object) kind() about {
	for ; o != nil; o = o.parent {
		if o.about != unknown {
			return o.about
		}
	}
	return unknown
}
