package binding

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// node is a value of a JSON document that knows where it stands, so that a part of it can be exchanged
// and nothing else changes.
type node struct {
	text   // of a text or a number
	doc    *document
	name   string // the key as it is written
	isText bool
	object bool
	items  []*node // of an object or a list
	at     []int   // where in the document each byte of the text begins, and where the last one ends
}

// field returns the text under a key of an object, "" if there is none.
func (n *node) field(name string) string {
	if item := n.item(name); item != nil && item.isText {
		return item.text.text
	}
	return ""
}

// item returns what stands under a key. Of equal keys, the last counts, as in encoding/json.
func (n *node) item(name string) *node {
	var found *node
	for _, item := range n.items {
		if n.object && item.name == name {
			found = item
		}
	}
	return found
}

// plainNode is a document that is one text, such as a file below SERVICE_BINDING_ROOT.
func plainNode(doc *document, key, content string) *node {
	n := &node{text: text{path: joinPath("", key), key: fold(key), text: content}, doc: doc, name: key, isText: true}
	for i := range len(content) + 1 {
		n.at = append(n.at, i)
	}
	return n.unfold()
}

// unfold reads a text that is itself a JSON object or list, as walk does.
func (n *node) unfold() *node {
	content := n.text.text
	if _, ok := asJSON(content); !ok || n.isSecret() || strings.HasSuffix(n.path, "]") {
		return n
	}
	inner := scanner{in: n.doc, doc: content, at: n.at}
	inner.pos = strings.IndexAny(content, "{[")
	return inner.value(n.name, n.path)
}

// scanner goes through a document that encoding/json has accepted.
type scanner struct {
	in  *document
	doc string
	pos int
	at  []int // where each byte of doc begins in the outermost document; nil if doc is that
}

func (s *scanner) place(pos int) int {
	if s.at == nil {
		return pos
	}
	return s.at[pos]
}

// value reads the value that begins at pos.
func (s *scanner) value(name, path string) *node {
	s.skip(" \t\r\n")
	n := &node{text: text{path: path, key: fold(name)}, doc: s.in, name: name}
	switch s.doc[s.pos] {
	case '{':
		n.object = true
		for s.pos++; s.skip(" \t\r\n,"); {
			key, _ := s.string()
			s.skip(" \t\r\n:")
			n.items = append(n.items, s.value(key, joinPath(path, key)))
		}
	case '[':
		for s.pos++; s.skip(" \t\r\n,"); {
			n.items = append(n.items, s.value(name, path+"["+strconv.Itoa(len(n.items))+"]"))
		}
	case '"':
		n.isText = true
		n.text.text, n.at = s.string()
		return n.unfold()
	default:
		start := s.pos
		for s.pos < len(s.doc) && !strings.ContainsRune(" \t\r\n,]}", rune(s.doc[s.pos])) {
			n.at = append(n.at, s.place(s.pos))
			s.pos++
		}
		n.text.text, n.at = s.doc[start:s.pos], append(n.at, s.place(s.pos))
	}
	return n
}

// skip passes over these characters, and returns false behind the end of an object or a list.
func (s *scanner) skip(characters string) bool {
	for strings.IndexByte(characters, s.doc[s.pos]) >= 0 {
		s.pos++
	}
	if c := s.doc[s.pos]; c == '}' || c == ']' {
		s.pos++
		return false
	}
	return true
}

// string reads the text that begins at pos, and says where each of its bytes begins.
func (s *scanner) string() (string, []int) {
	var decoded []byte
	var at []int
	add := func(place int, bytes ...byte) {
		for _, b := range bytes {
			decoded, at = append(decoded, b), append(at, place)
		}
	}
	for s.pos++; s.doc[s.pos] != '"'; {
		place, c := s.place(s.pos), s.doc[s.pos]
		s.pos++
		if c != '\\' {
			add(place, c)
			continue
		}
		c = s.doc[s.pos]
		s.pos++
		if i := strings.IndexByte(`"\/bfnrt`, c); i >= 0 {
			add(place, "\"\\/\b\f\n\r\t"[i])
			continue
		}
		r := s.hex()
		if utf16.IsSurrogate(r) && strings.HasPrefix(s.doc[s.pos:], `\u`) {
			first := s.pos
			s.pos += 2
			if r = utf16.DecodeRune(r, s.hex()); r == utf8.RuneError {
				s.pos = first // the second is a character of its own
			}
		}
		add(place, utf8.AppendRune(nil, r)...)
	}
	at = append(at, s.place(s.pos))
	s.pos++
	return string(decoded), at
}

// hex reads the four digits of an escape.
func (s *scanner) hex() rune {
	r, _ := strconv.ParseUint(s.doc[s.pos:s.pos+4], 16, 16)
	s.pos += 4
	return rune(r)
}
