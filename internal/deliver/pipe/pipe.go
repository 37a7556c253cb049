// Package pipe is the delivery agent that gives mail to external commands:
// pipe(8). The arguments of its master.cf entry say which command, who runs it,
// and in what form it gets the message.
package pipe

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"postern/internal/base/sys"
	"postern/internal/config/param"
	"postern/internal/deliver/agent"
	"postern/internal/mail/address"
	"postern/internal/service"
)

// A Service is the program.
type Service struct {
	agent.Kit
	limit      time.Duration // command_time_limit, or <service>_time_limit
	attrs      *attributes
	users      *sys.Users
	extensions address.Extensions
}

// New returns the service.
func New() service.Service {
	return &Service{Kit: agent.Kit{StatusFilter: "pipe_delivery_status_filter"}, users: sys.SystemUsers()}
}

// Params names the parameters of the agent and of all agents.
func (s *Service) Params(set *param.Set) {
	s.Kit.Params(set)
	set.Time(&s.limit, "command_time_limit", "1000s", param.Min(1))
}

// Open reads the arguments of the master.cf entry.
func (s *Service) Open(env *service.Env) (err error) {
	if err := s.Kit.Open(env); err != nil {
		return err
	}
	if s.attrs, err = parseAttributes(env.Args); err != nil {
		return err
	}
	if err := s.findUser(env); err != nil {
		return err
	}
	if err := s.attrs.checkMacros(); err != nil {
		return fmt.Errorf("service %s: %w", env.Name, err)
	}
	c := env.Common
	s.extensions = address.Extensions{
		Delimiters: c.RecipientDelimiter, OwnerRequestSpecial: c.OwnerRequestSpecial, DoubleBounceSender: c.DoubleBounceSender,
	}
	return s.readLimit(env)
}

// readLimit reads the time limit of this service, <service>_time_limit, whose
// default is command_time_limit.
func (s *Service) readLimit(env *service.Env) error {
	name := env.Name + "_time_limit"
	text, where, ok := env.Config.Lookup(name)
	if !ok {
		return nil
	}
	text, err := env.Config.Expand(text, func(name string) (string, bool) {
		return fmt.Sprintf("%ds", s.limit/time.Second), name == "command_time_limit"
	})
	if err == nil {
		s.limit, err = param.ParseTime(text, 's')
	}
	if err != nil {
		return fmt.Errorf("%s: parameter %s: %w", where, name, err)
	}
	if s.limit < time.Second {
		return fmt.Errorf("%s: invalid %s: %d (min 1)", where, name, s.limit/time.Second)
	}
	return nil
}

// findUser finds out who runs the command: nobody with the power of root or of
// the mail system, which would make a broken command a way to both.
func (s *Service) findUser(env *service.Env) error {
	a := s.attrs
	if a.user == "" {
		return fmt.Errorf("missing user= command-line attribute")
	}
	name, group, grouped := strings.Cut(a.user, ":")
	u, found, err := s.users.ByName(name)
	if err != nil {
		return err
	}
	if !found {
		return fmt.Errorf("unknown username: %s", name)
	}
	a.owner = u.Owner
	if grouped {
		if a.owner.GID, err = sys.LookupGroup(group); err != nil {
			return err
		}
	}
	return s.checkUser(env, a.owner)
}

func (s *Service) checkUser(env *service.Env, o sys.Owner) error {
	if !env.Privileged {
		return nil // the command runs as whoever runs this process
	}
	c := env.Common
	switch {
	case o.UID == 0:
		return fmt.Errorf("user= command-line attribute specifies root privileges")
	case o.GID == 0:
		return fmt.Errorf("user= command-line attribute specifies privileged group id 0")
	}
	if mail, found, err := s.users.ByName(c.MailOwner); err == nil && found {
		if o.UID == mail.UID {
			return fmt.Errorf("user= command-line attribute specifies mail system owner %s", c.MailOwner)
		}
		if o.GID == mail.GID {
			return fmt.Errorf("user= command-line attribute specifies mail system owner %s group id %d", c.MailOwner, o.GID)
		}
	}
	if gid, err := sys.LookupGroup(c.SetgidGroup); err == nil && o.GID == gid {
		return fmt.Errorf("user= command-line attribute specifies mail system %s group id %d", c.SetgidGroup, o.GID)
	}
	return nil
}

// Serve delivers what the queue manager asks for.
func (s *Service) Serve(ctx context.Context, c net.Conn) error {
	return s.Kit.Serve(ctx, c, s.deliver)
}
