package binding

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
)

// Read returns what an environment binds. The platform delivers bindings in VCAP_SERVICES, in the
// file that VCAP_SERVICES_FILE_PATH names, or in the folders below SERVICE_BINDING_ROOT. If all are
// missing, nothing is bound yet, which is no error. If no service has a Postgres database, the
// app owner's DATABASE_URL is the database. An error names the variable or the service. It shows
// keys, but no other content.
func Read(env map[string]string) (Bound, error) {
	d := deliver(env)
	services, _, err := d.services()
	if err != nil {
		return Bound{}, err
	}
	bound, err := readAll(services, env["DATABASE_URL"], readRegular)
	if d.source != vcapVariable && len(bytes.TrimSpace(d.document)) == 0 {
		bound.Notes = append(bound.Notes, d.source+" is empty: no binding can be seen")
	}
	return bound, err
}

// ReadElsewhere is Read for use outside the app's container, where bindings in files are refused
// (see the package cf). It opens no file: a path in a binding means nothing here, and the author of
// a binding must not choose what we read on this machine. A credential with a path is Missing.
func ReadElsewhere(env map[string]string) (Bound, error) {
	services, _, err := delivery{source: vcapVariable, document: []byte(env[vcapVariable])}.services()
	if err != nil {
		return Bound{}, err
	}
	return readAll(services, env["DATABASE_URL"], openNothing)
}

type open func(path string) ([]byte, error)

// openNothing is for where a path means nothing, or its file makes no difference.
func openNothing(path string) ([]byte, error) {
	return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
}

// largestFile limits a file that a binding names, and the bindings in files. The platform's own
// limit for those is 1,000,000 bytes.
const largestFile = 1 << 20

// readRegular refuses a pipe or a device, which could block us.
func readRegular(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &os.PathError{Op: "read", Path: path, Err: errors.New("not a regular file")}
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, largestFile+1)) // /proc has regular files without an end
	if err == nil && len(data) > largestFile {
		return nil, &os.PathError{Op: "read", Path: path, Err: errors.New("larger than 1 MB")}
	}
	return data, err
}

func readAll(services []service, databaseURL string, open open) (Bound, error) {
	slices.SortStableFunc(services, func(a, b service) int { return strings.Compare(a.name, b.name) })
	var all Bound
	for _, s := range services {
		if err := all.addService(s, open); err != nil {
			return Bound{}, inside(s.name, err)
		}
	}
	return all, all.addDatabaseURL(databaseURL, open)
}

// caTag marks a user-provided service. Its CA is for every bound database without a CA, because
// nobody can edit a broker's credentials.
const caTag = "postgres-ssl-ca"

func (f *Bound) addService(s service, open open) error {
	_, reference := s.credentials["credhub-ref"]
	if reference && (s.says(postgresWords) || !s.says(otherWords)) {
		f.Unresolved = append(f.Unresolved, Reference{s.name, s.says(postgresWords), s.inFile})
		return nil
	}
	tagged := slices.Contains(s.tags, caTag)
	if tagged {
		objects, err := walk(s.credentials)
		if err != nil {
			return err
		}
		ca := (&database{objects: objects[:1]}).credential(caKeys, "")
		if !ca.Known() {
			return errors.New("is tagged " + caTag + ", but contains no CA: add it as the credential ca, in PEM")
		}
		ca.load(open)
		ca.Service = s.name
		f.CAs = append(f.CAs, ca)
	}
	databases, err := s.read(open)
	if len(databases) == 0 && !tagged {
		f.Others = append(f.Others, s.name)
	}
	f.Databases = append(f.Databases, databases...)
	return err
}

// addDatabaseURL uses DATABASE_URL as the database if no other is sure. Otherwise it is one more
// place that may write a mode. The platform copies the uri of a bound service into it, which adds
// nothing new.
//
// Source: the launcher's databaseuri.go.
func (f *Bound) addDatabaseURL(text string, open open) error {
	place := Place{Path: "DATABASE_URL", Variable: true}
	c, ok := parseString(text)
	if sure := slices.ContainsFunc(f.Databases, func(b Binding) bool { return !b.Guessed }); !sure || !ok {
		databases, err := service{name: place.Path, credentials: map[string]any{"uri": text}}.read(open)
		for _, b := range databases {
			for i := range b.Asked {
				b.Asked[i].Place.Path, b.Asked[i].Place.Variable = place.Path, true
			}
		}
		f.ByOwner = len(databases) > 0
		f.Databases = slices.DeleteFunc(f.Databases, func(b Binding) bool { return b.ByKeys() && b.names(c.hosts) })
		f.Databases = append(f.Databases, databases...)
		return inside(place.Path, err)
	}
	ours, written := len(c.hosts) == 0, sslmode.None
	for i := range f.Databases {
		b := &f.Databases[i]
		if !b.names(c.hosts) {
			continue
		}
		ours, written = true, max(written, b.Writes())
		for _, p := range c.modes {
			mode, err := parseMode(p.value)
			if err != nil {
				return inside(place.Path, err)
			}
			place.Of = p.key
			if !slices.ContainsFunc(b.Asked, func(a Asked) bool { return a.By != ByKey && a.Mode == mode }) {
				b.Asked = append(b.Asked, Asked{mode, place, p.by(ByURI), p.alias})
			}
		}
	}
	if ours && c.unread(text) > written {
		return errors.New("DATABASE_URL contains an sslmode that cannot be read; write it behind a question mark: ?sslmode=…")
	}
	return nil
}

