package cf

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// found lists the answers in a stream, each with its place and what is wrong with it. An answer with
// the error 1 is a good one here.
func found(in io.Reader) []string {
	var all []string
	Answers("f", in, func(a Answer) {
		all = append(all, a.From+": "+strings.TrimPrefix(a.Err.Error(), "the platform answers with error "))
	})
	return all
}

func TestAnswersAreFoundInAnyStream(t *testing.T) {
	const (
		one, two, three = `{"errors":[{"code":1}]}`, `{"errors":[{"code":2}]}`, `{"errors":[{"code":3}]}`
		broken          = "it is not valid JSON, or it is cut off"
	)
	for name, test := range map[string]struct {
		stream string
		want   []string
	}{
		"nothing":                          {"", nil},
		"white space":                      {" \r\n\t\n", nil},
		"one a line":                       {one + "\n" + two + "\n", []string{"f: 1", "f, line 2: 2"}},
		"no line end at the end":           {one, []string{"f: 1"}},
		"Windows":                          {one + "\r\n\r\n" + two + "\r\n", []string{"f: 1", "f, line 3: 2"}},
		"a byte order mark":                {"\ufeff" + one + "\n", []string{"f: 1"}},
		"empty lines before it":            {"\n \n" + one, []string{"f, line 3: 1"}},
		"over many lines, as cf prints it": {"{\n  \"errors\": [\n    {\n      \"code\": 1\n    }\n  ]\n}\n" + two, []string{"f: 1", "f, line 8: 2"}},
		"nothing between them":             {one + two + " " + three, []string{"f: 1", "f: 2", "f: 3"}},
		"braces and quotes in texts":       {`{"a":"\"}{","b":"\\","errors":[{"code":1}]}` + two, []string{"f: 1", "f: 2"}},
		"half an answer takes no other":    {"{\"a\":{\"b\":\n" + one + "\n", []string{"f: " + broken, "f, line 2: 1"}},
		"… nor in a text":                  {"{\"a\":\"b\n" + one + "\n", []string{"f: " + broken, "f, line 2: 1"}},
		"… nor after a backslash":          {"{\"a\":\"b\\\n" + one + "\n", []string{"f: " + broken, "f, line 2: 1"}},
		"… nor at the end":                 {one + "\n{\"a\"", []string{"f: 1", "f, line 2: " + broken}},
		"HTML is one, however many lines": {"<html>\n <p>{}</p>\n</html>\n" + one + "\n",
			[]string{"f: it is HTML, as a router or a proxy answers; ask again", "f, line 4: 1"}},
		"… and takes no answer before it": {one + "\n<html>\n</html>\n" + two,
			[]string{"f: 1", "f, line 2: it is HTML, as a router or a proxy answers; ask again", "f, line 4: 2"}},
		"something behind an answer":   {one + " FAILED\n" + two, []string{"f: 1", "f: it is not JSON", "f, line 2: 2"}},
		"braces that nobody opened":    {"}}}\n" + one, []string{"f: it is not JSON", "f, line 2: 1"}},
		"a list":                       {"[" + two + "]\n" + one, []string{"f: it is not JSON", "f, line 2: 1"}},
		"what is not UTF-8":            {"\xfe\n" + `{"a":"` + "\xff" + `","errors":[{"code":1}]}`, []string{"f: it is not JSON", "f, line 2: 1"}},
		"a binary file is one":         {"\x7fELF\x00\n" + one + "\n{\x00\n{\x00", []string{"f: it is not JSON; the rest was not tried"}},
		"… whatever its first byte is": {"\x00ELF\n" + one, []string{"f: it is not JSON; the rest was not tried"}},
		"… nor behind an empty line":   {"\n{\"a\":\n" + one + "\n", []string{"f, line 2: " + broken, "f, line 3: 1"}},
		"a word, and more on its line": {"502 Bad Gateway\n" + one, []string{"f: it is not JSON", "f, line 2: 1"}},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, test.want, found(strings.NewReader(test.stream)))
			assert.Equal(t, test.want, found(iotest.OneByteReader(strings.NewReader(test.stream))), "wherever a read ends")
		})
	}
	t.Run("one that is too large", func(t *testing.T) {
		filled := func(n int) string {
			return `{"errors":[{"code":1}],"a":"` + strings.Repeat("x", n-len(`{"errors":[{"code":1}],"a":""}`)) + `"}`
		}
		assert.Equal(t, []string{"f: 2", "f, line 2: 1"}, found(strings.NewReader(two+"\n"+filled(largest-1))), "the control")
		assert.Equal(t, []string{"f: 2", "f, line 2: it is larger than 32 MB; the rest was not tried"},
			found(strings.NewReader(two+"\n"+filled(largest+1)+"\n"+three)))
	})
	t.Run("one that breaks off", func(t *testing.T) {
		gone := iotest.ErrReader(errors.New("the disk is gone"))
		assert.Equal(t, []string{"f: 1", "f, line 2: " + broken, "f, line 2: the disk is gone"}, found(io.MultiReader(strings.NewReader(one+"\n{"), gone)))
		assert.Equal(t, []string{"f: the disk is gone"}, found(gone))
	})
}

func TestAStreamIsReadAnswerByAnswer(t *testing.T) {
	app := `{"guid":"a","lifecycle":{"type":"docker"}}`
	var all []string
	note := func(a Answer) { all = append(all, fmt.Sprintf("%s: %d %v", a.From, len(a.Apps), a.Err)) }
	assert.Equal(t, 4, Answers("f", strings.NewReader("<html>\n"+app+" {} "+app+"\n"), note))
	assert.Equal(t, []string{"f: 0 it is HTML, as a router or a proxy answers; ask again", "f, line 2: 1 <nil>",
		"f, line 2: 0 it is not an answer to /v3/apps/GUID/env, /v3/apps/GUID or /v3/apps", "f, line 2: 1 <nil>"}, all)
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
	assert.EqualError(t, last.Err, "it is not an answer to /v3/apps/GUID/env, /v3/apps/GUID or /v3/apps; the rest was not tried")
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
		if slices.Contains(before, 0) {
			return // of a binary file, the rest is not tried
		}
		list := func(in io.Reader) (all []string) {
			Answers("f", in, func(a Answer) { all = append(all, fmt.Sprintf("%s: %d %v", a.From, len(a.Apps), a.Err)) })
			return all
		}
		stream := string(before) + "\n" + good + "\n" + string(after)
		all := list(strings.NewReader(stream))
		assert.Contains(t, all, fmt.Sprintf("f, line %d: 1 <nil>", strings.Count(string(before), "\n")+2))
		assert.Equal(t, all, list(iotest.HalfReader(strings.NewReader(stream))))
	})
}
