package binding

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cloudfoundry-community/go-cfenv"
)

// Read returns the Postgres databases that an environment binds, sorted by name. The platform delivers bindings in VCAP_SERVICES, in
// the file named by VCAP_SERVICES_FILE_PATH, or in the folders below SERVICE_BINDING_ROOT. None of them is no error: nothing is bound
// yet. An error names the variable, the file and the position, and shows nothing of the content.
func Read(env map[string]string) ([]Binding, error) {
	services, err := vcapServices(env)
	if err != nil {
		return nil, err
	}
	if root := env["SERVICE_BINDING_ROOT"]; root != "" {
		mounted, err := mountedServices(root)
		if err != nil {
			return nil, fmt.Errorf("SERVICE_BINDING_ROOT: %w", err)
		}
		services = append(services, mounted...)
	}
	var bindings []Binding
	for _, s := range services {
		if b, ok := fromService(s); ok {
			bindings = append(bindings, b)
		}
	}
	slices.SortStableFunc(bindings, func(a, b Binding) int { return strings.Compare(a.Name, b.Name) })
	return bindings, nil
}

// vcapServices reads VCAP_SERVICES, or its file, with go-cfenv, which asks for VCAP_APPLICATION too; that one has nothing for us.
func vcapServices(env map[string]string) ([]cfenv.Service, error) {
	vcap := map[string]string{
		"VCAP_APPLICATION":        "{}",
		"VCAP_SERVICES":           env["VCAP_SERVICES"],
		"VCAP_SERVICES_FILE_PATH": env["VCAP_SERVICES_FILE_PATH"],
	}
	source := "VCAP_SERVICES"
	if path := vcap["VCAP_SERVICES_FILE_PATH"]; path != "" {
		source = "VCAP_SERVICES_FILE_PATH (" + path + ")"
	} else if strings.TrimSpace(vcap["VCAP_SERVICES"]) == "" {
		return nil, nil
	}
	app, err := cfenv.New(vcap)
	if err != nil {
		return nil, hideContent(source, err)
	}
	labels := make([]string, 0, len(app.Services))
	for label := range app.Services {
		labels = append(labels, label)
	}
	slices.Sort(labels)
	var services []cfenv.Service
	for _, label := range labels {
		for _, s := range app.Services[label] {
			if s.Label == "" {
				s.Label = label
			}
			services = append(services, s)
		}
	}
	return services, nil
}

// hideContent turns an error of encoding/json or mapstructure, which quote what they could not read, into one that does not.
func hideContent(source string, err error) error {
	var syntax *json.SyntaxError
	var form *json.UnmarshalTypeError
	var path *fs.PathError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("%s is not valid JSON: broken at byte %d", source, syntax.Offset)
	case errors.As(err, &form):
		return fmt.Errorf("%s is JSON, but not an object of services: unexpected %s at byte %d", source, jsonKind(form.Value), form.Offset)
	case errors.As(err, &path):
		return fmt.Errorf("%s cannot be read: %w", source, path.Err)
	}
	return fmt.Errorf("%s is JSON, but its services have not the form that the platform gives them", source)
}

// jsonKind keeps only the first word of UnmarshalTypeError.Value: "number 12" quotes the number.
func jsonKind(value string) string {
	kind, _, _ := strings.Cut(value, " ")
	return kind
}

// mountedServices reads bindings as Kubernetes mounts them: a folder a binding, a file a key, with symbolic links and hidden
// entries ("..data") that take part in updating the mount and are not bindings or keys.
//
// Source: servicebinding.io, "Workload Projection"; Cloud Foundry's RFC-0030 for the metadata beside the credentials.
func mountedServices(root string) ([]cfenv.Service, error) {
	folders, err := visibleEntries(root, true)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // set for every app with the feature, bindings or not
	}
	if err != nil {
		return nil, err
	}
	var services []cfenv.Service
	for _, folder := range folders {
		files, err := visibleEntries(folder, false)
		if err != nil {
			return nil, err
		}
		service := cfenv.Service{Name: filepath.Base(folder), Credentials: map[string]any{}}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				return nil, err
			}
			text := strings.TrimRight(string(data), "\r\n")
			switch key := filepath.Base(file); key {
			case "type":
				service.Label = text
			case "tags":
				if json.Unmarshal(data, &service.Tags) != nil {
					service.Tags = strings.Split(text, ",")
				}
			default:
				service.Credentials[key] = text
			}
		}
		services = append(services, service)
	}
	return services, nil
}

// visibleEntries returns the paths of the folders, or of the files, that dir holds, symbolic links followed.
func visibleEntries(dir string, folders bool) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		path := filepath.Join(dir, e.Name())
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		if info.IsDir() == folders {
			paths = append(paths, path)
		}
	}
	return paths, nil
}

// FromDocument finds the bindings, and the variables of the app's owner, in what an operator has at hand: the JSON of VCAP_SERVICES
// itself; the answer of `cf curl /v3/apps/GUID/env`; or the text that `cf env APP` prints. It returns them as an
// environment for Read. name says in an error where the document is from.
func FromDocument(name string, document []byte) (map[string]string, error) {
	document = bytes.TrimSpace(document)
	env := map[string]string{}
	if !bytes.HasPrefix(document, []byte("{")) {
		return fromCFEnv(name, document)
	}
	var answer struct {
		System      map[string]json.RawMessage `json:"system_env_json"`
		Environment map[string]any             `json:"environment_variables"`
		Services    json.RawMessage            `json:"VCAP_SERVICES"`
	}
	if err := json.Unmarshal(document, &answer); err != nil {
		return nil, hideContent(name, err)
	}
	switch {
	case answer.System != nil:
		env["VCAP_SERVICES"] = string(answer.System["VCAP_SERVICES"])
		for key, value := range answer.Environment {
			if text, ok := asText(value); ok {
				env[key] = text
			}
		}
	case answer.Services != nil:
		env["VCAP_SERVICES"] = string(answer.Services)
	default:
		env["VCAP_SERVICES"] = string(document)
	}
	return env, nil
}

// fromCFEnv reads the text of `cf env`: "VCAP_SERVICES: {…}" among other things, and the owner's variables as lines "NAME: value" below
// the heading "User-Provided:".
func fromCFEnv(name string, text []byte) (map[string]string, error) {
	env := map[string]string{}
	_, after, found := bytes.Cut(text, []byte("VCAP_SERVICES"))
	_, document, brace := bytes.Cut(after, []byte("{"))
	if found && brace {
		var services json.RawMessage
		if err := json.NewDecoder(bytes.NewReader(append([]byte("{"), document...))).Decode(&services); err != nil {
			return nil, hideContent(name+", VCAP_SERVICES", err)
		}
		env["VCAP_SERVICES"] = string(services)
	}
	_, own, headed := bytes.Cut(text, []byte("User-Provided:\n"))
	if !found && !headed && !bytes.Contains(text, []byte("VCAP_APPLICATION")) {
		return nil, fmt.Errorf("%s is neither the JSON of VCAP_SERVICES, nor an answer of `cf curl /v3/apps/GUID/env`, nor the text of `cf env APP`", name)
	}
	for line := range bytes.Lines(own) {
		key, value, ok := strings.Cut(strings.TrimSpace(string(line)), ": ")
		if !ok {
			break
		}
		env[key] = value
	}
	return env, nil
}
