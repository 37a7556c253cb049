package why

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// rotated is what rotation puts behind the name of a log file: a number or a
// date, and the suffix of a compressor.
var rotated = regexp.MustCompile(`^[.-][0-9][0-9.-]*(\.(gz|bz2|xz|zst|lz4|Z))?$`)

// Rotated returns the log file with those that rotation has made of it, the
// oldest first, and apart from them those in a form that is not known here.
func Rotated(current string) (paths, unreadable []string) {
	dir, name := filepath.Split(current)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return []string{current}, nil
	}
	type old struct {
		path string
		info fs.FileInfo
	}
	var found []old
	for _, e := range entries {
		suffix, ok := strings.CutPrefix(e.Name(), name)
		parts := rotated.FindStringSubmatch(suffix)
		switch {
		case !ok || parts == nil:
			continue
		case parts[2] != "" && parts[2] != "gz" && parts[2] != "bz2":
			unreadable = append(unreadable, dir+e.Name())
			continue
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			found = append(found, old{dir + e.Name(), info})
		}
	}
	slices.SortStableFunc(found, func(a, b old) int { return a.info.ModTime().Compare(b.info.ModTime()) })
	for _, f := range found {
		paths = append(paths, f.path)
	}
	return append(paths, current), unreadable
}

// each calls do for the lines of files that look as if they mattered.
func each(paths []string, matters func([]byte) bool, do func(*Line)) error {
	for i, p := range paths {
		f, err := os.Open(p)
		if errors.Is(err, fs.ErrNotExist) && len(paths) > 1 && i == len(paths)-1 {
			return nil // rotated a moment ago
		}
		if err != nil {
			return err
		}
		text, err := plain(f)
		if err == nil {
			err = read(text, matters, do)
		}
		f.Close()
		if err != nil {
			return fmt.Errorf("read %s: %w", p, err)
		}
	}
	return nil
}

// compressors are those whose files cannot be read here, by how they begin.
var compressors = []struct{ magic, program string }{
	{"\xfd7zXZ\x00", "xzcat"}, {"\x28\xb5\x2f\xfd", "zstdcat"}, {"\x04\x22\x4d\x18", "lz4cat"}, {"\x1f\x9d", "zcat"},
}

// plain returns the text of a file, which gzip or bzip2 may have compressed.
func plain(f io.Reader) (io.Reader, error) {
	r := bufio.NewReaderSize(f, 64*1024)
	start, err := r.Peek(6)
	if err != nil && err != io.EOF {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(start, []byte{0x1f, 0x8b}):
		return gzip.NewReader(r)
	case bytes.HasPrefix(start, []byte("BZh")):
		return bzip2.NewReader(r), nil
	}
	for _, c := range compressors {
		if bytes.HasPrefix(start, []byte(c.magic)) {
			return nil, fmt.Errorf("it is compressed in a form that is not known here; write the output of %s to a file and name that with --log", c.program)
		}
	}
	return r, nil
}
