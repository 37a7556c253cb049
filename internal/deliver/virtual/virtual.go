// Package virtual is the delivery agent for mailboxes that belong to no user of
// the system: virtual(8). Tables say where each recipient's mailbox is, and
// whose user and group number writes it.
package virtual

import (
	"context"
	"net"
	"os"

	"postern/internal/config/param"
	"postern/internal/deliver/agent"
	"postern/internal/mail/address"
	"postern/internal/mail/mailbox"
	"postern/internal/service"
	"postern/internal/table"
)

// Config holds the parameters of virtual.
type Config struct {
	MailboxBase            string // virtual_mailbox_base: before every path
	MailboxMaps            string // virtual_mailbox_maps: recipient → path; a "/" at its end means Maildir
	UIDMaps, GIDMaps       string // virtual_uid_maps, virtual_gid_maps: recipient → number
	MinimumUID             int    // virtual_minimum_uid
	MailboxLimit           int64  // virtual_mailbox_limit: size of an mbox, or of a file in a Maildir; 0: none
	MailboxLock            string // virtual_mailbox_lock
	StrictMailboxOwnership bool   // strict_mailbox_ownership
}

// Params names the main.cf parameters that virtual reads.
func (c *Config) Params(s *param.Set) {
	s.Str(&c.MailboxBase, "virtual_mailbox_base", "")
	s.Str(&c.MailboxMaps, "virtual_mailbox_maps", "")
	s.Str(&c.UIDMaps, "virtual_uid_maps", "")
	s.Str(&c.GIDMaps, "virtual_gid_maps", "")
	s.Int(&c.MinimumUID, "virtual_minimum_uid", 100, param.Min(1))
	s.Long(&c.MailboxLimit, "virtual_mailbox_limit", 51200000, param.Min(0))
	s.Str(&c.MailboxLock, "virtual_mailbox_lock", "fcntl, dotlock", param.MinLen(1))
	s.Bool(&c.StrictMailboxOwnership, "strict_mailbox_ownership", true)
}

// A Service is the program.
type Service struct {
	agent.Kit
	Config
	paths, uids, gids *table.Maps
	namer             *mailbox.Namer
	locker            *mailbox.Locker
	extensions        address.Extensions
}

// New returns the service.
func New() service.Service {
	return &Service{Kit: agent.Kit{StatusFilter: "virtual_delivery_status_filter"}}
}

// Params names the parameters of the agent and of all agents.
func (s *Service) Params(set *param.Set) {
	s.Kit.Params(set)
	s.Config.Params(set)
}

// Open opens the tables.
func (s *Service) Open(env *service.Env) error {
	if err := s.Kit.Open(env); err != nil {
		return err
	}
	for _, m := range []struct {
		maps         **table.Maps
		title, value string
	}{
		{&s.paths, "virtual_mailbox_maps", s.MailboxMaps},
		{&s.uids, "virtual_uid_maps", s.UIDMaps},
		{&s.gids, "virtual_gid_maps", s.GIDMaps},
	} {
		var err error
		// What decides who writes where must not come from the sender's text.
		if *m.maps, err = env.Tables.Maps(m.title, m.value, table.Secure); err != nil {
			return err
		}
	}
	methods, err := mailbox.ParseMethods("virtual_mailbox_lock", s.MailboxLock)
	if err != nil {
		return err
	}
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	c := env.Common
	s.namer = mailbox.NewNamer(host)
	s.locker = &mailbox.Locker{
		Methods: methods, Attempts: c.DeliverLockAttempts, Delay: c.DeliverLockDelay, Stale: c.StaleLockTime,
	}
	s.extensions = address.Extensions{
		Delimiters: c.RecipientDelimiter, OwnerRequestSpecial: c.OwnerRequestSpecial, DoubleBounceSender: c.DoubleBounceSender,
	}
	if s.MailboxLimit > 0 && (c.MessageSizeLimit == 0 || s.MailboxLimit < c.MessageSizeLimit) {
		env.Log.Warningf("virtual_mailbox_limit is smaller than message_size_limit: large messages will be returned")
	}
	return nil
}

// Serve delivers what the queue manager asks for.
func (s *Service) Serve(ctx context.Context, c net.Conn) error {
	return s.Kit.Serve(ctx, c, s.deliver)
}
