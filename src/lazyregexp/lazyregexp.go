// Package lazyregexp compiles patterns when they are first used: a launch, which uses few of them,
// must not wait for the others.
package lazyregexp

import (
	"regexp"
	"sync"
)

// New returns a function that compiles the pattern at its first call, and panics then if it is none.
func New(pattern string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(pattern) })
}
