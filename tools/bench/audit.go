package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/tools/pgtest"
)

// audit measures what it takes to read the answers about 1,000 and about 10,000 apps: every shape of
// a binding that the tests know, among the other services and variables that a real answer has.
func (b *bench) audit() {
	shapes := b.shapes()
	program := filepath.Join(b.work, "buildpack/bin/postgres-ssl")
	sizes := []int{1000, 10000}
	commands := []command{{argv: []string{program, "version"}}}
	var bytes []int64
	for _, apps := range sizes {
		file := filepath.Join(b.work, fmt.Sprintf("answers-%d.json", apps))
		text := manyAnswers(apps, shapes)
		write(file, text)
		bytes = append(bytes, int64(len(text)))
		// What is measured ends well if nothing is wrong; among all shapes something always is.
		commands = append(commands, command{argv: []string{"bash", "-c", `"$0" audit "$1"; [[ $? == 3 ]]`, program, file}})
		said := string(output(commands[len(commands)-1]))
		if want := "\n" + thousands(apps) + " apps, "; !strings.Contains(said, want) {
			check(fmt.Errorf("the audit of %d apps does not say so:\n%s", apps, said[max(0, len(said)-300):]))
		}
	}
	const runs = 5
	t := times(runs, commands...)
	for i, apps := range sizes {
		took := t[i+1].minus(t[0]).median()
		r := row{what: fmt.Sprintf("`audit` of %s apps in %d shapes, %s", thousands(apps), len(shapes), mb(bytes[i])), value: ms(took), runs: strconv.Itoa(runs)}
		if i > 0 {
			before := t[i].minus(t[0]).median()
			r.beside, r.ratio, r.aim = "a tenth as many "+ms(before), ratio(took, before), "< 10 s"
		}
		b.rows = append(b.rows, r)
	}
	small, large := b.memory(commands[1]), b.memory(commands[2])
	b.add("… memory, peak RSS", mb(large), "a tenth as many "+mb(small), ratio(large, small), "< 50 MB", memoryRuns)
}

func thousands(n int) string { return fmt.Sprintf("%d,%03d", n/1000, n%1000) }

// shapes are values of VCAP_SERVICES: the fixtures, and the table that the tests of the launch have.
func (b *bench) shapes() []json.RawMessage {
	var all []json.RawMessage
	files, err := filepath.Glob(filepath.Join(b.root, "fixtures/services/*.json"))
	check(err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		check(err)
		all = append(all, text)
	}
	table, err := os.ReadFile(filepath.Join(b.root, "src/launch/testdata/shapes.json"))
	check(err)
	s := &stand{}
	defer s.end()
	ca := pgtest.NewCA(s, "Company Root")
	pair := ca.Issue(s, []string{"localhost"})
	inJSON := func(pem []byte) string {
		text, err := json.Marshal(string(pem))
		check(err)
		return strings.Trim(string(text), `"`)
	}
	replace := []string{"$CLIENT_KEY", inJSON(pair.KeyPEM)}
	for _, name := range []string{"$BASE64_CA", "$CA", "$SAML", "$SELF_SIGNED", "$SERVER_CERT", "$CLIENT_CERT"} {
		replace = append(replace, name, inJSON(ca.PEM))
	}
	var chapters []struct {
		Shapes []struct {
			Label       string
			Tags        []string
			Credentials json.RawMessage
			Services    json.RawMessage
		}
	}
	check(json.Unmarshal([]byte(strings.NewReplacer(replace...).Replace(string(table))), &chapters))
	for _, chapter := range chapters {
		for _, s := range chapter.Shapes {
			switch {
			case s.Services != nil:
				all = append(all, s.Services)
			case s.Credentials != nil:
				if s.Label == "" {
					s.Label = "user-provided"
				}
				text, err := json.Marshal(map[string]any{s.Label: []any{map[string]any{"name": "db", "label": s.Label, "tags": s.Tags, "credentials": s.Credentials}}})
				check(err)
				all = append(all, text)
			}
		}
	}
	return all
}

// manyAnswers writes answers of n apps, one a line. Each app has four services more, and variables.
func manyAnswers(n int, shapes []json.RawMessage) string {
	var all bytes.Buffer
	const other = `{"label":"p.%[1]s","provider":null,"plan":"on-demand","name":"%[1]s-%[2]d","tags":["%[1]s","pivotal","on-demand"],` +
		`"instance_guid":"%036[2]d","instance_name":"%[1]s-%[2]d","binding_guid":"%036[2]d","binding_name":null,` +
		`"credentials":{"host":"q-s0.%[1]s-instance.example.com","password":"%040[2]d","port":6379,"tls_port":16379,"uris":["https://%[1]s-%[2]d.example.com/"],"token":"%0400[2]d"},` +
		`"syslog_drain_url":null,"volume_mounts":[]}`
	for i := range n {
		fmt.Fprintf(&all, `{"staging_env_json":{},"running_env_json":{"HTTP_PROXY":"http://proxy.example.com:3128"},"environment_variables":{"JAVA_OPTS":"-Xmx512m","SETTINGS":"%0800d"},"system_env_json":{"VCAP_SERVICES":`, i)
		var services bytes.Buffer
		check(json.Compact(&services, shapes[i%len(shapes)]))
		text := bytes.TrimSuffix(services.Bytes(), []byte("}"))
		all.Write(text)
		for j, name := range []string{"redis", "rabbitmq", "mongodb", "config-server"} {
			if j > 0 || len(text) > 1 {
				all.WriteByte(',')
			}
			fmt.Fprintf(&all, `"p.%[1]s":[`+other+`]`, name, i)
		}
		fmt.Fprintf(&all, `}},"application_env_json":{"VCAP_APPLICATION":{"cf_api":"https://api.example.com","limits":{"fds":16384},"application_name":"app-%[1]d","application_uris":["app-%[1]d.example.com"],"name":"app-%[1]d","space_name":"space-%[2]d","space_id":"%036[2]d","organization_id":"%036[3]d","organization_name":"org-%[3]d","uris":["app-%[1]d.example.com"],"users":null,"application_id":"00000000-0000-0000-0000-%012[1]d"}}}`+"\n", i, i%97, i%13)
	}
	return all.String()
}
