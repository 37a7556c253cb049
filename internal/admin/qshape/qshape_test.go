package qshape

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/internal/mail/record"
)

var real = flag.String("qshape", "", "Postfix's qshape: it writes what is expected")

// put makes a queue file. Ages are in seconds.
func put(t *testing.T, path, sender string, age int, recipients ...string) {
	t.Helper()
	when := time.Now().Add(-time.Duration(age) * time.Second)
	var body, env []byte
	for _, line := range []string{"a", "", "bcd"} {
		body = record.Append(body, record.Norm, line)
	}
	dropped := strings.Contains(path, "maildrop")
	build := func(offset int) []byte {
		var b []byte
		if !dropped {
			b = record.Append(b, record.Size, fmt.Sprintf("%15d %15d %15d %15d %15d %15d", len(body), offset, len(recipients), 0, len(body), 0))
			b = record.Append(b, record.Time, fmt.Sprint(when.Unix(), " 0"))
		}
		b = record.Append(b, record.Sender, sender)
		for i, r := range recipients {
			if i == 3 {
				b = record.Append(b, record.Done, "done@done.example")
			}
			b = record.Append(b, record.Rcpt, r)
		}
		return record.Append(b, record.Mesg, "")
	}
	env = build(len(build(0)))
	text := append(env, body...)
	text = record.Append(text, record.Xtra, "")
	text = record.Append(text, record.End, "")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, when, when); err != nil {
		t.Fatal(err)
	}
}

// queue makes a queue of many messages, always the same.
func queue(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	domains := []string{"example.com", "a.example.com", "b.example.com", "c.d.example.com", "EXAMPLE.com", "very-long-domain-name-that-does-not-fit.sub.other.example.org",
		"s1.p.net", "s2.p.net", "s3.p.net", "s4.p.net", "s5.p.net", "s6.p.net", "..odd..dots.", "localhost", "x.de"}
	ages := []int{0, 10, 290, 310, 1000, 5000, 50_000, 500_000}
	n := 0
	for _, q := range []string{"incoming", "active", "deferred/A", "maildrop"} {
		for i := range 40 {
			n++
			var to []string
			for k := range 1 + i%5 {
				to = append(to, "u@v@"+domains[(n*k+k*k+i)%len(domains)])
			}
			sender := "me@" + domains[n%7]
			if i%6 == 0 {
				sender = ""
			}
			put(t, filepath.Join(dir, q, fmt.Sprintf("ABCDEF%04d", n)), sender, ages[(n+i*i)%len(ages)], to...)
		}
	}
	return dir
}

// rows sorts what is printed: Postfix leaves the order of equals to chance.
func rows(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	slices.Sort(lines[1:])
	return strings.Join(lines, "\n") + "\n"
}

// The texts in testdata were printed by Postfix 3.7.11.
func TestAsPostfix(t *testing.T) {
	dir := queue(t)
	conf := filepath.Join(dir, "etc")
	os.Mkdir(conf, 0o755)
	if err := os.WriteFile(filepath.Join(conf, "main.cf"), []byte("queue_directory = "+dir+"\nmaillog_file = "+dir+"/log\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for i, args := range []string{
		"incoming active", "-s incoming active", "-p incoming active deferred", "-p -m 2 deferred", "-b 3 deferred", "-b 1 deferred", "-b 20 -w 160 deferred",
		"-l deferred", "-l -t 60 -s deferred", "-t 1 deferred", "-w 40 deferred", "-w 120 -p deferred", "maildrop", "-s maildrop", "-n 1 -N 1 maildrop", "-m 0 -b 0 -t 0 -p deferred",
	} {
		path := fmt.Sprintf("testdata/%02d.txt", i)
		if *real != "" {
			var absolute []string
			for _, a := range strings.Fields(args) {
				if slices.Contains([]string{"incoming", "active", "deferred", "maildrop"}, a) {
					a = filepath.Join(dir, a)
				}
				absolute = append(absolute, a)
			}
			out, err := exec.Command(*real, absolute...).Output()
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(rows(string(out))), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var out, errs bytes.Buffer
		status := run(append([]string{"qshape", "-c", conf}, strings.Fields(args)...), nil, &out, &errs, false, time.Now())
		if got := rows(out.String()); got != string(want) || status != 0 {
			t.Errorf("%s: status %d, %s\ngot\n%s\nwant\n%s", args, status, errs.String(), got, want)
		}
	}
}

// What is no complete message is not counted, and harms nothing.
func TestOtherFiles(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "active", "ABCDEF1"), "a@b.example", 0, "c@d.example")
	put(t, filepath.Join(dir, "active", "short"), "a@b.example", 0, "c@d.example")
	put(t, filepath.Join(dir, "active", "half00"), "a@b.example", 0, "c@d.example")
	put(t, filepath.Join(dir, "active", "cut000"), "a@b.example", 0, "c@d.example")
	for name, change := range map[string]func(path string) error{
		"half00": func(path string) error { return os.Chmod(path, 0o600) },
		"cut000": func(path string) error { return os.Truncate(path, 150) },
		"junk00": func(path string) error { return os.WriteFile(path, []byte("junk"), 0o700) },
		"link00": func(path string) error { return os.Symlink("ABCDEF1", path) },
	} {
		if err := change(filepath.Join(dir, "active", name)); err != nil {
			t.Fatal(err)
		}
	}
	var out, errs bytes.Buffer
	status := run([]string{"qshape", "-c", dir, "-b", "1", filepath.Join(dir, "active"), filepath.Join(dir, "gone")}, nil, &out, &errs, false, time.Now())
	if status != 1 || !strings.Contains(errs.String(), "main.cf") {
		t.Errorf("without a configuration: status %d, %s", status, errs.String())
	}
	if err := os.WriteFile(filepath.Join(dir, "main.cf"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	errs.Reset()
	status = run([]string{"qshape", "-c", dir, "-b", "1", filepath.Join(dir, "active"), filepath.Join(dir, "gone")}, nil, &out, &errs, false, time.Now())
	want := strings.Repeat(" ", 76) + "T 0+\n" + strings.Repeat(" ", 69) + "TOTAL  1  1\n" + strings.Repeat(" ", 65) + "d.example  1  1\n"
	if got := out.String(); rows(got) != rows(want) || status != 1 || !strings.Contains(errs.String(), "gone: no such file") {
		t.Errorf("status %d, %s\ngot\n%s\nwant\n%s", status, errs.String(), got, want)
	}
	if status := run([]string{"qshape", "-b", "many"}, nil, &out, &errs, false, time.Now()); status != 1 {
		t.Errorf("status %d", status)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("S\x00R\x03a@bM\x00X\x00E\x00"))
	f.Add([]byte("C\x0512 34T\x011S\x00"))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "ABCDEF")
		if os.WriteFile(path, text, 0o600) != nil || os.Chmod(path, 0o700) != nil {
			t.Fatal("no file")
		}
		read(path, true)
		m, _ := read(path, false)
		for _, a := range m.addresses {
			fitted(domain(a)+".", minName)
		}
	})
}
