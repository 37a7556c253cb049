package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/ipc/attr"
	"postern/internal/ipc/postdrop"
	"postern/internal/mail/record"
)

// instance makes a queue and a main.cf and returns the configuration
// directory and the path of maildrop.
func instance(t *testing.T, settings ...string) (etc, maildrop string) {
	t.Helper()
	dir := t.TempDir()
	maildrop = filepath.Join(dir, "queue", "maildrop")
	etc = filepath.Join(dir, "etc")
	for _, d := range []string{maildrop, etc} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	text := "queue_directory = " + dir + "/queue\n" + strings.Join(settings, "\n") + "\n"
	if err := os.WriteFile(filepath.Join(etc, "main.cf"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	return etc, maildrop
}

func stream(records ...string) string {
	var b bytes.Buffer
	w := record.NewWriter(&b)
	for _, r := range records {
		w.PutString(record.Type(r[0]), r[1:])
	}
	return b.String()
}

func contents(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := record.NewFileReader(f, 0)
	var all []string
	for {
		typ, data, err := r.Next()
		if err != nil {
			return strings.Join(all, "|")
		}
		if typ == record.Time {
			data = nil
		}
		all = append(all, fmt.Sprintf("%c%s", typ, data))
	}
}

func TestPostdrop(t *testing.T) {
	tests := []struct {
		name     string
		settings string
		in       string
		exit     int
		status   postdrop.Status // -1: no result
		file     string
		log      string
	}{
		{
			name: "good", in: stream("FMe", "Sa@b", "Aencoding=8bit", "Anotify_flags=3", "Rx@y", "M", "Nhi", "Lpi", "Nece", "X", "Rz@z", "E"),
			file: "T|FMe|Sa@b|Aencoding=8bit|Anotify_flags=3|Rx@y|M|Nhi|Lpi|Nece|X|Rz@z|E",
		},
		{
			name: "attributes", in: stream("S", "Aencoding=binary", "Aclient_name=evil", "Abad", "Arewrite_context=remote", "Rx", "M", "X", "E"),
			file: "T|S|Arewrite_context=remote|Rx|M|X|E", log: "ignoring attribute record: client_name=evil",
		},
		{name: "canceled", in: stream("Sa@b", "Rx@y", "M", "Nhi"), status: -1},
		{name: "no recipient", in: stream("Sa@b", "M", "X", "E"), exit: 1, status: postdrop.StatusBad},
		{name: "no sender", in: stream("Rx", "M", "X", "E"), exit: 1, status: postdrop.StatusBad},
		{name: "NUL in sender", in: stream("Sa\x00b", "Rx", "M", "X", "E"), exit: 1, status: postdrop.StatusBad},
		{name: "pointer", in: stream("Sa", "p              0"), exit: 1, status: -1, log: "unexpected record type: 112"},
		{name: "time", in: stream("T1 1", "Sa"), exit: 1, status: -1, log: "unexpected record type: 84"},
		{name: "done recipient", in: stream("Sa", "Dx"), exit: 1, status: -1, log: "unexpected record type: 68"},
		{name: "filter", in: stream("Sa", "Lx:y"), exit: 1, status: -1, log: "unexpected record type: 76"},
		{name: "not a record", in: "N\xff", exit: 1, status: -1, log: "malformed input"},
		{name: "long record", in: stream("Sa", "R"+strings.Repeat("x", 2049)), exit: 1, status: -1, log: "malformed input"},
		{
			name: "large", settings: "message_size_limit = 100", exit: 1, status: postdrop.StatusSize,
			in: stream("Sa", "Rx", "M", "N"+strings.Repeat("x", 101), "X", "E"),
		},
		{name: "submit users", settings: "authorized_submit_users = !static:all", exit: 1, status: -1, in: stream("Sa"), log: "is not allowed to submit mail"},
		{
			name: "sender allowed", settings: "local_login_sender_maps = static:{@ok.example,a@b}", in: stream("Sx@OK.example", "Rx", "M", "X", "E"),
			file: "T|Sx@OK.example|Rx|M|X|E",
		},
		{
			name: "sender refused", settings: "local_login_sender_maps = static:{@ok.example}", exit: 1, status: postdrop.StatusNoPerm,
			in: stream("Sx@other.example", "Rx", "M", "X", "E"), log: "not authorized to use sender='x@other.example'",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			etc, maildrop := instance(t, tt.settings)
			var out, errs bytes.Buffer
			exit := Main([]string{"postdrop", "-c", etc, "-r"}, strings.NewReader(tt.in), &out, &errs)
			if exit != tt.exit {
				t.Errorf("exit %d, want %d; stderr %s", exit, tt.exit, errs.String())
			}
			if !strings.Contains(errs.String(), tt.log) {
				t.Errorf("stderr %q, want %q", errs.String(), tt.log)
			}
			c := attr.NewReader(bufio.NewReader(&out))
			var start postdrop.Start
			startErr := c.Do(&start)
			result := postdrop.Result{Status: -1}
			if c.Do(&result) != nil {
				result.Status = -1
			}
			if result.Status != tt.status {
				t.Errorf("status %d, want %d", result.Status, tt.status)
			}
			files, _ := filepath.Glob(maildrop + "/*")
			if tt.file == "" {
				if len(files) != 0 {
					t.Errorf("left in maildrop: %v", files)
				}
				return
			}
			if startErr != nil || len(files) != 1 || filepath.Base(files[0]) != start.QueueID {
				t.Fatalf("files %v, queue id %q %v", files, start.QueueID, startErr)
			}
			if got := contents(t, files[0]); got != tt.file {
				t.Errorf("file %q, want %q", got, tt.file)
			}
			if info, _ := os.Stat(files[0]); info.Mode().Perm() != 0o744 {
				t.Errorf("mode %o", info.Mode().Perm())
			}
		})
	}
}

func TestUsage(t *testing.T) {
	var errs bytes.Buffer
	if exit := Main([]string{"postdrop", "-x"}, nil, nil, &errs); exit != 1 || !strings.Contains(errs.String(), "usage: postdrop") {
		t.Errorf("exit %d, stderr %q", exit, errs.String())
	}
}
