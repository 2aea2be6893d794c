package binding

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// hostile are credentials of about a megabyte that anyone can bind, and that take time if a reader
// goes back and forth in them.
var hostile = map[string]func() m{
	"many keys that fold to host, beside strings": func() m {
		c := m{}
		for i := range 14000 {
			c["h"+strings.Repeat("_", i%60)+"o.s-t"+strings.Repeat(".", i/60)] = ""
			c[fmt.Sprintf("s%05d", i)] = "postgres://"
		}
		return c
	},
	"hosts and strings without one": func() m {
		c := m{"host": strings.Repeat("h,", 100)}
		for i := range 28000 {
			c[fmt.Sprintf("s%05d", i)] = "postgres:///d?sslmode=allow"
		}
		return c
	},
	"one open brace after another": func() m { return texts("{a={b;", 10) },
	"braces that close nothing":    func() m { return texts("{a={b}x;", 10) },
	"doubled braces":               func() m { return texts("a={b}};", 10) },
	"host=, open braces":           func() m { return texts("Host=h;Database=d;a={b;", 10) },
	"host=, doubled braces":        func() m { return texts("Host=h;Database=d;a={b}};", 10) },
	"quotes":                       func() m { return texts(`Host=h;Database=d;a="b;`, 10) },
	"question marks":               func() m { return texts("postgres://?", 10) },
	"sslmode again and again":      func() m { return texts("sslmode: ", 10) },
	"ssl and blanks":               func() m { return texts("ssl   ", 10) },
	"a list of URIs":               func() m { return texts("postgres://h/d,", 10) },
	"schemes":                      func() m { return texts("a:", 10) },
	"one long text":                func() m { return m{"note": strings.Repeat("sslmo", 200000)} },
	"a list of hosts":              func() m { return m{"host": strings.Repeat("a,", 29000), "user": "u"} },
	"keys of families": func() m {
		c := m{}
		for i := range 29000 {
			c["PG"+strings.Repeat("_", i%200)+"HOST"+strings.Repeat("-", i/200)] = "h"
		}
		return c
	},
	"families with hosts at RDS": func() m {
		c := m{}
		for i := range 9000 {
			c[fmt.Sprintf("a%04d_db_host", i)] = fmt.Sprintf("x%d.abc.us-east-1.rds.amazonaws.com", i)
			c[fmt.Sprintf("a%04d_db_user", i)] = "u"
		}
		return c
	},
	"objects with hosts": func() m {
		c := m{}
		for i := range 7000 {
			c[fmt.Sprintf("o%05d", i)] = m{"host": "h", "user": "u", "port": 5432}
		}
		return c
	},
	"modes": func() m {
		c := m{"host": "h"}
		for i := range 14000 {
			c[fmt.Sprintf("o%05d", i)] = m{"sslmode": "require"}
		}
		return c
	},
	"modes without a host": func() m {
		c := m{}
		for i := range 14000 {
			c[fmt.Sprintf("o%05d", i)] = m{"strictness": "verify-full"}
		}
		return c
	},
	"databases that share flags":        func() m { return beside(m{"ssl": true}) },
	"databases that share modes":        func() m { return beside(m{"sslmode": "require"}) },
	"databases that share certificates": func() m { return beside(m{"xca": "-----BEGIN CERTIFICATE-----"}) },
	"certificates":                      func() m { return texts("-----BEGIN CERTIFICATE-----", 100) },
}

// beside returns as many databases as may be, and thousands of such objects in the object around them.
func beside(object m) m {
	c := m{}
	for i := range mostHosts - 10 {
		c[fmt.Sprintf("u%d", i)] = fmt.Sprintf("postgres://u:p@h%d/d", i)
	}
	for i := range 12000 {
		c[fmt.Sprintf("o%d", i)] = object
	}
	return c
}

// texts returns n texts of the same, together a megabyte, each short enough to be a connection
// string. Parts with signs of JSON fill as many of them as may be.
func texts(part string, n int) m {
	c, most := m{}, mostSigns-1000
	signs := len(part) - len(strings.NewReplacer("{", "", ",", "", "[", "").Replace(part))
	for i := range max(n, 1<<20/longestString) {
		times := min(1<<20/max(n, 16), longestString) / len(part)
		if times = min(times, most/max(signs, 1)); times == 0 {
			break
		}
		c[fmt.Sprintf("t%03d", i)] = strings.Repeat(part, times)
		most -= times * signs
	}
	return c
}

// A megabyte of anything is read in a time that grows with its size. We compare it with what
// encoding/json takes, in turns, so that a busy machine changes nothing.
func TestAMegabyteOfAnythingIsReadFast(t *testing.T) {
	for name, make := range hostile {
		t.Run(name, func(t *testing.T) {
			env := vcap(t, make())
			env["VCAP_SERVICES"] += strings.Repeat(" ", max(0, 1<<20-len(env["VCAP_SERVICES"])))
			var ratios []float64
			for len(ratios) == 0 || len(ratios) < 5 && slices.Min(ratios) > 40 {
				start := time.Now()
				var v any
				assert.NoError(t, json.Unmarshal([]byte(env["VCAP_SERVICES"]), &v))
				parsed := time.Since(start)
				start = time.Now()
				_, err := Read(env)
				ratios = append(ratios, float64(time.Since(start))/float64(parsed))
				assert.NotErrorIs(t, err, errMany)
			}
			t.Logf("%.1f", ratios)
			assert.Less(t, slices.Min(ratios), 40.0, "of what encoding/json takes; going back and forth, it was some hundred times as much")
		})
	}
}
