package postcat

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/mail/record"
)

func run(stdin string, args ...string) (status int, stdout, stderr string) {
	var out, errs bytes.Buffer
	status = Main(append([]string{"postcat"}, args...), strings.NewReader(stdin), &out, &errs)
	return status, out.String(), errs.String()
}

func inUTC(t *testing.T) {
	local := time.Local
	time.Local = time.UTC
	t.Cleanup(func() { time.Local = local })
}

// The texts in testdata were printed by Postfix 3.7.11.
func TestAsPostfix(t *testing.T) {
	inUTC(t)
	dir := t.TempDir()
	for _, name := range []string{"all", "ptr", "real"} {
		data, err := os.ReadFile("testdata/" + name + ".queue")
		if err != nil {
			t.Fatal(err)
		}
		os.WriteFile(filepath.Join(dir, name), data, 0o600)
	}
	texts, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(texts) != 29 {
		t.Fatalf("%d texts, %v", len(texts), err)
	}
	for i, path := range texts {
		texts[i], _ = filepath.Abs(path)
	}
	t.Chdir(dir)
	for _, path := range texts {
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name, option, _ := strings.Cut(strings.TrimSuffix(filepath.Base(path), ".txt"), "-")
		args := []string{name}
		if option != "" {
			args = []string{"-" + option, name}
		}
		_, got, _ := run("", args...)
		if got != string(want) {
			t.Errorf("%v:\n got %q\nwant %q", args, got, want)
		}
	}
}

func TestStdin(t *testing.T) {
	inUTC(t)
	data, err := os.ReadFile("testdata/real.queue")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/real-bh.txt")
	if err != nil {
		t.Fatal(err)
	}
	if status, got, errs := run(string(data), "-bh"); status != 0 || got != string(want) {
		t.Errorf("status %d, %q, stderr %q", status, got, errs)
	}
}

// TestSubmission shows a message of "sendmail -O requiretls=yes" before pickup has
// taken it: its size record has no sizes yet.
func TestSubmission(t *testing.T) {
	var in []byte
	for _, r := range []struct {
		t    record.Type
		data string
	}{{record.Time, "1795508745 811022"}, {record.Size, string(record.Sizes{SendOpts: 32}.Append(nil))}, {record.Sender, "a@b"}, {record.Rcpt, "c@d"},
		{record.Mesg, ""}, {record.Norm, "Subject: x"}, {record.Xtra, ""}, {record.End, ""}} {
		in = record.Append(in, r.t, r.data)
	}
	status, got, errs := run(string(in))
	if status != 0 || errs != "" || !strings.Contains(got, "recipient: c@d\n") || !strings.Contains(got, "Subject: x\n") || !strings.Contains(got, "              32\n") {
		t.Errorf("status %d, %s, stderr %s", status, got, errs)
	}
}

func TestSearch(t *testing.T) {
	dir := t.TempDir()
	os.MkdirAll(filepath.Join(dir, "queue/deferred/A"), 0o700)
	os.Mkdir(filepath.Join(dir, "queue/hold"), 0o700)
	os.WriteFile(filepath.Join(dir, "main.cf"), []byte("queue_directory = "+dir+"/queue\n"), 0o600)
	data, err := os.ReadFile("testdata/real.queue")
	if err != nil {
		t.Fatal(err)
	}
	os.WriteFile(filepath.Join(dir, "queue/deferred/A/ABC"), data, 0o700)
	os.WriteFile(filepath.Join(dir, "queue/hold/DEF"), data, 0o700)
	for id, want := range map[string]string{"ABC": "deferred/A/ABC", "DEF": "hold/DEF"} {
		status, got, errs := run("", "-c", dir, "-q", id)
		if status != 0 || !strings.HasPrefix(got, "*** ENVELOPE RECORDS "+want+" ***\n") {
			t.Errorf("%s: status %d, %.100q, stderr %q", id, status, got, errs)
		}
	}
	for _, bad := range []string{"GONE", "../x"} {
		if status, _, errs := run("", "-c", dir, "-q", bad); status != 1 || !strings.Contains(errs, "fatal: ") {
			t.Errorf("%s: status %d, stderr %q", bad, status, errs)
		}
	}
}

func TestBad(t *testing.T) {
	for in, want := range map[string]string{
		"N\x01x":          "input is not a valid queue file",
		"S\x01xR\x05a":    "record read error",
		"S\x01xp\x02xx":   "bad pointer record",
		"S\x00E\x00X\x00": "",
		"S\x00X\x00M\x00": "out-of-order extracted segment marker",
	} {
		_, _, errs := run(in, "-v")
		if !strings.Contains(errs, want) || want == "" && errs != "" {
			t.Errorf("%q: stderr %q, want %q", in, errs, want)
		}
	}
	for args, want := range map[string]string{"-x": "usage: postcat", "-s x": "bad offset: x", "/no/such/file": "no such file"} {
		if status, _, errs := run("", strings.Fields(args)...); status != 1 || !strings.Contains(errs, want) {
			t.Errorf("%s: status %d, stderr %q", args, status, errs)
		}
	}
}

func FuzzPrint(f *testing.F) {
	for _, name := range []string{"all", "ptr", "real"} {
		data, err := os.ReadFile("testdata/" + name + ".queue")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data), "-eo")
	}
	f.Fuzz(func(t *testing.T, in, option string) {
		switch option {
		case "-eo", "-v", "-rv", "-bh":
			run(in, option)
		}
	})
}
