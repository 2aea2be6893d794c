package binding

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
)

// setModes finds the modes of a database: in its strings, and under keys of the nearest object that
// has any.
func (r *reader) setModes(b *Binding, d *database) {
	for _, f := range d.strings {
		r.addModes(b, f)
	}
	if !d.isMain && b.Writes() == sslmode.None { // ssl=0 alone lowers nothing
		b.Asked = slices.DeleteFunc(b.Asked, func(a Asked) bool { return !a.Mode.Encrypts() })
	}
	if len(b.Asked) > 0 && !d.isMain {
		return // the keys are about another host than the string
	}
	for _, o := range d.objects {
		n := len(b.Asked)
		for outer := o; outer != nil && len(b.Asked) == n; outer = outer.parent {
			if outer.about != other && (outer == o || r.doubt(outer) == unknown) {
				r.addKeys(b, outer)
			}
		}
		for _, child := range o.children {
			if child.beside && len(b.Asked) == n { // PGSSLMODE beside a host that is not PGHOST
				r.addKeys(b, child)
			}
		}
	}
}

func (r *reader) addModes(b *Binding, f connString) {
	f.heard = true
	written := false
	for _, p := range f.modes {
		mode := r.ask(b, p.value, Asked{Place: Place{Path: f.path, Of: p.key}, By: p.by(f.by), Alias: p.alias})
		if p.alias && mode.Encrypts() && f.asksTLS.key == "" {
			f.asksTLS = p
		}
		written = written || !p.alias
	}
	if f.asksTLS.key != "" {
		place := Place{Path: f.path, Of: f.asksTLS.key}
		b.noteNoVerify(f.asksTLS.value, place)
		b.AsksTLS = cmp.Or(b.AsksTLS, place)
		if !written {
			b.SSLFlag = cmp.Or(b.SSLFlag, place)
		}
	}
	if isSystem(f.rootCert) {
		b.System = cmp.Or(b.System, Place{Path: f.path})
	}
}

// addKeys adds the modes under the keys of a level. A query about no host goes to one database.
func (r *reader) addKeys(b *Binding, of *object) {
	l := r.level(of)
	for _, a := range l.says.Asked {
		b.add(a)
	}
	b.AsksTLS, b.Notes = cmp.Or(b.AsksTLS, l.says.AsksTLS), append(b.Notes, l.says.Notes...)
	for _, f := range l.queries {
		if !f.heard {
			r.addModes(b, f)
		}
	}
}

// level is what an object and those nested in it say, without those about another database. A
// hundred databases may share it.
type level struct {
	says    Binding // by keys: modes, certificates and what else asks for TLS
	queries []connString
}

func (r *reader) level(o *object) *level {
	if r.levels[o] == nil {
		l := &level{}
		for _, in := range o.levels(nil) {
			for _, v := range in.known {
				r.addKey(&l.says, v)
			}
			l.queries = append(l.queries, in.queries...)
			if in.hasPEM && len(l.says.MoreCAs) <= mostHosts {
				l.says.MoreCAs = append(l.says.MoreCAs, in.moreCAs(o)...)
			}
		}
		r.levels[o] = l
	}
	return r.levels[o]
}

// levels adds the object and those nested in it, without those about a database of their own.
func (o *object) levels(all []*object) []*object {
	all = append(all, o)
	for _, child := range o.children {
		if child.about == unknown {
			all = child.levels(all)
		}
	}
	return all
}

// addKey adds the mode under a key, if it is a key for modes. Any other value there is an error: it
// must have been meant as a mode.
func (r *reader) addKey(b *Binding, v *value) {
	isMode := v.asks > asksTLS
	if v.asks == 0 {
		return
	}
	place := Place{Path: v.path()}
	switch written, isText := v.raw.(string); {
	case isMode && !isText:
		r.err = cmp.Or(r.err, fmt.Errorf("%s is not a text; write one of disable, allow, prefer, require, verify-ca, verify-full", place))
	case isMode:
		v.heard = true
		r.ask(b, written, Asked{Place: place, By: ByKey})
	default:
		b.AsksTLS = cmp.Or(b.AsksTLS, place)
		b.noteNoVerify(written, place)
		if isNo(v.raw) {
			b.Notes = append(b.Notes, place.String()+" asks for TLS that verifies nothing; for verified TLS, write sslmode verify-full")
		}
	}
}

func (r *reader) ask(b *Binding, written string, a Asked) sslmode.Mode {
	var err error
	if a.Mode, err = parseMode(written); err != nil {
		r.err = cmp.Or(r.err, inside(a.Place.String(), err))
		return a.Mode
	}
	b.noteNoVerify(written, a.Place)
	b.add(a)
	return a.Mode
}

// add adds a mode once for each place. After a hundred, one of each kind is enough to find a
// contradiction.
func (b *Binding) add(a Asked) {
	known := func(old Asked) bool {
		sameKind := old.Mode == a.Mode && old.By == a.By && old.Alias == a.Alias
		return sameKind && (len(b.Asked) > mostHosts || old.Place == a.Place)
	}
	if !slices.ContainsFunc(b.Asked, known) {
		b.Asked = append(b.Asked, a)
	}
}

func (b *Binding) noteNoVerify(written string, place Place) {
	if isNoVerify(written) {
		b.Notes = append(b.Notes, place.String()+" is no-verify, node-postgres's word for require: it verifies nothing")
	}
}
