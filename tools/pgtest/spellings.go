package pgtest

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"
	"unicode"
)

// Password is what no test wants to see.
const Password = "s3cr3t-P4ssword"

// Spellings are forms in which a server can send Password back.
func Spellings() map[string]string {
	each := func(format string) string {
		var b strings.Builder
		for _, c := range []byte(Password) {
			fmt.Fprintf(&b, format, c)
		}
		return b.String()
	}
	encode := base64.StdEncoding.EncodeToString
	return map[string]string{
		"as it is":             Password,
		"in upper case":        strings.ToUpper(Password),
		"base64":               encode([]byte(Password)),
		"base64 of a sentence": encode([]byte("it is " + Password + ", isn't it")),
		"base64, one further":  encode([]byte("it's " + Password)),
		"base64, two further":  encode([]byte("its " + Password)),
		"base64 for URLs":      base64.RawURLEncoding.EncodeToString([]byte("\x00app\x00" + Password)),
		"hexadecimal":          hex.EncodeToString([]byte(Password)),
		"with colons":          each("%02X:"),
		"percent":              each("%%%02x"),
		"a query":              url.QueryEscape(Password),
		"escapes of C":         each(`\x%02x`),
		"octal":                each(`\%03o`),
		"escapes of JSON":      each(`\u%04x`),
		"decimal":              each("%d "),
		"HTML":                 each("&#%d;"),
		"binary":               each("%08b "),
		"blanks":               each("%c "),
		"control characters":   each("%c\x01"),
		"backwards":            "drowss4P-t3rc3s",
		"the hash of md5":      "md540d83c92be6519a1adff49b29a6db80a",
	}
}

// Letters returns the letters and digits of a text in lower case: blanks and punctuation between
// them hide nothing.
func Letters(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, text)
}
