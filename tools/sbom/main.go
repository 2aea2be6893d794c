// Command sbom prints which modules a Go program is built from, as an SBOM in CycloneDX 1.6. It
// takes them from the program itself, so the same program gives the same bytes everywhere.
// scripts/release.sh runs it.
package main

import (
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
)

// The parts of https://cyclonedx.org/docs/1.6/json that we need.
type (
	document struct {
		Schema      string      `json:"$schema"`
		Format      string      `json:"bomFormat"`
		SpecVersion string      `json:"specVersion"`
		Version     int         `json:"version"`
		Metadata    metadata    `json:"metadata"`
		Components  []component `json:"components"`
	}
	metadata struct {
		Component component `json:"component"`
	}
	component struct {
		Ref     string `json:"bom-ref"`
		Type    string `json:"type"`
		Name    string `json:"name"`
		Version string `json:"version"`
		Hashes  []hash `json:"hashes,omitempty"`
		Purl    string `json:"purl"`
	}
	hash struct {
		Algorithm string `json:"alg"`
		Content   string `json:"content"`
	}
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "Usage: sbom PROGRAM VERSION")
		os.Exit(2)
	}
	if err := write(os.Stdout, os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

// write writes the SBOM of a program. The program does not know its own version.
func write(to io.Writer, program, version string) error {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return err
	}
	d := document{Schema: "http://cyclonedx.org/schema/bom-1.6.schema.json", Format: "CycloneDX", SpecVersion: "1.6", Version: 1,
		Metadata: metadata{of("application", debug.Module{Path: info.Main.Path, Version: version})}}
	// Go's own library, for which there are advisories too.
	d.Components = append(d.Components, of("library", debug.Module{Path: "std", Version: info.GoVersion}))
	for _, module := range info.Deps {
		for module.Replace != nil {
			module = module.Replace
		}
		d.Components = append(d.Components, of("library", *module))
	}
	encoder := json.NewEncoder(to)
	encoder.SetIndent("", "  ")
	return encoder.Encode(d)
}

// of returns the component of a module. Its hash is the one in go.sum, which is a SHA-256 over the
// module's files (golang.org/x/mod/sumdb/dirhash). Source of the purl:
// https://github.com/package-url/purl-spec, types/golang.
func of(kind string, m debug.Module) component {
	purl := "pkg:golang/" + m.Path + "@" + strings.ReplaceAll(m.Version, "+", "%2B")
	c := component{Ref: purl, Type: kind, Name: m.Path, Version: m.Version, Purl: purl}
	if sum, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(m.Sum, "h1:")); err == nil && m.Sum != "" {
		c.Hashes = []hash{{"SHA-256", hex.EncodeToString(sum)}}
	}
	return c
}
