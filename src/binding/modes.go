package binding

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// setModes finds the modes of a database: in its strings, and under keys of the nearest object that
// has any.
func (r *reader) setModes(b *Binding, d *database) error {
	for _, f := range d.strings {
		by := ByString
		if f.in.parent == nil && f.key == "uri" {
			by = ByURI
		}
		if f.inProse {
			by = ByProse
		}
		if err := r.addModes(b, f, by); err != nil {
			return err
		}
	}
	if len(b.Asked) > 0 && !d.isMain {
		return nil // the keys are about another host than the string
	}
	for _, o := range d.objects {
		n := len(b.Asked)
		for level := o; level != nil && len(b.Asked) == n; level = level.parent {
			if level.about >= doubtful || level != o && r.doubt(level) != unknown {
				continue
			}
			if err := r.addKeys(b, level); err != nil {
				return err
			}
		}
		for _, child := range o.children {
			if child.family != "" && len(b.Asked) == n { // PGSSLMODE beside a host that is not PGHOST
				if err := r.addKeys(b, child); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// addModes adds the modes of a connection string.
func (r *reader) addModes(b *Binding, f connString, by By) error {
	r.modeRead[f.path] = true
	written := false
	for _, p := range f.modes {
		mode, err := parseMode(p.value)
		if err != nil {
			return fmt.Errorf("%s: %w", f.place("", p.key), err)
		}
		of := ""
		if len(f.modes) > 1 || p.alias {
			of = p.key
		}
		b.ask(Asked{mode, f.place(of, p.key), by, p.alias})
		b.noteNoVerify(p.value, f.place(of, p.key))
		if p.alias && mode.Encrypts() {
			f.asksTLS = p.key
		}
		written = written || !p.alias
	}
	if f.asksTLS != "" {
		place := f.place(f.asksTLS, f.asksTLS)
		b.AsksTLS = cmp.Or(b.AsksTLS, place)
		if !written {
			b.SSLFlag = cmp.Or(b.SSLFlag, place)
		}
	}
	if f.system {
		b.System = cmp.Or(b.System, Place{Path: f.path})
	}
	return nil
}

// place returns the place of a parameter: of in a query, key among keywords.
func (f connString) place(of, key string) Place {
	if f.inQuery {
		return Place{Path: f.path, Kind: Query, Of: of}
	}
	return Place{Path: f.path, Kind: Word, Of: key}
}

// addKeys adds the modes under the keys of an object and of what is nested in it. It skips nested
// objects that are about another database.
func (r *reader) addKeys(b *Binding, level *object) error {
	for _, in := range r.levels(level) {
		for _, v := range in.values {
			if err := r.addKey(b, v); err != nil {
				return err
			}
		}
		for _, f := range r.queries[in] {
			if !r.modeRead[f.path] {
				if err := r.addModes(b, f, ByString); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// levels returns the object itself and the objects nested in it, without those about a database of
// their own.
func (r *reader) levels(level *object) []*object {
	if known, ok := r.nested[level]; ok {
		return known // a thousand connections may share one outer object
	}
	var all []*object
	var visit func(o *object)
	visit = func(o *object) {
		all = append(all, o)
		for _, child := range o.children {
			if child.about == unknown {
				visit(child)
			}
		}
	}
	visit(level)
	r.nested[level] = all
	return all
}

// ask adds a mode, once for each place. After a hundred, one of each kind is enough to find a
// contradiction.
func (b *Binding) ask(a Asked) {
	known := func(old Asked) bool {
		return old == a || len(b.Asked) > mostHosts && old.Mode == a.Mode && old.By == a.By && old.Alias == a.Alias
	}
	if !slices.ContainsFunc(b.Asked, known) {
		b.Asked = append(b.Asked, a)
	}
}

// addKey adds the mode under a key, if it is a key for modes. Any other value there is an error: it
// must have been meant as a mode.
func (r *reader) addKey(b *Binding, v value) error {
	place := Place{Path: v.path}
	raw := single(v.raw)
	if isEmpty(raw) {
		return nil
	}
	written, isText := raw.(string)
	switch {
	case v.isMode() && !isText:
		return fmt.Errorf("%s is %s; write one of disable, allow, prefer, require, verify-ca, verify-full", place, kindOf(raw))
	case v.isMode():
		mode, err := parseMode(written)
		if err != nil {
			return fmt.Errorf("%s: %w", place, err)
		}
		b.noteNoVerify(written, place)
		r.modeRead[v.path], r.modeRead[v.path+"[0]"] = true, true
		b.ask(Asked{Mode: mode, Place: place, By: ByKey})
	case v.asksForTLS():
		b.AsksTLS = cmp.Or(b.AsksTLS, place)
		if v.key == "rejectunauthorized" && raw != true && !isYes(asText(raw)) {
			b.Notes = append(b.Notes, place.String()+" asks for TLS that verifies nothing; for verified TLS, write sslmode verify-full")
		}
	}
	return nil
}

// noteNoVerify notes node-postgres's own word.
func (b *Binding) noteNoVerify(written string, place Place) {
	if isNoVerify(written) {
		b.Notes = append(b.Notes, place.String()+" is no-verify, node-postgres's word for require: it verifies nothing")
	}
}

// isEmpty says whether a value is null or a blank text.
func isEmpty(raw any) bool {
	raw = single(raw)
	text, isText := raw.(string)
	return raw == nil || isText && strings.TrimSpace(text) == ""
}

func kindOf(raw any) string {
	switch v := raw.(type) {
	case bool:
		return fmt.Sprint(v)
	case []any:
		return "a list"
	case map[string]any:
		return "an object"
	}
	return "a number"
}
