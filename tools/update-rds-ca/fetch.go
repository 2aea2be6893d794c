package main

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/cloudfoundry-community/postgres-ssl-buildpack/src/truststore"
)

const (
	fetchTimeout = time.Minute
	maxBundle    = 8 << 20 // AWS's largest has 170 KB
)

// newClient returns an HTTP client that follows redirects only to https, and has a timeout.
func newClient(transport http.RoundTripper) *http.Client {
	return &http.Client{
		Transport: transport,
		Timeout:   fetchTimeout,
		CheckRedirect: func(to *http.Request, via []*http.Request) error {
			if to.URL.Scheme != "https" {
				return errors.New("is redirected to a URL that is not https")
			}
			if len(via) > 5 {
				return errors.New("is redirected too often")
			}
			return nil
		},
	}
}

func isURL(from string) bool { return strings.Contains(from, "://") }

// place returns a source for people: a URL without its password and its query, which may be secret.
func place(from string) string {
	if !isURL(from) {
		return from
	}
	u, err := url.Parse(from)
	if err != nil {
		return "the URL given" // net/url's error would quote it
	}
	return u.Host + u.Path
}

// fetch reads the CAs of a bundle: all of them, or it fails.
func fetch(client *http.Client, from string) ([]*x509.Certificate, error) {
	var data []byte
	var err error
	if isURL(from) {
		data, err = download(client, from)
	} else {
		data, err = os.ReadFile(from)
	}
	if err != nil {
		return nil, err
	}
	text := bytes.TrimSpace(data)
	switch {
	case len(text) == 0:
		return nil, errors.New("is empty")
	case strings.HasPrefix(http.DetectContentType(text), "text/html"):
		return nil, errors.New("is an HTML page, not certificates")
	}
	certs, err := truststore.Parse(data)
	if err != nil {
		return nil, err
	}
	// Parse allows text around the certificates. But text after the last one means that the bundle
	// was cut off.
	if !bytes.HasSuffix(text, []byte("-----END CERTIFICATE-----")) {
		return nil, errors.New("does not end with a certificate; it is cut off")
	}
	return certs, nil
}

func download(client *http.Client, from string) ([]byte, error) {
	answer, err := client.Get(from)
	if err != nil {
		// The outer error repeats the URL and what is secret in it.
		if outer := (*url.Error)(nil); errors.As(err, &outer) {
			err = outer.Err
		}
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the server answers %s", answer.Status)
	}
	data, err := io.ReadAll(io.LimitReader(answer.Body, maxBundle+1))
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, errors.New("is cut off: the server announced more than it sent")
	case err != nil:
		return nil, err
	case len(data) > maxBundle:
		return nil, fmt.Errorf("is larger than %d MB", maxBundle>>20)
	}
	return data, nil
}