func inside(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

func (b Binding) names(hosts []address) bool {
	return slices.ContainsFunc(hosts, func(a address) bool { return slices.Contains(b.Hosts, a.host) })
}

const vcapVariable = "VCAP_SERVICES"

// delivery is what the platform delivers.
type delivery struct {
	source   string                       // VCAP_SERVICES or the variable that names its file, for errors
	document []byte                       // its content
	mounted  map[string]map[string][]byte // the files below SERVICE_BINDING_ROOT, by folder and name
	err      error
}

func deliver(env map[string]string) delivery {
	d := delivery{source: vcapVariable, document: []byte(env[vcapVariable])}
	if path := env["VCAP_SERVICES_FILE_PATH"]; path != "" {
		d.source = "VCAP_SERVICES_FILE_PATH (" + path + ")"
		var cause *fs.PathError
		if d.document, d.err = readRegular(path); errors.As(d.err, &cause) {
			d.err = fmt.Errorf("%s cannot be read: %w", d.source, cause.Err)
			return d
		}
	}
	root := env["SERVICE_BINDING_ROOT"]
	if _, err := os.Stat(root); root == "" || errors.Is(err, fs.ErrNotExist) {
		return d // with the feature, the variable is set even if nothing is bound
	}
	d.mounted = map[string]map[string][]byte{}
	d.err = inside("SERVICE_BINDING_ROOT", eachEntry(root, true, func(folder string) error {
		content := map[string][]byte{}
		d.mounted[filepath.Base(folder)] = content
		return eachEntry(folder, false, func(path string) (err error) {
			content[filepath.Base(path)], err = readRegular(path)
			return err
		})
	}))
	return d
}

// eachEntry goes through the folders or the files in a folder. It follows symbolic links. They and
// hidden entries such as "..data" serve to update the mount, so hidden ones are neither bindings nor
// keys.
func eachEntry(dir string, folders bool, do func(path string) error) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		info, err := os.Stat(path)
		if err == nil && info.IsDir() == folders {
			err = do(path)
		}
		if err != nil {
			return err
		}
	}
	return err
}

// services reads the bindings. Those of the document come first, and are a part of it. We don't use
// go-cfenv here: one malformed service makes it return no service at all, and its reflection took half
// of a launch with a thousand services.
func (d delivery) services() (all []service, document any, err error) {
	if len(bytes.TrimSpace(d.document)) > 0 {
		document, err = decodeJSON(d.document)
	}
	byLabel, ok := document.(map[string]any)
	switch {
	case d.err != nil:
		return nil, nil, d.err
	case err == errMany:
		return nil, nil, fmt.Errorf("%s has %w", d.source, err)
	case err != nil:
		broken := &json.SyntaxError{}
		_ = errors.As(json.Unmarshal(d.document, new(any)), &broken) // it quotes the document, so say only where
		return nil, nil, fmt.Errorf("%s is not valid JSON: broken at byte %d", d.source, broken.Offset)
	case !ok && document != nil:
		return nil, nil, errors.New(d.source + " is JSON, but not an object of services")
	}
	for _, label := range slices.Sorted(maps.Keys(byLabel)) {
		list, ok := byLabel[label].([]any)
		if !ok {
			list = []any{byLabel[label]}
		}
		for _, item := range list {
			s, ok := asService(label, item)
			s.inFile = d.source != vcapVariable
			switch {
			case ok:
				all = append(all, s)
			case item != nil && !s.says(otherWords):
				return nil, nil, fmt.Errorf("%s: the service %s does not have the form that the platform gives it", d.source, s.name)
			}
		}
	}
	return append(all, mountedServices(d.mounted)...), document, nil
}

// asService returns false if the credentials are not an object.
func asService(label string, raw any) (service, bool) {
	fields, isObject := raw.(map[string]any)
	field := func(name string) string { s, _ := fields[name].(string); return s }
	name := cmp.Or(field("name"), field("binding_name"), field("instance_name"), shownKey(label))
	s := service{
		name:  strings.Join(strings.FieldsFunc(name, unicode.IsControl), " "),
		label: label + " " + field("label") + " " + field("type"),
	}
	tags, _ := fields["tags"].([]any)
	for _, tag := range tags {
		if text, ok := tag.(string); ok {
			s.tags = append(s.tags, text)
		}
	}
	var ok bool
	s.credentials, ok = fields["credentials"].(map[string]any)
	return s, isObject && (ok || fields["credentials"] == nil)
}

// platformFiles are files that the platform writes beside the credentials. It writes underscores for
// hyphens since September 2025.
//
// Source: Cloud Foundry's RFC-0030.
var platformFiles = strings.Fields("name binding-name instance-name instance-guid binding-guid label plan tags type provider " +
	"volume-mounts syslog-drain-url")

// mountedServices reads bindings as Kubernetes mounts them: a folder for each binding, with a file
// for each key.
//
// Source: servicebinding.io, "Workload Projection".
func mountedServices(folders map[string]map[string][]byte) []service {
	var services []service
	for _, folder := range slices.Sorted(maps.Keys(folders)) {
		s := service{name: folder, credentials: map[string]any{}, inFile: true}
		for _, key := range slices.Sorted(maps.Keys(folders[folder])) {
			data := folders[folder][key]
			text := strings.TrimRight(string(data), "\r\n")
			switch {
			case key == "type" || key == "label":
				s.label += " " + text
			case key == "tags":
				if json.Unmarshal(data, &s.tags) != nil {
					s.tags = strings.Split(text, ",")
				}
			case !slices.Contains(platformFiles, strings.ReplaceAll(key, "_", "-")):
				s.credentials[key] = text
			}
		}
		services = append(services, s)
	}
	return services
}
