// Package cf reads what the cf command prints of apps: the platform's answers, streams of them, and
// the text of "cf env". It only reads. No error quotes anything of what it read.
package cf

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/lazyregexp"
)

// App is what an answer says about an app. An answer tells either the environment or the lifecycle.
type App struct {
	GUID         string `json:"application_id"`
	Name         string `json:"application_name"`
	Space        string `json:"space_name"`
	Organization string `json:"organization_name"`

	Env    map[string]string `json:"-"` // what the owner set, and VCAP_SERVICES; nil if not told
	Hidden error             `json:"-"` // why Env is not told, though the answer is about it

	Lifecycle  string   `json:"-"` // "buildpack", "docker", "cnb"; "" if not told
	Buildpacks []string `json:"-"`
}

// answer holds the fields that tell the platform's answers apart.
type answer struct {
	// An error of version 3 or 2 of the API.
	Errors []apiError `json:"errors"`
	Code   int        `json:"code"`
	Title  string     `json:"error_code"`

	// /v3/apps/GUID, or a page of /v3/apps.
	listed
	Resources []listed `json:"resources"`

	// /v3/apps/GUID/env
	System      json.RawMessage `json:"system_env_json"`
	Group       variables       `json:"running_env_json"` // by the platform team
	Own         variables       `json:"environment_variables"`
	V2          variables       `json:"environment_json"` // the same in version 2 of the API
	Application struct {
		VCAP App `json:"VCAP_APPLICATION"`
	} `json:"application_env_json"`

	// A part of such an answer, or of the text of an old "cf env".
	Services json.RawMessage `json:"VCAP_SERVICES"`
}

type variables map[string]json.RawMessage

type listed struct {
	GUID      string
	Name      string
	Lifecycle *struct {
		Type string
		Data struct{ Buildpacks []string }
	}
}

type apiError struct {
	Code  int
	Title string
}

var (
	// ErrEmpty means that cf printed nothing.
	ErrEmpty = errors.New("the answer is empty")

	errNoAnswer = errors.New("it is not an answer to /v3/apps/GUID/env, /v3/apps/GUID or /v3/apps")
	errNeither  = errors.New("it is neither the JSON of VCAP_SERVICES, nor an answer of `cf curl /v3/apps/GUID/env`, nor the text of `cf env APP`")
	errHidden   = errors.New("the platform does not show the bindings to this user; it takes an admin, a read-only admin or a developer of the space")
)

// Read reads an answer of the platform to /v3/apps/GUID/env, to /v3/apps/GUID, or a page of
// /v3/apps.
func Read(document []byte) ([]App, error) {
	text := trim(document)
	switch {
	case len(text) == 0:
		return nil, ErrEmpty
	case bytes.HasPrefix(text, []byte("\xff\xfe")), bytes.HasPrefix(text, []byte("\xfe\xff")):
		return nil, errors.New("it is in UTF-16; write it as UTF-8")
	case text[0] == '<':
		return nil, errors.New("it is HTML, as a router or a proxy answers; ask again")
	case text[0] != '{':
		return nil, errors.New("it is not JSON")
	}
	a, err := parse(text)
	if err != nil {
		return nil, err
	}
	return a.apps(text)
}

// Environment returns an app's environment from what an operator has at hand: the JSON of
// VCAP_SERVICES, an answer to /v3/apps/GUID/env, or the text of "cf env APP".
func Environment(document []byte) (map[string]string, error) {
	text := trim(document)
	if !bytes.HasPrefix(text, []byte("{")) {
		return fromText(text)
	}
	a, err := parse(text)
	if err == nil && a.System == nil && a.Services != nil {
		text, err = a.Services, errNoAnswer
	}
	var apps []App
	if err == nil {
		apps, err = a.apps(text)
	}
	switch {
	case errors.Is(err, errNoAnswer):
		return map[string]string{"VCAP_SERVICES": string(text)}, nil
	case err != nil:
		return nil, err
	case len(apps) != 1 || apps[0].Lifecycle != "":
		return nil, errNeither
	}
	return apps[0].Env, apps[0].Hidden
}

// trim removes white space and UTF-8's byte order mark.
func trim(text []byte) []byte { return bytes.TrimSpace(bytes.TrimPrefix(text, []byte("\ufeff"))) }

// parse reads a JSON object. It fails with errNoAnswer if its keys are none of the platform's.
func parse(text []byte) (a answer, err error) {
	err = json.Unmarshal(text, &a)
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax):
		err = fmt.Errorf("it is not valid JSON: broken at byte %d", syntax.Offset)
	case err != nil && a.System != nil:
		err = errors.New("it is an app's environment, but not in the form that the platform gives it")
	case err != nil:
		err = errNoAnswer
	}
	return a, err
}

