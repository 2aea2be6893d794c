package binding

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
)

// checkAllHeard is the safety net. If a Postgres connection has a mode that we have not read, the
// app must not start. The same is true of a service that may be Postgres and does not say so.
func (r *reader) checkAllHeard(bindings []Binding) error {
	if len(r.databases) == 0 && r.says(otherKinds) {
		return nil
	}
	for _, o := range r.objects {
		for _, v := range o.values {
			switch {
			case !v.isUnheard():
			case v.asks != 0, !readsLikeMode(v.key), !r.namesHost():
				return r.unheard(v.path(), "asks for an sslmode")
			default:
				return fmt.Errorf("credential %s is no key that is read; did you mean sslmode?", v.path())
			}
		}
	}
	written := sslmode.None
	for _, b := range bindings {
		written = max(written, b.Writes())
	}
	const unreadable = "contains an sslmode that cannot be read"
	for _, f := range r.strings {
		if unread := f.unread(f.text); unread > written || unread.Verifies() {
			return r.unheard(f.path, unreadable)
		}
	}
	mayBeMeant := len(r.databases) > 0 || r.namesHost()
	for _, o := range r.objects {
		if o.kind() > postgres {
			continue
		}
		for v, text := range o.texts() {
			if v.heard {
				continue
			}
			strictest, asks := modeIn(text)
			if strictest != sslmode.None {
				asks = strictest > written // else it is only an example
			}
			scheme, _, isURL := strings.Cut(text, "://")
			foreign := isURL && len(scheme) < 64 && isForeignScheme(scheme)
			what := ""
			switch mode, _ := sslmode.Parse(text); {
			case asks && !foreign:
				what = unreadable
			case mayBeMeant && mode.Verifies():
				what = "says " + mode.String()
			case mayBeMeant && written < sslmode.Require && fold(text) == "sslmode": // {"name": "sslmode", "value": …}
				what = "asks for an sslmode"
			}
			if what != "" {
				return r.unheard(v.path(), what)
			}
		}
	}
	return nil
}

func (r *reader) unheard(path, what string) error {
	if r.namesHost() {
		return fmt.Errorf("credential %s %s, but it is not clear for which Postgres database; write it beside the host or the uri, "+
			"as sslmode", path, what)
	}
	return fmt.Errorf("credential %s %s, but no host was recognised; name it with the credential hostname, host or uri", path, what)
}

func (r *reader) namesHost() bool {
	return len(r.strings) > 0 || slices.ContainsFunc(r.objects, func(o *object) bool { return len(o.hosts) > 0 })
}

// isUnheard says whether a key seems to be for a mode that we have not read. Of a misspelled key,
// the value must be a mode: ssl_moode. Of ssl, it must begin like one: verify_identity.
func (v value) isUnheard() bool {
	text, _ := v.raw.(string)
	switch kind := v.in.kind(); {
	case v.heard, v.isEmpty():
		return false
	case slices.Contains([]string{"ssl", "tls", "encryption"}, v.key):
		return kind == postgres && strings.HasPrefix(fold(text), "verify")
	case !readsLikeMode(v.key), containsAny(v.key, otherKinds), kind == other, kind == doubtful && v.asks != ownMode:
		return false
	}
	_, err := sslmode.Parse(text)
	return strings.Contains(v.key, "sslmode") || err == nil
}

// unread returns the strictest mode that a string writes outside its password, if nobody reads it:
// in another place than a parameter, or before one that overrules it. It finds verify-ca and
// verify-full anywhere: escaped twice, or behind a misspelt key.
func (c connection) unread(text string) sslmode.Mode {
	if password := c.says["password"]; len(password) >= len("verifyca") { // a shorter one says no mode
		text = strings.Replace(text, password, "", 1)
	}
	strictest, _ := modeIn(text)
	for _, mode := range []sslmode.Mode{sslmode.VerifyCA, sslmode.VerifyFull} {
		if strings.Contains(fold(text), fold(mode.String())) {
			strictest = mode
		}
	}
	if slices.Max(append(c.read(false), sslmode.None)) >= strictest {
		return sslmode.None
	}
	return strictest
}

// readsLikeMode says whether a folded key may be a misspelled sslmode.
func readsLikeMode(key string) bool {
	i := max(strings.LastIndex(key, "sslm"), strings.LastIndex(key, "tlsm"))
	return strings.Contains(key, "sslmode") || i >= 0 && strings.Trim(key[i+3:], "mode") == ""
}

// modeEscapes undoes the escapes that a "=" gets in a query, once or twice.
var modeEscapes = strings.NewReplacer("%253d", "=", "%3d", "=", "%3a", ":", "%20", " ")

// modeIn returns the strictest mode that a text writes right behind something that reads like
// sslmode: "sslmode=require", "{'sslmode': 'verify-full'}", "--sslmode verify-full". libpq's other
// parameters, such as channel_binding=require, are none, nor is prose: "sslmode require is fine".
// asks says whether it contains "sslmode=" in any spelling, whatever follows.
func modeIn(text string) (strictest sslmode.Mode, asks bool) {
	if text = strings.ToLower(text); !strings.Contains(text, "ssl") && !strings.Contains(text, "tls") {
		return sslmode.None, false
	}
	if strings.Contains(text, "%") {
		text = modeEscapes.Replace(text)
	}
	for i := range len(text) {
		if !strings.HasPrefix(text[i:], "ssl") && !strings.HasPrefix(text[i:], "tls") {
			continue
		}
		name := strings.TrimLeft(text[i+3:], "_-. ")
		rest := strings.TrimLeft(name, "mode")
		if !strings.HasPrefix(name, "m") || len(name)-len(rest) < len("mod") {
			continue
		}
		value := strings.TrimLeft(rest, " \t'\"])}")
		switch {
		case strings.HasPrefix(value, "="):
			asks = asks || fold(text[i:len(text)-len(rest)]) == "sslmode"
		case strings.HasPrefix(value, ":") && beginsItem(text[:i]), value != rest && strings.HasSuffix(text[:i], "-"):
		default:
			continue
		}
		value = strings.TrimLeft(value, " \t'\"])}=:>[({")
		word := value[:len(value)-len(strings.TrimLeft(value, "abcdefghijklmnopqrstuvwxyz_-"))]
		mode, _ := parseMode(word)
		strictest = max(strictest, mode)
	}
	return strictest, asks
}

// beginsItem says whether an item of a list or an object, or a line, may begin behind this text,
// apart from a word that names a database: GF_DATABASE_, PG.
func beginsItem(before string) bool {
	isOfName := func(r rune) bool { return unicode.IsLetter(r) || strings.ContainsRune("_-.", r) }
	rest := strings.TrimRightFunc(before, isOfName)
	word := before[len(rest):]
	return endsItem(before) || endsItem(rest) && containsAny(word, families) && !containsAny(word, otherWords)
}

func endsItem(text string) bool {
	text = strings.TrimRight(text, " \t'\"-_dbpg") // YAML's "- ", "DB SSL mode"
	return text == "" || strings.IndexByte("\n\r{[(,;&?|", text[len(text)-1]) >= 0
}
