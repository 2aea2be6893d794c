// Package cf reads what the cf command prints of apps: the platform's answers, streams of them, and
// the text of "cf env". It only reads. No error quotes anything of what it read.
package cf

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
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

// answer has the fields that tell the platform's answers apart.
type answer struct {
	Errors []struct {
		Code int
	} `json:"errors"`

	// /v3/apps/GUID, or a page of /v3/apps.
	listed
	Resources []listed `json:"resources"`

	// /v3/apps/GUID/env
	System      json.RawMessage `json:"system_env_json"`
	Group       variables       `json:"running_env_json"` // by the platform team
	Own         variables       `json:"environment_variables"`
	Application struct {
		VCAP App `json:"VCAP_APPLICATION"`
	} `json:"application_env_json"`
}

type variables map[string]json.RawMessage

type listed struct {
	GUID, Name string
	Lifecycle  struct {
		Type string
		Data struct{ Buildpacks []string }
	}
}

var (
	errNoAnswer = errors.New("it is not an answer to /v3/apps/GUID/env, /v3/apps/GUID or /v3/apps")
	errNeither  = errors.New("it is neither the JSON of VCAP_SERVICES, " +
		"nor an answer of `cf curl /v3/apps/GUID/env`, nor the text of `cf env APP`")
	errHidden = errors.New("the platform does not show the bindings to this user; it takes " + roles)
)

// roles see an app's environment.
//
// Source: the platform's docs on "Get environment for an app".
const roles = "an admin, a read-only admin or a developer of the space"

// read reads the first answer in a text: to /v3/apps/GUID/env, to /v3/apps/GUID, or a page of
// /v3/apps. rest is what follows it, nothing if it is broken.
func read(text []byte) (apps []App, rest []byte, err error) {
	text = trim(text)
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
		return nil, rest, errors.New("it is an app's environment, but not in the form that the platform gives it")
	case err != nil:
		return nil, rest, errNoAnswer
	case len(a.Errors) > 0 && a.Errors[0].Code != 0:
		code := a.Errors[0].Code
		return nil, rest, errors.New(cmp.Or(refusals[code], fmt.Sprintf("the platform answers with error %d", code)))
	case a.System != nil:
		app := a.Application.VCAP
		app.Env, app.Hidden = a.environment(text)
		return []App{app}, rest, nil
	case a.Lifecycle.Type != "":
		a.Resources = []listed{a.listed}
	case a.Resources == nil:
		return nil, rest, errNoAnswer
	}
	apps = make([]App, len(a.Resources))
	for i, l := range a.Resources {
		if l.Lifecycle.Type == "" {
			return nil, rest, errNoAnswer
		}
		apps[i] = App{GUID: l.GUID, Name: l.Name, Lifecycle: l.Lifecycle.Type, Buildpacks: l.Lifecycle.Data.Buildpacks}
	}
	return apps, rest, nil
}

// trim removes white space and UTF-8's byte order mark in front.
func trim(text []byte) []byte { return bytes.TrimLeft(text, " \t\r\n\ufeff") }

// environment joins an app's variables. Later ones win.
//
// Source: the platform's Diego::Environment, which also makes texts of all values. For the words in
// place of a hidden value, its Presenters::V3::BasePresenter, redact_hash.
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
	if err := inFiles(func(name string) bool { return env[name] != "" }); err != nil {
		return nil, err
	}
	redacted := bytes.Contains(text, []byte(`"redacted_message"`)) && bytes.Contains(text, []byte("PRIVATE DATA HIDDEN"))
	if _, ok := system["VCAP_SERVICES"]; !ok || redacted {
		return nil, errHidden
	}
	return env, nil
}

// inFiles fails if the app has a variable that says where in its container the bindings are.
//
// Source: Cloud Foundry's RFC-0030.
func inFiles(has func(name string) bool) error {
	for _, name := range []string{"VCAP_SERVICES_FILE_PATH", "SERVICE_BINDING_ROOT"} {
		if has(name) {
			return fmt.Errorf("the app gets its bindings in files of its container (%s); only postgres-ssl in the app sees them", name)
		}
	}
	return nil
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
	case len(rest) > 0:
		return nil, errNeither
	case errors.Is(err, errNoAnswer):
		var named variables
		_ = json.Unmarshal(text, &named)
		return map[string]string{"VCAP_SERVICES": cmp.Or(string(named["VCAP_SERVICES"]), string(text))}, nil
	case err != nil:
		return nil, err
	case len(apps) != 1 || apps[0].Lifecycle != "":
		return nil, errNeither
	}
	return apps[0].Env, apps[0].Hidden
}

// fromText reads the text of "cf env": "VCAP_SERVICES: {…}" somewhere in it, and the owner's
// variables as lines "NAME: value" below a heading.
func fromText(text []byte) (map[string]string, error) {
	text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	if err := inFiles(func(name string) bool { return bytes.Contains(text, []byte(name+": ")) }); err != nil {
		return nil, err
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

// refusals say in plain words what errors of the platform mean.
//
// Source: the platform's errors/v2.yml.
var refusals = map[int]string{
	1000:   "the login has expired; run cf login",
	10002:  "the login has expired; run cf login",
	10003:  "the platform refuses to show it to this user; it takes " + roles,
	10010:  "there is no such app, or this user may not see it",
	10013:  "the platform was asked too often; wait, and ask for less at a time",
	330002: "the platform team has switched this off, by the feature flag env_var_visibility or space_developer_env_var_visibility",
}
