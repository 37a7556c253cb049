package tables

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"postern/test/harness"
)

// The commands of an archive, a line each; "#" begins a comment, and "newer
// 3.9" says that the packaged Postfix does not have the feature. Words in
// single quotes may have blanks. Every other section is a file; main.cf is
// added to a small one. @DIR@ is the folder in which they are.
//
//	build [<SECTION] postmap|postalias ARGS…  write a table: done by the writer
//	run [<SECTION] postmap|postalias ARGS…    anything else: done by the reader
//	list SPEC                                 the entries of a table, sorted
//	ask SPEC… SECTION                         look up each line of SECTION, one process each
//	serve NAME tcp|socketmap SECTION          a server on a port that @NAME@ stands for; SECTION
//	                                          has lines "request => reply", both as Go strings
//	                                          without quotes; "hang up" closes the connection
//	file PATH                                 the contents of a file
//	mode PATH                                 its mode
//	chmod PATH MODE
//	remove PATH
//
// What is looked up by "ask" is written as a line "key: status value"; a line
// that begins with a double quote is a Go string. A line of standard error is
// shown where it comes first.
type player struct {
	t       *testing.T
	archive *txtar.Archive
	side    side
	host    string // the folder
	dir     string // the same as the programs see it
	out     strings.Builder
	ports   map[string]string // of servers, by name
}

var verbs = map[string]func(p *player, args []string){
	"build":  func(p *player, args []string) { p.run("build", p.side.writer, args) },
	"run":    func(p *player, args []string) { p.run("run", p.side.reader, args) },
	"list":   (*player).list,
	"ask":    (*player).ask,
	"serve":  (*player).serve,
	"file":   (*player).file,
	"mode":   (*player).mode,
	"chmod":  (*player).chmod,
	"remove": func(p *player, args []string) { p.must(os.Remove(filepath.Join(p.host, args[0]))) },
}

const baseMain = `compatibility_level = 3.6
myhostname = mail.example.com
smtputf8_enable = yes
default_database_type = hash
queue_directory = @DIR@
data_directory = @DIR@
mail_owner = postfix
setgid_group = postdrop
`

func play(t *testing.T, archive *txtar.Archive, s side) []byte {
	p := &player{t: t, archive: archive, side: s, ports: map[string]string{}}
	p.folder()
	main := baseMain
	for _, f := range archive.Files {
		if strings.HasPrefix(f.Name, "want") {
			continue
		}
		if f.Name == "main.cf" {
			main += string(f.Data)
			continue
		}
		path := filepath.Join(p.host, f.Name)
		p.must(os.MkdirAll(filepath.Dir(path), 0o755))
		p.must(os.WriteFile(path, []byte(p.expand(string(f.Data))), 0o644))
	}
	p.must(os.WriteFile(filepath.Join(p.host, "main.cf"), []byte(p.expand(main)), 0o644))
	p.must(os.WriteFile(filepath.Join(p.host, "master.cf"), nil, 0o644))
	for _, line := range strings.Split(string(archive.Comment), "\n") {
		f := words(line)
		if len(f) == 0 || f[0][0] == '#' || f[0] == "newer" {
			continue
		}
		verb, ok := verbs[f[0]]
		if !ok {
			t.Fatalf("unknown command %q", f[0])
		}
		for i := range f {
			f[i] = p.expand(f[i])
		}
		verb(p, f[1:])
	}
	return []byte(p.out.String())
}

// folder makes a folder: in the private root where there is one.
func (p *player) folder() {
	if os.Geteuid() != 0 {
		p.host = p.t.TempDir()
		p.dir = p.host
		return
	}
	root := harness.Root(p.t)
	host, err := os.MkdirTemp(filepath.Join(root, "t"), "tables-")
	p.must(err)
	p.must(os.Chmod(host, 0o755))
	p.t.Cleanup(func() { os.RemoveAll(host) })
	p.host, p.dir = host, strings.TrimPrefix(host, root)
}

func (p *player) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *player) expand(s string) string {
	for name, port := range p.ports {
		s = strings.ReplaceAll(s, "@"+name+"@", port)
	}
	return strings.ReplaceAll(s, "@DIR@", p.dir)
}

// program matches how a program calls itself, by its path in Postern's case.
var program = regexp.MustCompile(`(?m)^(?:/\S*/)?(postmap|postalias)(:)`)

