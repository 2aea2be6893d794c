// Package lazyregexp compiles patterns when they are first used. Every launch starts this program, uses
// few of its patterns, and must not wait for the others.
package lazyregexp

import (
	"regexp"
	"sync"
)

// New returns a function that compiles the pattern at its first call. It panics then if the pattern is
// not one of package regexp.
func New(pattern string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(pattern) })
}
