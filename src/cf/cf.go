// Package cf reads what the cf command prints of apps: the platform's answers, streams of them, and
// the text of "cf env". It only reads. No error quotes anything of what it read.
package cf

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
)

// App is what an answer says about an app: its environment or its lifecycle.
type App struct {
	GUID, Name          string
	Space, Organization string            `json:"-"`
	Env                 map[string]string `json:"-"` // what the owner set, and VCAP_SERVICES; nil if not told
	Hidden              error             `json:"-"` // why Env is not told, though the answer is about it
	Lifecycle           struct {
		Type string // "buildpack", "docker", "cnb"; "" if not told
		Data struct{ Buildpacks []string }
	}
}

// answer has the fields that tell the platform's answers apart.
type answer struct {
	Errors []struct{ Code int }

	App             // /v3/apps/GUID
	Resources []App // a page of /v3/apps

	// /v3/apps/GUID/env
	System      json.RawMessage `json:"system_env_json"`
	Group       variables       `json:"running_env_json"` // by the platform team
	Own         variables       `json:"environment_variables"`
	Application struct {
		VCAP struct {
			GUID         string `json:"application_id"`
			Name         string `json:"application_name"`
			Space        string `json:"space_name"`
			Organization string `json:"organization_name"`
		} `json:"VCAP_APPLICATION"`
	} `json:"application_env_json"`
}

type variables map[string]json.RawMessage

var (
	errNoAnswer = errors.New("it is not an answer to /v3/apps/GUID/env, /v3/apps/GUID or /v3/apps")
	errNeither  = errors.New("it is neither the JSON of VCAP_SERVICES, " +
		"nor an answer of `cf curl /v3/apps/GUID/env`, nor the text of `cf env APP`")
	// The platform's docs on "Get environment for an app", and Cloud Foundry's RFC-0030.
	errHidden  = errors.New("the platform does not show the bindings to this user; " + roles)
	errInFiles = errors.New("the app gets its bindings in files of its container; only postgres-ssl in the app sees them")
)

const roles = "it takes an admin, a read-only admin or a developer of the space"

// refusals say in plain words what errors of the platform mean (its errors/v2.yml).
var refusals = map[int]string{
	1000:   "the login has expired; run cf login",
	10002:  "the login has expired; run cf login",
	10003:  "the platform refuses to show it to this user; " + roles,
	10010:  "there is no such app, or this user may not see it",
	10013:  "the platform was asked too often; wait, and ask for less at a time",
	330002: "the platform team has switched this off, by the feature flag env_var_visibility or space_developer_env_var_visibility",
}

// read reads the answer at the start of a text: to /v3/apps/GUID/env, to /v3/apps/GUID, or a page of
// /v3/apps. rest is what follows it, nothing if it is broken.
func read(text []byte) (apps []App, rest []byte, err error) {
	switch {
	case bytes.HasPrefix(text, []byte("\xff\xfe")), bytes.HasPrefix(text, []byte("\xfe\xff")):
		return nil, nil, errors.New("it is in UTF-16; write it as UTF-8")
	case bytes.HasPrefix(text, []byte("<")):
		return nil, nil, errors.New("it is HTML, as a router or a proxy answers; ask again")
	case !bytes.HasPrefix(text, []byte("{")):
		return nil, nil, errors.New("it is not JSON")
	}
	var a answer
	decoder := json.NewDecoder(bytes.NewReader(text))
	err = decoder.Decode(&a)
	if err != nil && !errors.As(err, new(*json.UnmarshalTypeError)) {
		return nil, nil, errors.New("it is not valid JSON, or it is cut off")
	}
	text, rest = text[:decoder.InputOffset()], trim(text[decoder.InputOffset():])
	switch {
	case err != nil && a.System != nil:
		err = errors.New("it is an app's environment, but not in the form that the platform gives it")
	case err != nil:
		err = errNoAnswer
	case len(a.Errors) > 0 && a.Errors[0].Code != 0:
		code := a.Errors[0].Code
		err = errors.New(cmp.Or(refusals[code], fmt.Sprintf("the platform answers with error %d", code)))
	case a.System != nil:
		vcap := a.Application.VCAP
		app := App{GUID: vcap.GUID, Name: vcap.Name, Space: vcap.Space, Organization: vcap.Organization}
		app.Env, app.Hidden = a.environment(text)
		apps = []App{app}
	case a.Lifecycle.Type != "":
		apps = []App{a.App}
	case a.Resources == nil, slices.ContainsFunc(a.Resources, func(app App) bool { return app.Lifecycle.Type == "" }):
		err = errNoAnswer
	default:
		apps = a.Resources
	}
	return apps, rest, err
}

// trim removes white space and UTF-8's byte order mark in front.
func trim(text []byte) []byte { return bytes.TrimLeft(text, " \t\r\n\ufeff") }

