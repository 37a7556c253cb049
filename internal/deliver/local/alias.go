package local

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"postern/internal/ipc/delivery"
	"postern/internal/mail/dsn"
	"postern/internal/table"
)

// maxLevel is how deep expansions may nest.
const maxLevel = 100

// alias expands name by the alias databases; ok says that it is an alias.
func (s state) alias(name string) (done, ok bool) {
	if s.expFrom != "" && strings.EqualFold(s.expFrom, name) {
		return false, false // an alias that names itself: the user is meant
	}
	value, spec, found, err := s.aliases.LookupIn(s.ctx, name, false)
	if err != nil {
		return s.deferred("4.3.0", "alias database unavailable"), true
	}
	if !found {
		return false, false
	}
	if s.level > maxLevel {
		s.req.Log.Warningf("alias database loop for %s", name)
		return s.bounced("5.4.6", "alias database loop for "+name), true
	}
	if s.req.Flags&delivery.FlagMTAVerify != 0 {
		return s.sent("aliased to " + value), true
	}
	s.into(StepAlias, name)
	s.expFrom, s.from = name, fromAlias
	if err := s.aliasRights(spec); err != nil {
		s.req.Log.Warningf("%v", err)
		return s.deferred("4.3.0", "cannot find alias database owner"), true
	}
	s.expanded()
	if err := s.aliasOwner(name); err != nil {
		return s.deferred("4.3.0", "alias database unavailable"), true
	}
	if !s.FrozenDeliveredTo {
		s.delivered = s.addr
	}
	return s.destinations(value), true
}

// aliasRights takes the rights of whoever owns the database: files and commands
// of a database that somebody else than root can change are not root's.
func (s *state) aliasRights(spec string) error {
	s.rights = rights{}
	uid, err := tableOwner(spec)
	if err != nil || uid == 0 || os.Geteuid() != 0 {
		return err
	}
	u, found, err := s.users.ByUID(uid)
	if err != nil {
		return fmt.Errorf("cannot find alias database owner for %s: %w", spec, err)
	}
	if !found {
		return fmt.Errorf("cannot find alias database owner for %s", spec)
	}
	s.rights = rights{u, true}
	return nil
}

// suffixes are those of the files of table types; types that have no file
// belong to the administrator.
var suffixes = [...]struct{ typ, suffix string }{
	{"hash", ".db"}, {"btree", ".db"}, {"lmdb", ".lmdb"}, {"cdb", ".cdb"}, {"dbm", ".pag"}, {"sdbm", ".pag"},
	{"texthash", ""}, {"regexp", ""}, {"pcre", ""}, {"cidr", ""},
}

func tableOwner(spec string) (uid int, err error) {
	typ, name, err := table.SplitSpec(spec)
	if err != nil {
		return 0, err
	}
	for _, x := range suffixes {
		if x.typ != typ {
			continue
		}
		var st unix.Stat_t
		if err := unix.Stat(name+x.suffix, &st); err != nil {
			return 0, fmt.Errorf("cannot find alias database owner for %s: %w", spec, err)
		}
		return int(st.Uid), nil
	}
	return 0, nil
}

// aliasOwner makes owner-name, if there is such an alias, the sender: it gets
// the notices about what the alias expands to.
func (s *state) aliasOwner(name string) error {
	if !s.Env().Common.OwnerRequestSpecial {
		return nil
	}
	owner := "owner-" + name
	value, found, err := s.aliases.LookupFixed(s.ctx, owner)
	if err != nil {
		return err
	}
	if !found {
		if s.ResetOwnerAlias {
			s.owner = ""
		}
		return nil
	}
	if s.ExpandOwnerAlias {
		owner = value
	}
	canonical, err := s.rewriter.Rewrite(s.ctx, "local", owner)
	if err != nil {
		return err
	}
	s.sender, s.owner = canonical, canonical
	// RFC 3461 5.2.7.2: the members' copies owe nothing to the first sender.
	s.original = original{}
	return nil
}

// expanded reports that the recipient became others, where the sender wants to
// know; the others then have nothing to tell of success.
// RFC 3461 5.2.7.3.
func (s *state) expanded() {
	if s.original.Notify&dsn.NotifySuccess == 0 {
		return
	}
	s.rep.Expanded(s.part(), "alias expanded")
	s.original.Notify &^= dsn.NotifySuccess
	if s.original.Notify == 0 {
		s.original.Notify = dsn.NotifyNever
	}
}
