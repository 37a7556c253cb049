package command

import (
	"context"
	"os/user"
	"strconv"
	"strings"

	"postern/internal/table"
	"postern/internal/table/inline"
	"postern/internal/table/matchlist"
	"postern/internal/table/static"
	"postern/internal/table/texthash"
)

// AccessTables are the table types that decide what a user of a set-gid
// program may do: those that need no library and no other service.
func AccessTables() []table.Type {
	return []table.Type{static.Type(), inline.Type(), texthash.Type()}
}

// LoginName returns the login name of uid; ok says that it has one.
func LoginName(uid int) (name string, ok bool) {
	u, err := user.LookupId(strconv.Itoa(uid))
	if err != nil {
		return "unknown", false
	}
	return u.Username, true
}

// Account returns the login name and the text with the full name that the
// password file has for uid.
func Account(uid int) (login, gecos string, ok bool) {
	u, err := user.LookupId(strconv.Itoa(uid))
	if err != nil {
		return "", "", false
	}
	return u.Username, u.Name, true
}

// Authorized says whether the user may do what the parameter title grants to
// the users in list (authorized_submit_users, …), and the user's name.
func (c *Command) Authorized(title, list string, uid int) (name string, ok bool, err error) {
	if strings.HasPrefix(list, "static:") {
		return "", true, nil
	}
	name, _ = LoginName(uid)
	o := table.NewOpener(AccessTables())
	o.Log = c.Log
	defer o.Close()
	l, err := matchlist.New(title, list, o, 0)
	if err != nil {
		return name, false, err
	}
	ok, err = l.MatchString(context.Background(), name)
	return name, ok, err
}