// environment joins an app's variables. Later ones win, and all values are texts (the platform's
// Diego::Environment). redact_hash in its Presenters::V3::BasePresenter hides values.
func (a answer) environment(text []byte) (map[string]string, error) {
	var system variables
	_ = json.Unmarshal(a.System, &system) // anything else has no bindings to show
	env := map[string]string{}
	for _, some := range []variables{a.Group, a.Own, system} {
		for name, value := range some {
			var text string
			if json.Unmarshal(value, &text) != nil {
				text = string(value)
			}
			env[name] = text
		}
	}
	redacted := bytes.Contains(text, []byte(`"redacted_message"`)) && bytes.Contains(text, []byte("PRIVATE DATA HIDDEN"))
	switch _, ok := system["VCAP_SERVICES"]; {
	case env["VCAP_SERVICES_FILE_PATH"]+env["SERVICE_BINDING_ROOT"] != "":
		return nil, errInFiles
	case !ok || redacted:
		return nil, errHidden
	}
	return env, nil
}

// Environment returns an app's environment from what an operator has at hand: the JSON of
// VCAP_SERVICES, an answer to /v3/apps/GUID/env, or the text of "cf env APP".
func Environment(document []byte) (map[string]string, error) {
	text := trim(document)
	if !bytes.HasPrefix(text, []byte("{")) {
		return fromText(text)
	}
	apps, rest, err := read(text)
	switch {
	case len(rest) > 0, err == nil && (len(apps) != 1 || apps[0].Lifecycle.Type != ""):
		return nil, errNeither
	case errors.Is(err, errNoAnswer):
		var named variables
		_ = json.Unmarshal(text, &named)
		return map[string]string{"VCAP_SERVICES": cmp.Or(string(named["VCAP_SERVICES"]), string(text))}, nil
	case err != nil:
		return nil, err
	}
	return apps[0].Env, apps[0].Hidden
}

// fromText reads the text of "cf env": "VCAP_SERVICES: {…}" somewhere in it, and the owner's
// variables as lines "NAME: value" below a heading.
func fromText(text []byte) (map[string]string, error) {
	text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	if bytes.Contains(text, []byte("VCAP_SERVICES_FILE_PATH: ")) || bytes.Contains(text, []byte("SERVICE_BINDING_ROOT: ")) {
		return nil, errInFiles
	}
	env := map[string]string{}
	if _, after, found := bytes.Cut(text, []byte("VCAP_SERVICES")); found {
		var services json.RawMessage
		start := bytes.IndexByte(after, '{')
		if start < 0 || json.NewDecoder(bytes.NewReader(after[start:])).Decode(&services) != nil {
			return nil, errors.New("its VCAP_SERVICES is cut off, or is not valid JSON")
		}
		env["VCAP_SERVICES"] = string(services)
	}
	_, own, headed := bytes.Cut(text, []byte("User-Provided:\n"))
	if len(env) == 0 && !headed && !bytes.Contains(text, []byte("VCAP_APPLICATION")) {
		return nil, errNeither
	}
	for line := range bytes.Lines(own) {
		name, value, ok := bytes.Cut(bytes.TrimSpace(line), []byte(": "))
		if !ok {
			break
		}
		env[string(name)] = string(value)
	}
	return env, nil
}

// Answer is one answer in a stream.
type Answer struct {
	From string // for people: "standard input, line 3"
	Apps []App
	Err  error // why it cannot be read
}

const (
	largest    = 32 << 20 // limits one answer: the largest page of apps, with 5,000 of them, has 15 MB
	mostUnread = 20_000   // limits the answers that cannot be read, each of which is a row
)

// Answers reads the answers in a stream, with name for people. Each begins a line with a brace, as cf
// and jq print it, or follows another one. It returns how many there are.
func Answers(name string, in io.Reader, each func(Answer)) (n int) {
	parts := bufio.NewScanner(in)
	parts.Buffer(nil, largest)
	parts.Split(part)
	line, unread := 1, 0
	say := func(apps []App, err error) {
		from := name
		if line > 1 {
			from = fmt.Sprintf("%s, line %d", name, line)
		}
		n++
		each(Answer{from, apps, err})
	}
	goOn := func(text, rest []byte) []byte {
		line += bytes.Count(text[:len(text)-len(rest)], []byte("\n"))
		return rest
	}
	for parts.Scan() {
		for text := goOn(parts.Bytes(), trim(parts.Bytes())); len(text) > 0; {
			apps, rest, err := read(text)
			if err != nil {
				unread++
				isBinary := bytes.IndexByte(text[:len(text)-len(rest)], 0) >= 0
				if isBinary || unread > mostUnread {
					say(nil, fmt.Errorf("%w; the rest was not tried", err))
					return n
				}
			}
			say(apps, err)
			text = goOn(text, rest)
		}
	}
	err := parts.Err()
	if errors.Is(err, bufio.ErrTooLong) {
		err = fmt.Errorf("it is larger than %d MB; the rest was not tried", largest>>20)
	}
	if err != nil {
		say(nil, err)
	}
	return n
}

// part finds where the next line with a brace begins, for a bufio.Scanner. Neither cf nor jq writes such a
// line within an answer. So a broken answer takes no other with it.
func part(text []byte, isAll bool) (int, []byte, error) {
	if i := bytes.Index(text, []byte("\n{")); i >= 0 {
		return i + 1, text[:i+1], nil
	}
	if isAll && len(text) > 0 {
		return len(text), text, nil
	}
	return 0, nil, nil
}
