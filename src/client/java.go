package client

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/lazyregexp"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/seen"
	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/sslmode"
)

// pgjdbc reads no variable, but each org/postgresql/driverconfig.properties that its class loader
// finds, and every class loader asks the JVM's boot loader first. So we append a folder with this
// file to the boot class path. The app's own URL or Properties win over it. Agents and other
// buildpacks use JAVA_TOOL_OPTIONS too, so we add to it.
//
// R2DBC, Vert.x, HTTP clients and pgjdbc's DefaultJavaSSLFactory use the JVM's own trust. With the
// java-buildpack, that is the JDK's store and the file in CF_CA_CERTS, which has only certificates.
//
// Sources: pgjdbc, Driver.loadDefaultProperties; HotSpot, arguments.cpp, parse_options_buffer;
// java-buildpack, docs/framework-container_security_provider.md.
var javaPlaces = []string{
	"deps/*/jre/bin/java", "deps/*/jre/*/bin/java", "app/.java-buildpack/*/bin/java", // java-buildpack 5 and 4
	"deps/*/apt/usr/lib/jvm/*/bin/java", "app/.jdk/bin/java", "app/jre/bin/java",
	"app/BOOT-INF", "app/WEB-INF", "app/META-INF/MANIFEST.MF", "app/*.jar",
}

func giveJava(h *Handout) {
	if !h.mode.Encrypts() {
		return
	}
	if cas := h.roots(true); cas != "" {
		h.give("CF_CA_CERTS", cas, "for the java-buildpack's trust")
	}
	// pgjdbc's own default file (LibPQFactory, sslrootcert). A JVM that JAVA_TOOL_OPTIONS does not reach
	// (SonarQube's processes) refuses verify-ca and verify-full without it. Only an app with Java gets
	// it: libpq before version 15 reads it too, and then makes plain text of prefer where it cannot
	// verify (libpq's manual, "libpq-ssl").
	if root := h.roots(false); root != "" && h.verifies() {
		h.put(filepath.Join(h.app.Home, ".postgresql", "root.crt"), []byte(root), fs.ModeSymlink)
	}
	// ssl=true means verify-full to pgjdbc, but only without an sslmode (SslMode.of): a weaker
	// default would undo that.
	if where := h.saysTLS(); where != "" && h.mode != sslmode.VerifyFull {
		h.warn("pgjdbc is not given sslmode=%s, because %s, perhaps more strictly; "+
			"write verify-full into the binding, or sslmode into the app's JDBC URL", h.mode, where)
		return
	}
	config := h.driverConfig()
	dir := filepath.Join(h.Dir, "java-"+hash(config))
	if strings.ContainsAny(dir, ": \t\n\v\f\r'\"") { // a colon separates folders, white space options
		h.fail(fmt.Errorf("%s: Java's class path cannot contain a folder with a colon, a blank or a quote in its name", dir))
	}
	h.put(filepath.Join(dir, "org/postgresql/driverconfig.properties"), config, 0o644)
	option := "-Xbootclasspath/a:" + dir
	options := h.app.Env["JAVA_TOOL_OPTIONS"]
	if !strings.Contains(" "+options+" ", " "+option+" ") {
		options = strings.TrimLeft(options+" "+option, " ")
	}
	h.add("JAVA_TOOL_OPTIONS", options, option, "for pgjdbc: sslmode "+h.mode.String())
}

// driverConfig returns pgjdbc's defaults. It takes a client's key as PKCS #8 in DER, from a file that
// ends in .pk8 (LazyKeyManager).
func (h *Handout) driverConfig() []byte {
	lines := []string{"sslmode=" + h.mode.String()}
	if h.mode.Verifies() {
		root := h.roots(false)
		// The owner's file replaces ours, as everywhere. "system" is libpq's word, not a file.
		if own := h.app.Env["PGSSLROOTCERT"]; own != "" && own != "system" {
			root = own
		}
		if root != "" {
			lines = append(lines, "sslrootcert="+propertyValue(root))
		}
	}
	if cert, key := h.plan.ClientCertificate(); cert != nil {
		pair, _ := tls.X509KeyPair(cert, key) // the plan has checked that they belong together
		der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
		h.fail(err)
		lines = append(lines,
			"sslcert="+propertyValue(h.file("client", ".crt", cert, 0o644)),
			"sslkey="+propertyValue(h.file("client", ".pk8", der, 0o600)))
	}
	return []byte(strings.Join(lines, "\n") + "\n")
}

// propertyValue writes a path as java.util.Properties reads it: not one with control characters.
func propertyValue(path string) string {
	quoted := strconv.QuoteToASCII(path)
	return quoted[1 : len(quoted)-1]
}

// saysTLS says what else may configure pgjdbc's TLS.
func (h *Handout) saysTLS() string {
	if h.app.JavaSays != "" {
		return h.app.JavaSays + " configures its TLS"
	}
	for _, db := range h.plan.Databases {
		if db.SSLFlag.Known() {
			return db.Title() + " says ssl=true in " + db.SSLFlag.Whole()
		}
	}
	others := []string{"DB_SSL_MODE", "PGSSLMODE", "PGSSL", "POSTGRES_SSL_MODE", "VCAP_SERVICES"} // not pgjdbc's, or read above
	for _, name := range slices.Sorted(maps.Keys(h.app.Env)) {
		value := h.app.Env[name]
		switch text := name + "=" + value; {
		case slices.Contains(others, name):
		case name == "DATABASE_URL": // a copy of a bound URI; a mode in it counts more than ours
			if _, query, _ := strings.Cut(value, "?"); sslFlag().MatchString("&"+query) && !strings.Contains(query, "sslmode=") {
				return "DATABASE_URL says ssl=true"
			}
		case tlsWords().MatchString(text) && seen.IsAboutADatabase(text):
			return "the variable " + name + " configures its TLS"
		}
	}
	return ""
}

// tlsWords seem to configure pgjdbc's TLS: ssl as a flag or true, in a URL, properties, YAML or XML,
// or any sslmode. Other libraries use such words too. But a false alarm is better than weakening
// what the app asks for.
var tlsWords = lazyregexp.New(`(?i)(?:^|[^a-z0-9])ssl["']?\s*(?:[:=]|value\s*=|>\s*(?:<value>)?)\s*["']?true` +
	`|[?&;]ssl=?(?:[&;"'\s<]|$)|ssl[-_.]?mode`)

var sslFlag = lazyregexp.New(`&ssl(=(true)?)?(&|$)`)
