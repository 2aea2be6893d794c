package cf

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// found lists the answers in a stream, each with its line and its text.
func found(in io.Reader) []string {
	var all []string
	s := stream{in: bufio.NewReader(in), line: 1, begins: true}
	for {
		err := s.next()
		place := "f"
		if s.first > 1 {
			place += ", line " + strconv.Itoa(s.first)
		}
		switch {
		case errors.Is(err, io.EOF) && len(s.text) == 0:
			return all
		case err != nil && !errors.Is(err, io.EOF):
			all = append(all, place+": error: "+err.Error())
		default:
			all = append(all, place+": "+string(s.text))
		}
		if err != nil && !errors.Is(err, errLarge) {
			return all
		}
	}
}

func TestAnswersAreFoundInAnyStream(t *testing.T) {
	for name, test := range map[string]struct {
		stream string
		want   []string
	}{
		"nothing":                          {"", nil},
		"white space":                      {" \r\n\t\n", nil},
		"one a line":                       {"{\"a\":1}\n{\"b\":2}\n", []string{`f: {"a":1}`, `f, line 2: {"b":2}`}},
		"no line end at the end":           {`{"a":1}`, []string{`f: {"a":1}`}},
		"Windows":                          {"{\"a\":1}\r\n\r\n{\"b\":2}\r\n", []string{`f: {"a":1}`, `f, line 3: {"b":2}`}},
		"a byte order mark":                {"\ufeff{\"a\":1}\n", []string{`f: {"a":1}`}},
		"over many lines, as cf prints it": {"{\n  \"a\": {\n    \"b\": \"}\"\n  }\n}\n{\n}\n", []string{"f: {\n  \"a\": {\n    \"b\": \"}\"\n  }\n}", "f, line 6: {\n}"}},
		"nothing between them":             {`{"a":{}}{"b":{}} {"c":1}`, []string{`f: {"a":{}}`, `f: {"b":{}}`, `f: {"c":1}`}},
		"braces and quotes in texts":       {`{"a":"\"}{","b":"\\"}{}`, []string{`f: {"a":"\"}{","b":"\\"}`, `f: {}`}},
		"half an answer takes no other":    {"{\"a\":{\"b\":\n{\"c\":1}\n", []string{"f: {\"a\":{\"b\":\n", `f, line 2: {"c":1}`}},
		"… nor in a text":                  {"{\"a\":\"b\n{\"c\":1}\n", []string{"f: {\"a\":\"b\n", `f, line 2: {"c":1}`}},
		"… nor after a backslash":          {"{\"a\":\"b\\\n{\"c\":1}\n", []string{"f: {\"a\":\"b\\\n", `f, line 2: {"c":1}`}},
		"… nor at the end":                 {"{\"c\":1}\n{\"a\"", []string{`f: {"c":1}`, `f, line 2: {"a"`}},
		"HTML is one, however many lines":  {"<html>\n <p>{}</p>\n</html>\n{\"c\":1}\n", []string{"f: <html>\n <p>{}</p>\n</html>\n", `f, line 4: {"c":1}`}},
		"something behind an answer":       {"{\"c\":1} FAILED\n{\"d\":1}", []string{`f: {"c":1}`, "f: FAILED\n", `f, line 2: {"d":1}`}},
		"braces that nobody opened":        {"}}}\n{\"d\":1}", []string{"f: }}}\n", `f, line 2: {"d":1}`}},
		"a list":                           {"[{\"c\":1}]\n{\"d\":1}", []string{"f: [{\"c\":1}]\n", `f, line 2: {"d":1}`}},
		"NUL and what is not UTF-8":        {"{\"a\":\"\x00\xff\"}\n\x00\n{\"d\":1}", []string{"f: {\"a\":\"\x00\xff\"}", "f, line 2: \x00\n", `f, line 3: {"d":1}`}},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, test.want, found(strings.NewReader(test.stream)))
			assert.Equal(t, test.want, found(iotest.OneByteReader(strings.NewReader(test.stream))), "wherever a read ends")
		})
	}
	t.Run("one that is too large", func(t *testing.T) {
		most := `{"a":"` + strings.Repeat("x", largest-len(`{"a":""}`)) + `"}`
		assert.Equal(t, []string{"f: " + most}, found(strings.NewReader(most)), "the control")
		huge := `{"a":"x` + strings.TrimPrefix(most, `{"a":"`) + "\n" + `{"d":1}`
		assert.Equal(t, []string{"f: error: it is larger than 32 MB", `f, line 2: {"d":1}`}, found(strings.NewReader(huge)))
		endless := io.MultiReader(strings.NewReader(strings.Repeat("{", largest+1)), strings.NewReader("\n{}"))
		assert.Equal(t, []string{"f: error: it is larger than 32 MB", `f, line 2: {}`}, found(endless))
	})
	t.Run("one that breaks off", func(t *testing.T) {
		broken := io.MultiReader(strings.NewReader("{}\n{"), iotest.ErrReader(errors.New("the disk is gone")))
		assert.Equal(t, []string{"f: {}", "f, line 2: error: the disk is gone"}, found(broken))
		assert.Equal(t, []string{"f: error: the disk is gone"}, found(iotest.ErrReader(errors.New("the disk is gone"))))
	})
}

