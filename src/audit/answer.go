package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/binding"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/lazyregexp"
)

// document holds the fields that tell the platform's answers apart.
type document struct {
	// An error of version 3 or 2 of the API.
	Errors []apiError `json:"errors"`
	Code   int        `json:"code"`
	Title  string     `json:"error_code"`

	// /v3/apps/GUID, or a page of /v3/apps.
	lifecycled
	Resources []lifecycled `json:"resources"`

	// /v3/apps/GUID/env
	System      *struct{} `json:"system_env_json"`
	Application struct {
		VCAP struct {
			GUID         string `json:"application_id"`
			Name         string `json:"application_name"`
			Space        string `json:"space_name"`
			Organization string `json:"organization_name"`
		} `json:"VCAP_APPLICATION"`
	} `json:"application_env_json"`
}

type apiError struct {
	Code  int
	Title string
}

type lifecycled struct {
	GUID      string
	Name      string
	Lifecycle *struct {
		Type string
		Data struct{ Buildpacks []string }
	}
}

// this matches the buildpack's name: that of an admin buildpack, or the end of a URL.
var this = lazyregexp.New(`(?i)postgres[-_]ssl`)

func (l lifecycled) hasThis() bool {
	return l.Lifecycle.Type == "buildpack" && slices.ContainsFunc(l.Lifecycle.Data.Buildpacks, this().MatchString)
}

// read takes one answer. The error is for people, and quotes nothing of the answer.
func (f *fleet) read(a Answer) error {
	if a.Err != nil {
		return a.Err
	}
	text := bytes.TrimSpace(bytes.TrimPrefix(a.Document, []byte("\ufeff")))
	switch {
	case len(text) == 0:
		return errors.New("the answer is empty")
	case bytes.HasPrefix(text, []byte("\xff\xfe")), bytes.HasPrefix(text, []byte("\xfe\xff")):
		return errors.New("it is in UTF-16; write it as UTF-8")
	case text[0] == '<':
		return errors.New("it is HTML, as a router or a proxy answers; ask again")
	case text[0] != '{':
		return errors.New("it is not JSON")
	}
	var d document
	if err := json.Unmarshal(text, &d); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return fmt.Errorf("it is not valid JSON: broken at byte %d", syntax.Offset)
		}
		return errNoAnswer
	}
	switch {
	case len(d.Errors) > 0:
		return refusal(d.Errors[0])
	case d.Title != "":
		return refusal(apiError{d.Code, d.Title})
	case d.System != nil:
		f.readApp(a, d, text)
		return nil
	case d.Lifecycle != nil:
		f.list(d.lifecycled)
		return nil
	case d.Resources != nil:
		for _, l := range d.Resources {
			if l.Lifecycle == nil {
				return errNoAnswer
			}
			f.list(l)
		}
		return nil
	}
	return errNoAnswer
}

var errNoAnswer = errors.New("it is not an answer to /v3/apps/GUID/env, /v3/apps/GUID or /v3/apps")

// refusal says in plain words what an error of the platform means.
//
// Sources: the platform's errors/v2.yml; for the roles, its docs on "Get environment for an app".
func refusal(e apiError) error {
	switch e.Code {
	case 10003:
		return errors.New("the platform refuses to show it to this user; it takes an admin, a read-only admin or a developer of the space")
	case 10010, 100004:
		return errors.New("there is no such app, or this user may not see it")
	case 1000, 10002:
		return errors.New("the login has expired; run cf login")
	case 10013:
		return errors.New("the platform was asked too often; wait, and ask for less at a time")
	case 330002:
		return errors.New("the platform team has switched this off, by the feature flag env_var_visibility or space_developer_env_var_visibility")
	}
	if !title().MatchString(e.Title) {
		return fmt.Errorf("the platform answers with error %d", e.Code)
	}
	return fmt.Errorf("the platform answers with error %d, %s", e.Code, e.Title)
}

var title = lazyregexp.New(`^[A-Za-z-]{1,60}$`)

func (f *fleet) list(l lifecycled) {
	f.listed[strings.Clone(l.GUID)] = listed{name: cut(l.Name, 255), ours: l.hasThis()}
}

// app is what an answer says about an app and its databases.
type app struct {
	Row
	databases []database
}

// readApp reads what an app has bound.
func (f *fleet) readApp(a Answer, d document, text []byte) {
	vcap := d.Application.VCAP
	next := app{Row: Row{GUID: cut(vcap.GUID, 255), From: cut(a.From, 300),
		Organization: cut(vcap.Organization, 255), Space: cut(vcap.Space, 255), App: cut(vcap.Name, 255)}}
	if env, err := binding.FromDocument("it", text); err != nil {
		next.databases = []database{{unread: strings.TrimPrefix(err.Error(), "it: ")}}
	} else {
		next.databases = decide(env, f.store)
	}
	i, again := f.known[next.GUID]
	switch {
	case again:
		f.apps[i] = next
		return
	case next.GUID != "":
		f.known[next.GUID] = len(f.apps)
	}
	f.apps = append(f.apps, next)
}
