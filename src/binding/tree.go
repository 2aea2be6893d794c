package binding

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
)

// object is an object in the credentials, at any depth. It is small, because there may be many.
type object struct {
	name     string // where it is in its parent: "postgres", "tenants[0]"
	key      string // the folded key that it is under
	parent   *object
	values   []value  // sorted by name, so that the result is always the same
	known    []*value // those under keys that we read, which are asked for again and again
	items    []value  // the texts in lists of several items
	children []*object
	hosts    []address // under its own keys
	family   string    // of the keys that name its host: PGHOST

	strings    []connString // that are about it
	queries    []connString // in it, without a URI around them
	hasLogin   bool         // it names a user or a database
	beside     bool         // it has only the keys of a family, which are in its parent
	hasPEM     bool         // it has a certificate
	guessed    bool         // it may be about something else than Postgres
	asks       asking       // its values, or those of an object in it
	about      about        // other from the start if it has a URI of another kind of database
	namesOther func() bool  // whether what is beside its host names another kind of database
}

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
	in     *object
	name   string // the key, for people: "sslmode", "hosts[0]"
	key    string // folded, without the family
	family string
	raw    any // string, json.Number, bool, nil, []any or map[string]any
	asks   asking
	heard  bool // we have read the mode that it may contain
}

// asking is what a value asks for. Only a mode counts for the objects around it.
type asking int8

const (
	asksTLS asking = iota + 1 // without a mode
	anyMode                   // a mode that MySQL may have too
	ownMode                   // one in a word of Postgres's own
)

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
			isRead := !slices.Contains(secretKeys, v.key) || strings.HasSuffix(v.name, "]")
			if text, ok := v.raw.(string); ok && isRead && !yield(v, text) {
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

func (w *walker) object(parent *object, name, key string, raw map[string]any, depth int) {
	o := &object{name: name, key: key, parent: parent, values: make([]value, 0, len(raw))}
	hosts := map[string]string{} // the first key for a host, by its family
	for _, name := range slices.Sorted(maps.Keys(raw)) {
		family, key := inFamily(fold(name))
		o.values = append(o.values, value{in: o, name: name, key: key, family: family, raw: raw[name]})
		if slices.Contains(hostKeys, key) {
			hosts[family] = cmp.Or(hosts[family], name)
			o.family, o.namesOther = family, sync.OnceValue(func() bool { return namesOther(raw) })
		}
	}
	if len(hosts) > 1 {
		o.splitFamilies(hosts)
	}
	families := slices.Clip(o.children)
	w.objects = append(append(w.objects, o), families...)
	for _, in := range append([]*object{o}, families...) {
		w.values(in, depth)
	}
	if parent != nil {
		parent.children = append(parent.children, o)
	}
}

// splitFamilies makes an object of each family of keys with a host, where several hosts stand beside
// one another: "host": …, "PGHOST": …. A family without one belongs to the host beside it.
func (o *object) splitFamilies(hosts map[string]string) {
	delete(hosts, "") // o itself is about that one
	of := map[string]*object{}
	for family, host := range hosts {
		of[family] = &object{name: shownKey(host), parent: o, beside: true, family: family, namesOther: o.namesOther}
	}
	o.family, o.children = "", slices.SortedFunc(maps.Values(of), func(a, b *object) int {
		return strings.Compare(hosts[a.family], hosts[b.family])
	})
	for i := range o.values {
		v := &o.values[i]
		if v.in = cmp.Or(of[v.family], o); v.in != o {
			v.in.values = append(v.in.values, *v)
		}
	}
	o.values = slices.DeleteFunc(o.values, func(v value) bool { return v.in != o })
}

func (w *walker) values(o *object, depth int) {
	for i := range o.values {
		v, depth := &o.values[i], depth
		v.name = shownKey(v.name)
		if text, ok := v.raw.(string); ok && !slices.Contains(secretKeys, v.key) {
			if nested, err := asJSON(text); err == nil {
				v.raw = nested
			} else if err == errMany {
				w.err = err
			}
		}
		item, lists := unlist(v.raw)
		v.name, v.raw, depth = v.name+strings.Repeat("[0]", lists), item, depth+lists
		if _, isKnown := meanings[v.key]; isKnown {
			v.asks = v.asksFor()
			o.note(v.asks)
			o.known = append(o.known, v)
		}
		w.value(*v, depth)
	}
	o.hosts = o.readHosts()
	_, o.hasLogin = o.first(loginKeys)
}

// unlist returns the item of a list of one, and how many such lists are around it.
func unlist(raw any) (item any, lists int) {
	for list, ok := raw.([]any); ok && len(list) == 1; list, ok = raw.([]any) {
		raw, lists = list[0], lists+1
	}
	return raw, lists
}

func (w *walker) value(v value, depth int) {
	if depth > deepest {
		w.err = errDeep
		return
	}
	switch raw := v.raw.(type) {
	case map[string]any:
		w.object(v.in, v.name, v.key, raw, depth+1)
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
	isText := strings.ContainsAny(key, "@=?/ ") && strings.ContainsAny(key, "@=:")
	if isText || len(key) > 64 || strings.ContainsFunc(key, unicode.IsControl) {
		return "(a key that is not shown)"
	}
	return key
}

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
		isOwn := v.family == "" || v.family == o.family || slices.Contains(families, v.family)
		return isOwn && slices.Contains(kindKeys, v.key) && containsAny(asText(v.raw), words)
	})
}

func (v value) isEmpty() bool {
	text, isText := v.raw.(string)
	return v.raw == nil || isText && strings.TrimSpace(text) == ""
}

// asksFor says what the value asks for. A mode is under sslmode, under "mode" in an object "ssl" or
// "tls", or if it looks like one, under "ssl" or "tls" itself or "mode" in sslOptions. Of
// "encryption", and of "level" there, only one that verifies is a mode, since that of a storage may
// say anything. Node's rejectUnauthorized asks for TLS, whatever it says. MySQL has the words
// DISABLED, PREFERRED, REQUIRED, VERIFY_CA and VERIFY_IDENTITY.
//
// Source: MySQL's manual, "Command Options for Encrypted Connections", --ssl-mode.
func (v value) asksFor() asking {
	key := v.key
	if slices.Contains(tlsObjects, v.in.key) && slices.Contains(inTLSKeys, key) {
		key = "ssl" + key
	}
	text, _ := v.raw.(string)
	mode, _ := parseMode(text)
	isLevel := slices.Contains(levelKeys, key)
	switch {
	case v.isEmpty(), v.key == "mode" && len(v.in.key) > len("ssl") && !isModeWord(text):
		return 0
	case slices.Contains(modeKeys, key), isLevel && mode.Verifies(),
		(key == "ssl" || key == "tls") && isModeWord(text):
		isOwn := mode == sslmode.VerifyFull || mode > sslmode.Disable && text == mode.String()
		if isOwn && (mode.Verifies() || slices.Contains(modeKeys, v.key)) { // "tls": "require" may be a mail server's
			return ownMode
		}
		return anyMode
	case isLevel && (mode == sslmode.Require || isOneOf(text, "required")),
		slices.Contains(askKeys, key) && (isYes(v.raw) || isOneOf(asText(v.raw), "require")),
		slices.Contains(rejectKeys, key) && (isYes(v.raw) || isNo(v.raw)):
		return asksTLS
	}
	return 0
}

// note notes what is asked for in an object, also for those around it.
func (o *object) note(a asking) {
	for ; o != nil; o = o.parent {
		o.asks = max(o.asks, a)
	}
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
