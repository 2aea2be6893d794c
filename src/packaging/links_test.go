package packaging

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	codeBlock = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
	link      = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading   = regexp.MustCompile(`(?m)^#+ (.+)$`)
	linkText  = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
	noAnchor  = regexp.MustCompile(`[^\p{L}\p{N}_\- ]`)
)

// TestLinksOfThePagesLeadSomewhere follows the links between the pages, to a heading too.
func TestLinksOfThePagesLeadSomewhere(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	require.NoError(t, err)
	top, err := filepath.Glob("../../*.md")
	require.NoError(t, err)
	for _, page := range append(pages, top...) {
		assert.Empty(t, deadLinks(t, page), page)
	}
}

// The control: what the test above looks for is found.
func TestDeadLinksAreFound(t *testing.T) {
	page := filepath.Join(t.TempDir(), "page.md")
	write(t, page, "# A page, of mine\n[good](#a-page-of-mine) [dead](#no-such) [gone](gone.md)\n```\n# no heading\n[code](gone.md)\n```\n"+
		"[other](page.md#no-heading) [far](https://example.com/x.md)\n", 0o644)
	assert.Equal(t, []string{"#no-such", "gone.md", "page.md#no-heading"}, deadLinks(t, page))
}

// deadLinks returns the links of a page that lead to no file, or to no heading of a page.
func deadLinks(t *testing.T, page string) (dead []string) {
	for _, m := range link.FindAllStringSubmatch(codeBlock.ReplaceAllString(read(t, page), ""), -1) {
		if strings.Contains(m[1], "://") {
			continue
		}
		file, anchor, _ := strings.Cut(m[1], "#")
		to := page
		if file != "" {
			to = filepath.Join(filepath.Dir(page), file)
		}
		if _, err := os.Stat(to); err != nil || anchor != "" && !hasHeading(read(t, to), anchor) {
			dead = append(dead, m[1])
		}
	}
	return dead
}

// hasHeading says whether the code host gives a heading of the page this anchor.
func hasHeading(page, anchor string) bool {
	for _, m := range heading.FindAllStringSubmatch(codeBlock.ReplaceAllString(page, ""), -1) {
		text := noAnchor.ReplaceAllString(strings.ToLower(linkText.ReplaceAllString(m[1], "$1")), "")
		if strings.ReplaceAll(text, " ", "-") == anchor {
			return true
		}
	}
	return false
}
