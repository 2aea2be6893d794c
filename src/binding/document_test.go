package binding

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// plain returns what encoding/json would make of the value.
func (n *node) plain() any {
	switch {
	case n.object:
		all := map[string]any{}
		for _, item := range n.members() {
			all[item.name] = item.plain()
		}
		return all
	case n.isText:
		return n.text.text
	case n.text.text == "":
		all := []any{}
		for _, item := range n.items {
			all = append(all, item.plain())
		}
		return all
	case n.text.text == "null":
		return nil
	case n.text.text == "true", n.text.text == "false":
		return n.text.text == "true"
	}
	return json.Number(n.text.text)
}

// unfolded returns a value whose texts with JSON in them are read as JSON, where walk does so.
func unfolded(key string, inList bool, value any) any {
	switch v := value.(type) {
	case map[string]any:
		for name, item := range v {
			v[name] = unfolded(name, false, item)
		}
	case []any:
		for i, item := range v {
			v[i] = unfolded(key, true, item)
		}
	case string:
		if nested, ok := asJSON(v); ok && !inList && !(text{key: fold(key)}).isSecret() {
			return unfolded(key, false, nested)
		}
	}
	return value
}

var documents = []string{
	`{}`, ` [ ] `, `{"a":"b","c":[1,-2.5e+3,true,false,null,"",{}]}`, "\t{\r\n \"a\" : [ \"b\" , [ ] ] }\n", `{"a":1 ,"b":[true ]}`, `{"a":1,"a":{"b":2},"":3}`,
	`{"a":"\"\\\/\b\f\n\r\t\u0041\u00e9\u20ac"}`, `{"a":"\ud83d\ude00 \ud83d \ude00\ud83d\u0041\ud83d"}`, "{\"a\":\"é€😀\xff\xc3\"}",
	`{"a":"{\"b\":\"[1,\\\"c\\\"]\"}","l":["{}"],"password":"{}","d":" {\"e\":1} "}`, `{"a":"{\u0022b\u0022:\u0022\u00e9\u0022}"}`,
}

// FuzzTheScannerReadsAsEncodingJSONDoes compares the two, and looks whether each text is at the
// place that the scanner says.
func FuzzTheScannerReadsAsEncodingJSONDoes(f *testing.F) {
	for _, document := range documents {
		f.Add(document)
	}
	f.Fuzz(func(t *testing.T, document string) {
		value, err := decodeJSON([]byte(document))
		_, isObject := value.(map[string]any)
		if err != nil || !isObject {
			return // the scanner only gets objects
		}
		top := scanner{doc: document}
		read := top.value("", "")
		assert.Equal(t, unfolded("", false, value), read.plain())
		for _, item := range read.items {
			if !item.isText {
				continue
			}
			for i := range item.text.text {
				var rest string
				require.NoError(t, json.Unmarshal([]byte(`"`+document[item.at.of(i):item.at.of(len(item.text.text))]+`"`), &rest))
				assert.Equal(t, item.text.text[i:], rest)
			}
		}
	})
}

func TestAPathThatSeveralKeysShareIsUnknown(t *testing.T) {
	top := scanner{doc: `{"a":{"b":1,"c":2},"a.b":3,"d":[4],"d":[5,6]}`}
	nodes := top.value("", "").byPath()
	assert.Nil(t, nodes["a.b"])
	assert.Equal(t, "2", nodes["a.c"].text.text)
	assert.Equal(t, "5", nodes["d[0]"].text.text, "of equal keys, the last counts")
}