func TestAStreamIsReadAnswerByAnswer(t *testing.T) {
	app := `{"guid":"a","lifecycle":{"type":"docker"}}`
	var all []string
	note := func(a Answer) { all = append(all, fmt.Sprintf("%s: %d %v", a.From, len(a.Apps), a.Err)) }
	assert.Equal(t, 4, Answers("f", strings.NewReader("<html>\n"+app+" {} "+app+"\n"), note))
	assert.Equal(t, []string{"f: 0 it is HTML, as a router or a proxy answers; ask again", "f, line 2: 1 <nil>",
		"f, line 2: 0 it is not an answer to /v3/apps/GUID/env, /v3/apps/GUID or /v3/apps", "f, line 2: 1 <nil>"}, all)
	all = nil
	assert.Equal(t, 2, Answers("f", io.MultiReader(strings.NewReader(app+"\n{"), iotest.ErrReader(errors.New("the disk is gone"))), note))
	assert.Equal(t, []string{"f: 1 <nil>", "f, line 2: 0 the disk is gone"}, all)
}

// Whoever reads the answers has to learn that one is missing.
func TestAStreamThatEndsTooSoonSaysSo(t *testing.T) {
	for name, in := range map[string]io.Reader{
		"within an answer": strings.NewReader(`{"a"`),
		"at once":          iotest.ErrReader(errors.New("the disk is gone")),
	} {
		var all []error
		Answers("f", in, func(a Answer) { all = append(all, a.Err) })
		require.Len(t, all, 1, name)
		assert.Error(t, all[0], name)
	}
}

// A row about each of three million answers that are none took 4.2 GB.
func TestAStreamOfNonsenseIsGivenUp(t *testing.T) {
	nonsense := strings.Repeat("{}", 1<<20)
	last := Answer{}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	n := Answers("f", strings.NewReader(nonsense), func(a Answer) { last = a })
	runtime.ReadMemStats(&after)
	assert.Equal(t, mostUnread+1, n)
	assert.EqualError(t, last.Err, "20000 answers before it could not be read; the rest of it was not tried")
	assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(100<<20), "all that it ever allocated")

	apps := strings.Repeat(`{"guid":"a","lifecycle":{"type":"docker"}}`+"\n", mostUnread+1)
	n = Answers("f", strings.NewReader(apps), func(a Answer) { require.NoError(t, a.Err) })
	assert.Equal(t, mostUnread+1, n, "the control: as many good answers are read")
}

// FuzzABrokenAnswerTakesNoOtherWithIt puts any text before and after a good answer.
func FuzzABrokenAnswerTakesNoOtherWithIt(f *testing.F) {
	for _, text := range []string{"", "{", "{\"", "{\"\\", "}", "[{", "<html>", "\x00", "\xff\xfe", "{}{", "{\"a\":\"}\"", "FAILED\r", "\ufeff{"} {
		f.Add([]byte(text), []byte(text))
	}
	const good = `{"system_env_json":{"VCAP_SERVICES":{}},"a":"\"}{\\"}`
	f.Fuzz(func(t *testing.T, before, after []byte) {
		stream := string(before) + "\n" + good + "\n" + string(after)
		all := found(strings.NewReader(stream))
		position := strings.Count(string(before), "\n") + 2
		name := "f, line " + strconv.Itoa(position)
		assert.Contains(t, all, name+": "+good)
		assert.Equal(t, all, found(iotest.HalfReader(strings.NewReader(stream))))
		var joined strings.Builder
		for _, line := range all {
			_, text, _ := strings.Cut(line, ": ")
			joined.WriteString(text)
		}
		bare := func(text string) string {
			said := []byte(text)
			return string(slices.DeleteFunc(said, func(c byte) bool { return strings.IndexByte(blanks, c) >= 0 }))
		}
		assert.Equal(t, bare(stream), bare(joined.String()), "nothing but white space is passed over")
	})
}
