package sys

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

// A User is an entry of the user database.
type User struct {
	Name  string
	Owner // without supplementary groups
	Home  string
	Shell string
}

// Users is the user database of the system: the file passwd, and the other
// sources of the name service switch where there are any, which getent(1) asks.
type Users struct {
	Passwd string // "/etc/passwd"
	Switch string // "/etc/nsswitch.conf"; "" for the file alone
	Getent string // "/usr/bin/getent"
}

// SystemUsers returns the database of this machine.
func SystemUsers() *Users {
	return &Users{Passwd: "/etc/passwd", Switch: "/etc/nsswitch.conf", Getent: "/usr/bin/getent"}
}

// ByName returns the user called name. An error does not mean that there is none.
func (u *Users) ByName(name string) (User, bool, error) {
	if name == "" || strings.ContainsAny(name, ":\n\x00") {
		return User{}, false, nil
	}
	return u.find(name, func(x *User) bool { return x.Name == name })
}

// ByUID returns the first user with the number uid.
func (u *Users) ByUID(uid int) (User, bool, error) {
	return u.find(strconv.Itoa(uid), func(x *User) bool { return x.UID == uid })
}

func (u *Users) find(key string, match func(*User) bool) (User, bool, error) {
	f, err := os.Open(u.Passwd)
	if err != nil {
		return User{}, false, err
	}
	defer f.Close()
	got, found, err := scanUsers(f, match)
	if found || err != nil || !u.switched() {
		return got, found, err
	}
	return u.getent(key, match)
}

func scanUsers(r io.Reader, match func(*User) bool) (User, bool, error) {
	in := bufio.NewScanner(r)
	for in.Scan() {
		if x, err := parseUser(in.Text()); err == nil && match(&x) {
			return x, true, nil
		}
	}
	return User{}, false, in.Err()
}

var errBadEntry = errors.New("bad entry in the user database")

func parseUser(line string) (User, error) {
	f := strings.Split(line, ":")
	if len(f) != 7 || f[0] == "" || strings.ContainsAny(f[0][:1], "+-#") {
		return User{}, errBadEntry
	}
	uid, err := strconv.ParseUint(f[2], 10, 31)
	if err != nil {
		return User{}, errBadEntry
	}
	gid, err := strconv.ParseUint(f[3], 10, 31)
	if err != nil {
		return User{}, errBadEntry
	}
	return User{Name: f[0], Owner: Owner{UID: int(uid), GID: int(gid)}, Home: f[5], Shell: f[6]}, nil
}

// switched says whether there are sources besides the file.
func (u *Users) switched() bool {
	if u.Switch == "" {
		return false
	}
	text, err := os.ReadFile(u.Switch)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		sources, ok := strings.CutPrefix(strings.TrimSpace(line), "passwd:")
		if !ok {
			continue
		}
		for _, s := range strings.Fields(sources) {
			switch s {
			case "files", "compat", "systemd":
			default:
				return s[0] != '[' && s[0] != '#'
			}
		}
	}
	return false
}

// getentLimit is how long the name service may take.
const getentLimit = 30 * time.Second

func (u *Users) getent(key string, match func(*User) bool) (User, bool, error) {
	c := Command{
		Argv: []string{u.Getent, "passwd", "--", key}, Owner: Owner{UID: os.Geteuid(), GID: os.Getegid()},
		Env: []string{"PATH=/usr/bin:/bin"}, TimeLimit: getentLimit,
	}
	exit, err := c.Run(context.Background())
	if errors.Is(err, os.ErrNotExist) {
		return User{}, false, nil
	}
	if err != nil {
		return User{}, false, err
	}
	if exit.Status == 2 { // getent(1): the key was not found
		return User{}, false, nil
	}
	if !exit.OK() {
		return User{}, false, fmt.Errorf("%s failed: %.100s", u.Getent, exit.Output)
	}
	return scanUsers(strings.NewReader(exit.Output), match)
}
