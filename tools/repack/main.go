// Command repack writes a zip again, with nothing in it of the machine that it was made on: the
// files are in order, their times are one given time, and their modes are 0644 or 0755.
// scripts/package.sh runs it.
package main

import (
	"archive/zip"
	"bytes"
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"time"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "Usage: repack ZIP SECONDS, with the seconds since 1970 of the time")
		os.Exit(2)
	}
	if err := repack(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "repack:", err)
		os.Exit(1)
	}
}

func repack(path, seconds string) error {
	unix, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return err
	}
	old, err := zip.OpenReader(path)
	if err != nil {
		return err
	}
	defer old.Close()
	slices.SortFunc(old.File, func(a, b *zip.File) int { return cmp.Compare(a.Name, b.Name) })
	var repacked bytes.Buffer
	w := zip.NewWriter(&repacked)
	for _, file := range old.File {
		header := &zip.FileHeader{Name: file.Name, Method: zip.Deflate, Modified: time.Unix(unix, 0).UTC()}
		header.SetMode(0o644)
		if file.Mode()&0o100 != 0 {
			header.SetMode(0o755)
		}
		to, err := w.CreateHeader(header)
		if err != nil {
			return err
		}
		from, err := file.Open()
		if err != nil {
			return err
		}
		if _, err := io.Copy(to, from); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return os.WriteFile(path, repacked.Bytes(), 0o644)
}