func (p *player) mask(s string) string {
	for name, port := range p.ports {
		s = strings.ReplaceAll(s, ":"+port, ":"+name)
	}
	return program.ReplaceAllString(strings.ReplaceAll(s, p.dir, "DIR"), "$1$2")
}

// words cuts a line at blanks outside of single quotes.
func words(line string) []string {
	var out []string
	var b strings.Builder
	quoted, have := false, false
	for _, c := range line {
		switch {
		case c == '\'':
			quoted, have = !quoted, true
		case c == ' ' && !quoted:
			if have {
				out = append(out, b.String())
			}
			b.Reset()
			have = false
		default:
			b.WriteRune(c)
			have = true
		}
	}
	if have {
		out = append(out, b.String())
	}
	return out
}

func (p *player) section(name string) string {
	data, ok := harness.Section(p.archive, name)
	if !ok {
		p.t.Fatalf("no section %q", name)
	}
	return p.expand(string(data))
}

// start returns a command that reads the archive's configuration.
func (p *player) start(c command, args []string) *exec.Cmd {
	cmd := c(append([]string{args[0], "-c", p.dir}, args[1:]...)...)
	cmd.Env = []string{"PATH=/usr/bin:/bin:/usr/sbin:/sbin", "LANG=C", "TABLE_VARIABLE=from the environment"}
	return cmd
}

func (p *player) status(cmd *exec.Cmd) int {
	err := cmd.Run()
	if cmd.ProcessState == nil {
		p.t.Fatalf("%s: %v", cmd, err)
	}
	return cmd.ProcessState.ExitCode()
}

func (p *player) run(verb string, c command, args []string) {
	p.title(verb, args)
	stdin := ""
	if name, ok := strings.CutPrefix(args[0], "<"); ok {
		stdin, args = p.section(name), args[1:]
	}
	cmd := p.start(c, args)
	cmd.Stdin = strings.NewReader(stdin)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	status := p.status(cmd)
	p.text(out.String())
	if status != 0 {
		fmt.Fprintf(&p.out, "[exit status %d]\n", status)
	}
}

func (p *player) title(verb string, args []string) {
	p.out.WriteString(p.mask("== " + verb + " " + strings.Join(args, " ") + "\n"))
}

func (p *player) text(s string) {
	s = p.mask(s)
	p.out.WriteString(s)
	if s != "" && !strings.HasSuffix(s, "\n") {
		p.out.WriteString("\n")
	}
}

func (p *player) list(args []string) {
	p.title("list", args)
	cmd := p.start(p.side.reader, []string{"postmap", "-s", args[0]})
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	status := p.status(cmd)
	lines := strings.SplitAfter(out.String(), "\n")
	sort.Strings(lines)
	p.text(strings.Join(lines, ""))
	p.text(errs.String())
	if status != 0 {
		fmt.Fprintf(&p.out, "[exit status %d]\n", status)
	}
}

func (p *player) ask(args []string) {
	specs, name := args[:len(args)-1], args[len(args)-1]
	p.title("ask", args)
	seen := map[string]bool{}
	for _, line := range strings.Split(strings.TrimSuffix(p.section(name), "\n"), "\n") {
		key := line
		if strings.HasPrefix(line, `"`) {
			var err error
			key, err = strconv.Unquote(line)
			p.must(err)
		}
		cmd := p.start(p.side.reader, append([]string{"postmap", "-q", key}, specs...))
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		status := p.status(cmd)
		for _, line := range strings.SplitAfter(errs.String(), "\n") {
			if !seen[line] {
				p.text(line)
			}
			seen[line] = true
		}
		value := ""
		if out.Len() > 0 {
			value = " " + p.mask(strings.TrimSuffix(out.String(), "\n"))
		}
		fmt.Fprintf(&p.out, "%s: %d%s\n", line, status, value)
	}
}

func (p *player) file(args []string) {
	p.title("file", args)
	b, err := os.ReadFile(filepath.Join(p.host, args[0]))
	p.must(err)
	p.text(string(b))
}

func (p *player) mode(args []string) {
	st, err := os.Stat(filepath.Join(p.host, args[0]))
	p.must(err)
	p.title("mode", args)
	fmt.Fprintf(&p.out, "%o\n", st.Mode().Perm())
}

func (p *player) chmod(args []string) {
	mode, err := strconv.ParseUint(args[1], 8, 32)
	p.must(err)
	p.must(os.Chmod(filepath.Join(p.host, args[0]), os.FileMode(mode)))
}
