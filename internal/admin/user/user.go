// Package user is the command "postern user": it looks after the file of users
// who may log in to the SMTP server (smtpd_sasl_type = postern).
//
// The file is replaced as a whole, under a lock, so that the server sees the
// old users or the new ones. A password comes from the terminal or from
// standard input, never from the command line, where other users can read it.
package user

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"golang.org/x/term"

	"postern/internal/admin/command"
	"postern/internal/config/param"
	"postern/internal/protocol/sasl"
)

const usage = `list [--json] | add [--scheme name] user | passwd [--scheme name] user | del user, with --config directory; a password is read from the terminal, or as a line from standard input; schemes: `

// A job is one call of the command.
type job struct {
	*command.Command
	path   string
	scheme string
	json   bool
}

// Main runs the command with args, its name first, and returns its exit status.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	j := &job{Command: command.New("user", stdin, stdout, stderr)}
	if len(args) < 2 {
		return j.Usage(command.Usage, usage+strings.Join(sasl.Schemes(), ", "))
	}
	verb := args[1]
	flags := flag.NewFlagSet(verb, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	dir := flags.String("config", "", "")
	flags.StringVar(&j.scheme, "scheme", sasl.Schemes()[0], "")
	flags.BoolVar(&j.json, "json", false, "")
	err := flags.Parse(args[2:])
	verbs := map[string]func(name string) error{"add": j.add, "passwd": j.passwd, "del": j.del}
	act, known := verbs[verb]
	if err != nil || !known && verb != "list" || verb == "list" && flags.NArg() > 0 || known && flags.NArg() != 1 {
		return j.Usage(command.Usage, usage+strings.Join(sasl.Schemes(), ", "))
	}
	if strings.EqualFold(j.scheme, "bcrypt") {
		j.scheme = "BLF-CRYPT" // Dovecot's name of it
	}
	var name, kind string
	declare := func(s *param.Set) {
		s.Str(&name, Parameter, "${config_directory}/"+fileName, param.MinLen(1))
		s.Str(&kind, "smtpd_sasl_type", "cyrus", param.MinLen(1))
	}
	if err := j.Load(command.ConfigDirectory(*dir), declare); err != nil {
		return j.Fail(command.Config, "%v", err)
	}
	if !strings.HasPrefix(name, "/") {
		return j.Fail(command.Config, "%s = %s: only a file, given by its full path, can be changed here", Parameter, name)
	}
	j.path = name
	if verb == "list" {
		err = j.list()
	} else {
		err = act(flags.Arg(0))
	}
	if err != nil {
		return j.Fail(command.Failure, "%v", err)
	}
	if verb == "add" && !strings.EqualFold(kind, "postern") {
		j.Log.Warningf("smtpd_sasl_type = %s: the server does not ask %s; set smtpd_sasl_type = postern, and smtpd_sasl_auth_enable = yes", kind, j.path)
	}
	return j.Done(command.OK)
}

// Parameter names the file; fileName is its default, below config_directory.
const (
	Parameter = "smtpd_sasl_users"
	fileName  = "sasl_users"
)

// An entry is a user in "list --json".
type entry struct {
	User   string `json:"user"`
	Scheme string `json:"scheme"`            // "SCRAM-SHA-256"
	Line   int    `json:"line"`              // in the file
	Error  string `json:"problem,omitempty"` // why the secret cannot be used
}

func (j *job) list() error {
	f, err := os.Open(j.path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: \"postern user add\" makes the file", err)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	list := []entry{}
	err = sasl.ReadUsers(f, func(line int, user, secret, text string, bad error) error {
		if bad != nil {
			name, _, _ := strings.Cut(text, ":")
			list = append(list, entry{User: name, Line: line, Error: bad.Error()})
		}
		if user == "" {
			return nil
		}
		scheme, _, _ := strings.Cut(strings.TrimPrefix(secret, "{"), "}")
		e := entry{User: user, Scheme: scheme, Line: line}
		if _, err := sasl.ParseSecret(secret); err != nil {
			e.Error = err.Error()
			e.Scheme = ""
		}
		list = append(list, e)
		return nil
	})
	if err != nil {
		return fmt.Errorf("%s, %w", j.path, err)
	}
	if j.json {
		return json.NewEncoder(j.Out).Encode(list)
	}
	for _, e := range list {
		if e.Error != "" {
			fmt.Fprintf(j.Out, "%s\t(line %d: %s)\n", e.User, e.Line, e.Error)
			continue
		}
		fmt.Fprintf(j.Out, "%s\t%s\n", e.User, e.Scheme)
	}
	return nil
}

func (j *job) add(name string) error {
	if err := sasl.ValidUser(name); err != nil {
		return err
	}
	return j.edit(name, func(lines []string, at int) ([]string, error) {
		if at >= 0 {
			return nil, fmt.Errorf("user %s exists already: \"postern user passwd %s\" changes the password", name, name)
		}
		secret, err := j.secret()
		return append(lines, name+":"+secret), err
	})
}

func (j *job) passwd(name string) error {
	return j.edit(name, func(lines []string, at int) ([]string, error) {
		if at < 0 {
			return nil, j.unknown(name)
		}
		secret, err := j.secret()
		f := strings.SplitN(lines[at], ":", 3)
		f[1] = secret // what follows is another program's
		lines[at] = strings.Join(f, ":")
		return lines, err
	})
}

func (j *job) del(name string) error {
	return j.edit(name, func(lines []string, at int) ([]string, error) {
		if at < 0 {
			return nil, j.unknown(name)
		}
		return slices.Delete(lines, at, at+1), nil
	})
}

func (j *job) unknown(name string) error {
	return fmt.Errorf("no user %s in %s", name, j.path)
}

// secret asks for a password and makes a secret of it.
func (j *job) secret() (string, error) {
	if !slices.Contains(sasl.Schemes(), strings.ToUpper(j.scheme)) {
		return "", fmt.Errorf("unknown scheme %q: use one of %s", j.scheme, strings.Join(sasl.Schemes(), ", "))
	}
	password, err := j.password()
	if err != nil {
		return "", err
	}
	return sasl.NewSecret(strings.ToUpper(j.scheme), password)
}

// password is typed twice on a terminal, or is the one line of standard input.
func (j *job) password() (string, error) {
	in, ok := j.In.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		line, err := bufio.NewReader(io.LimitReader(j.In, 4096)).ReadString('\n')
		if err != nil && err != io.EOF {
			return "", err
		}
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			return "", errors.New("no password on standard input")
		}
		return line, nil
	}
	var typed [2]string
	for i, prompt := range [...]string{"Password: ", "Password, once more: "} {
		fmt.Fprint(j.Err, prompt)
		b, err := term.ReadPassword(int(in.Fd()))
		fmt.Fprintln(j.Err)
		if err != nil {
			return "", err
		}
		typed[i] = string(b)
	}
	if typed[0] != typed[1] {
		return "", errors.New("the passwords differ: nothing was changed")
	}
	return typed[0], nil
}
