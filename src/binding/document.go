package binding

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// node is a value of a JSON document that knows its place there, so that we can replace a part of
// it and nothing else changes.
type node struct {
	text   // of a text or a number
	doc    *document
	name   string // the key as written
	isText bool
	object bool
	items  []*node // of an object or a list
	edits  []edit
	at     offsets // of the text
}

// field returns the text under a key of an object, "" if there is none.
func (n *node) field(name string) string {
	if item := n.item(name); item != nil && item.isText {
		return item.text.text
	}
	return ""
}

// item returns the value under a key of an object, nil if there is none.
func (n *node) item(name string) *node {
	for _, item := range n.members() {
		if item.name == name {
			return item
		}
	}
	return nil
}

// members returns the items of an object. The last of several equal keys counts, as in
// encoding/json.
func (n *node) members() []*node {
	if !n.object {
		return nil
	}
	last := map[string]*node{}
	for _, item := range n.items {
		last[item.name] = item
	}
	return slices.DeleteFunc(slices.Clone(n.items), func(item *node) bool { return last[item.name] != item })
}

// byPath returns everything nested in a value, by its path from there, as walk writes it. Paths are
// written for people, so different keys may share one. Such a path maps to nil.
func (n *node) byPath() map[string]*node {
	all := map[string]*node{}
	var add func(n *node, path string)
	note := func(item *node, path string) {
		_, taken := all[path]
		if all[path] = item; taken {
			all[path] = nil
		}
		item.path = path
		add(item, path)
	}
	add = func(n *node, path string) {
		if n.object {
			for _, item := range n.members() {
				note(item, joinPath(path, item.name))
			}
			return
		}
		for i, item := range n.items {
			note(item, path+"["+strconv.Itoa(i)+"]")
		}
	}
	if n != nil {
		add(n, "")
	}
	return all
}

// plainNode returns a node for a document that is a single text, such as a file below
// SERVICE_BINDING_ROOT.
func plainNode(doc *document, key, content string) *node {
	n := &node{text: text{path: joinPath("", key), key: fold(key), text: content}, doc: doc, name: key, isText: true}
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

// offsets map the bytes of a text to their places in the document, and its end to the place of the
// end. A text without escapes is contiguous there, and start is enough; otherwise table has every
// place.
type offsets struct {
	start int
	table []int
}

func (o offsets) of(i int) int {
	if o.table == nil {
		return o.start + i
	}
	return o.table[i]
}

// from returns the offsets of the text from byte i on.
func (o offsets) from(i int) offsets {
	if o.table == nil {
		return offsets{start: o.start + i}
	}
	return offsets{table: o.table[i:]}
}

// scanner reads a document that encoding/json has accepted.
type scanner struct {
	in  *document
	doc string
	pos int
	at  offsets // of doc in the outermost document
}

// value reads the value at pos.
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
		length := strings.IndexAny(s.doc[s.pos:], " \t\r\n,]}") // it is in an object or a list
		n.text.text, n.at = s.doc[s.pos:s.pos+length], s.at.from(s.pos)
		s.pos += length
	}
	return n
}

// skip skips these characters. At the end of an object or a list, it steps over the bracket and
// returns false.
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

// string reads the text at pos, and returns where its bytes are.
func (s *scanner) string() (string, offsets) {
	s.pos++
	start := s.pos
	if length := strings.IndexAny(s.doc[start:], `"\`); s.doc[start+length] == '"' && utf8.ValidString(s.doc[start:start+length]) {
		s.pos += length + 1
		return s.doc[start : start+length], s.at.from(start)
	}
	var decoded []byte
	var table []int
	for s.doc[s.pos] != '"' {
		start = s.pos
		r := s.character()
		length := len(decoded)
		decoded = utf8.AppendRune(decoded, r)
		for range len(decoded) - length {
			table = append(table, s.at.of(start))
		}
	}
	table = append(table, s.at.of(s.pos))
	s.pos++
	return string(decoded), offsets{table: table}
}

// character reads a character or an escape. Invalid input becomes the replacement character, as in
// encoding/json.
func (s *scanner) character() rune {
	r, size := utf8.DecodeRuneInString(s.doc[s.pos:])
	s.pos += size
	if r != '\\' {
		return r
	}
	c := s.doc[s.pos]
	s.pos++
	if i := strings.IndexByte(`"\/bfnrt`, c); i >= 0 {
		return rune("\"\\/\b\f\n\r\t"[i])
	}
	r = s.hex()
	if utf16.IsSurrogate(r) && strings.HasPrefix(s.doc[s.pos:], `\u`) {
		second := s.pos
		s.pos += 2
		if pair := utf16.DecodeRune(r, s.hex()); pair != utf8.RuneError {
			return pair
		}
		s.pos = second // no pair: the second one is a character of its own
	}
	return r
}

// hex reads the four digits of a \u escape.
func (s *scanner) hex() rune {
	r, _ := strconv.ParseUint(s.doc[s.pos:s.pos+4], 16, 16)
	s.pos += 4
	return rune(r)
}
