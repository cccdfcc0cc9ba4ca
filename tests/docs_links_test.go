package tests

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	link    = regexp.MustCompile(`\]\(([^)]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	// unanchored is what GitHub leaves out of the anchor of a heading.
	unanchored = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// Links between documents lead somewhere, to headings too.
func TestDocumentLinks(t *testing.T) {
	t.Parallel()
	for _, path := range documents(t) {
		text := readDocument(t, path)
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if strings.HasPrefix(m[1], "https://") {
				continue
			}
			to, anchor, hasAnchor := strings.Cut(m[1], "#")
			target := path
			if to != "" {
				target = filepath.Join(filepath.Dir(path), to)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: link to %s: %v", path, m[1], err)
				continue
			}
			if hasAnchor && !hasHeading(readDocument(t, target), anchor) {
				t.Errorf("%s: link to %s: there is no such heading", path, m[1])
			}
		}
	}
}

func readDocument(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// hasHeading reports whether a document has a heading with that anchor, as GitHub
// makes it.
func hasHeading(text, anchor string) bool {
	for _, m := range heading.FindAllStringSubmatch(text, -1) {
		words := unanchored.ReplaceAllString(strings.ToLower(m[1]), "")
		if strings.ReplaceAll(words, " ", "-") == anchor {
			return true
		}
	}
	return false
}