func (a answer) apps(text []byte) ([]App, error) {
	switch {
	case len(a.Errors) > 0 && a.Errors[0].Code != 0:
		return nil, refusal(a.Errors[0])
	case a.Title != "":
		return nil, refusal(apiError{a.Code, a.Title})
	case a.System != nil:
		app := a.Application.VCAP
		app.Env, app.Hidden = a.environment(text)
		return []App{app}, nil
	case a.Lifecycle != nil:
		a.Resources = []listed{a.listed}
	case a.Resources == nil:
		return nil, errNoAnswer
	}
	apps := make([]App, len(a.Resources))
	for i, l := range a.Resources {
		if l.Lifecycle == nil || l.Lifecycle.Type == "" {
			return nil, errNoAnswer
		}
		apps[i] = App{GUID: l.GUID, Name: l.Name, Lifecycle: l.Lifecycle.Type, Buildpacks: l.Lifecycle.Data.Buildpacks}
	}
	return apps, nil
}

// environment joins an app's variables. Later ones win.
//
// Source: the platform's Diego::Environment, which also makes texts of all values. For the words in
// place of a hidden value, its Presenters::V3::BasePresenter, redact_hash.
func (a answer) environment(text []byte) (map[string]string, error) {
	var system variables
	_ = json.Unmarshal(a.System, &system) // anything else has no bindings to show
	env := map[string]string{}
	for _, some := range []variables{a.Group, a.V2, a.Own, system} {
		for name, value := range some {
			var text string
			if json.Unmarshal(value, &text) != nil {
				text = string(value)
			}
			env[name] = text
		}
	}
	redacted := bytes.Contains(text, []byte(`"redacted_message"`)) && bytes.Contains(text, []byte("PRIVATE DATA HIDDEN"))
	if err := visible(env); err != nil {
		return nil, err
	}
	if _, ok := system["VCAP_SERVICES"]; !ok || redacted {
		return nil, errHidden
	}
	return env, nil
}

// inFiles are the variables that say where in its container an app gets its bindings.
//
// Source: Cloud Foundry's RFC-0030.
var inFiles = []string{"VCAP_SERVICES_FILE_PATH", "SERVICE_BINDING_ROOT"}

// visible fails if the bindings are in such files, which cannot be seen from here.
func visible(env map[string]string) error {
	for _, name := range inFiles {
		if env[name] != "" {
			return fmt.Errorf("the app gets its bindings in files of its container (%s); only postgres-ssl in the app sees them", name)
		}
	}
	return nil
}

// fromText reads the text of "cf env": "VCAP_SERVICES: {…}" somewhere in it, and the owner's
// variables as lines "NAME: value" below a heading.
func fromText(text []byte) (map[string]string, error) {
	text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	for _, name := range inFiles {
		if bytes.Contains(append([]byte("\n"), text...), []byte("\n"+name+": ")) {
			return nil, visible(map[string]string{name: "set"})
		}
	}
	env := map[string]string{}
	_, after, found := bytes.Cut(text, []byte("VCAP_SERVICES"))
	if start := bytes.IndexByte(after, '{'); found {
		var services json.RawMessage
		if start < 0 || json.NewDecoder(bytes.NewReader(after[start:])).Decode(&services) != nil {
			return nil, errors.New("its VCAP_SERVICES is cut off, or is not valid JSON")
		}
		env["VCAP_SERVICES"] = string(services)
	}
	_, own, headed := bytes.Cut(text, []byte("User-Provided:\n"))
	if !found && !headed && !bytes.Contains(text, []byte("VCAP_APPLICATION")) {
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

// refusal says in plain words what an error of the platform means.
//
// Sources: the platform's errors/v2.yml; for the roles, its docs on "Get environment for an app".
func refusal(e apiError) error {
	text := refusals[e.Code]
	switch {
	case text != "":
	case title().MatchString(e.Title):
		text = fmt.Sprintf("the platform answers with error %d, %s", e.Code, e.Title)
	default:
		text = fmt.Sprintf("the platform answers with error %d", e.Code)
	}
	return errors.New(text)
}

var title = lazyregexp.New(`^[A-Za-z-]{1,60}$`)

var refusals = map[int]string{
	1000:   "the login has expired; run cf login",
	10002:  "the login has expired; run cf login",
	10003:  "the platform refuses to show it to this user; it takes an admin, a read-only admin or a developer of the space",
	10010:  "there is no such app, or this user may not see it",
	100004: "there is no such app, or this user may not see it",
	10013:  "the platform was asked too often; wait, and ask for less at a time",
	330002: "the platform team has switched this off, by the feature flag env_var_visibility or space_developer_env_var_visibility",
}
