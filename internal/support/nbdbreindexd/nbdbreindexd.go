// Package nbdbreindexd is the service nbdb_reindexd: it builds the table that
// takes the place of one of Berkeley DB when another service finds that it is
// missing (non_bdb_migration_level = enable-reindex).
//
// It runs postmap or postalias as the owner of the Berkeley DB file. Who asks
// may be a service that was taken over, so a request is believed in nothing:
// the files must be there, must belong to that owner or root, must be out of
// reach of others, and must be in a directory that the administrator trusts.
package nbdbreindexd

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"postern/internal/base/sys"
	"postern/internal/config/param"
	"postern/internal/ipc/attr"
	"postern/internal/ipc/reindex"
	"postern/internal/service"
	"postern/internal/table/migration"
)

// timeLimit is how long a command may take.
const timeLimit = 10 * time.Minute

// Config holds the parameters of the service.
type Config struct {
	RootPrefixes string // non_bdb_migration_allow_root_prefixes
	UserPrefixes string // non_bdb_migration_allow_user_prefixes
}

// Params names the main.cf parameters that the service reads.
func (c *Config) Params(s *param.Set) {
	s.Str(&c.RootPrefixes, rootPrefixes, "/etc /usr/local/etc")
	s.Str(&c.UserPrefixes, userPrefixes, "$data_directory /var/lib/mailman /var/lib/mailman3")
}

const (
	rootPrefixes = "non_bdb_migration_allow_root_prefixes"
	userPrefixes = "non_bdb_migration_allow_user_prefixes"
)

// A Server is the service.
type Server struct {
	Config
	env     *service.Env
	mapping *migration.Mapping
	run     func(ctx context.Context, o sys.Owner, argv []string) error

	mu sync.Mutex // one table at a time: who waits finds it built
}

// New returns the service.
func New() service.Service { return &Server{} }

// Open implements service.Service.
func (s *Server) Open(e *service.Env) (err error) {
	s.env = e
	s.run = s.command
	s.mapping, err = migration.New(e.Tables, e.Common)
	return err
}

// Serve answers requests.
func (s *Server) Serve(ctx context.Context, c net.Conn) error {
	return s.env.ServeAttr(ctx, c, reindex.Protocol, func(ctx context.Context, c *attr.Conn) error {
		var r reindex.Request
		if err := c.Recv(&r); err != nil {
			return err
		}
		var reply reindex.Reply
		if err := s.build(ctx, r.Type, r.Path); err != nil {
			s.env.Log.Warningf("request to build a table in the place of %.200s:%.1000s failed: %v", r.Type, r.Path, err)
			reply = reindex.Reply{Status: 1, Why: err.Error()}
		}
		if err := c.Send(&reply); err != nil {
			return err
		}
		return c.Flush()
	})
}

// build sees to it that the table which takes the place of typ:path exists.
func (s *Server) build(ctx context.Context, typ, path string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !migration.Legacy(typ) {
		return fmt.Errorf("type %.100q is not of Berkeley DB", typ)
	}
	if !filepath.IsAbs(path) || filepath.Clean(path) != path || strings.ContainsFunc(path, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return fmt.Errorf("%.200q is not the plain, absolute name of a file", path)
	}
	to, err := s.mapping.Type(typ, path)
	if err != nil {
		return err
	}
	end, err := migration.Suffix(to)
	if err != nil {
		return err
	}
	if exists(path + end) {
		return nil
	}
	owner, err := s.allowed(path)
	if err != nil {
		return fmt.Errorf("%w; then, or else, run by hand: postmap %s:%s (postalias for aliases)", err, to, path)
	}
	command, err := commandFor(owner, path)
	if err != nil {
		return fmt.Errorf("%w; run by hand: postmap %s:%s (postalias for aliases)", err, to, path)
	}
	text := fmt.Sprintf("%s %s:%s", command, to, path)
	argv := []string{filepath.Join(s.env.Common.CommandDirectory, command), "-c", s.env.Common.ConfigDirectory, to + ":" + path}
	if err := s.run(ctx, owner, argv); err != nil {
		return fmt.Errorf("could not execute command '%s' as uid %d: %w", text, owner.UID, err)
	}
	s.env.Log.Infof("successfully executed '%s' as uid %d", text, owner.UID)
	return nil
}

// command runs a program as o. What it says goes into the error.
func (s *Server) command(ctx context.Context, o sys.Owner, argv []string) error {
	c := sys.Command{Argv: argv, Owner: o, Dir: "/", TimeLimit: timeLimit, Env: []string{"PATH=/usr/bin:/bin:/usr/sbin:/sbin"}}
	exit, err := c.Run(ctx)
	switch {
	case err != nil:
		return err
	case exit.TimedOut:
		return fmt.Errorf("it took more than %v", timeLimit)
	case !exit.OK():
		return fmt.Errorf("status %d: %s", exit.Status, strings.ReplaceAll(strings.TrimSpace(exit.Output), "\n", "; "))
	}
	return nil
}
