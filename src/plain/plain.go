// Package plain makes texts that are safe to print, and easy to read.
package plain

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Line makes one printable line of a text of a binding or a server, for people at a terminal. It
// replaces control characters, line ends, and characters that nobody sees, which turn a text around
// or make two names look the same (Unicode's categories Cc, Cf, Zl and Zp).
func Line(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
}

// Number writes 1204 as "1,204".
func Number(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// Count is a number and its noun: "1 CA", "1,204 CAs".
func Count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return Number(n) + " " + noun + "s"
}

// List joins texts, of which it shows so many at most.
func List(texts []string, most int) string {
	if len(texts) > most {
		texts = append(slices.Clone(texts[:most]), fmt.Sprintf("%d more", len(texts)-most))
	}
	return strings.Join(texts, ", ")
}

// Day is the day of a time in UTC: "2027-03-01".
func Day(t time.Time) string { return t.UTC().Format(time.DateOnly) }
