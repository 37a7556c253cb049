// Package local is the delivery agent for users of the system: local(8).
//
// A recipient goes through aliases, the user's .forward files, and then to a
// mailbox, a command, or another transport. What it expands to is expanded in
// its turn, with the rights of whoever owns the text that named it: a command
// in a user's .forward runs as that user, one in the administrator's aliases
// with default_privs. Addresses that are to be delivered elsewhere leave as a
// new message. The recipient is done when all that it expanded to is; else all
// of it is tried again.
package local

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"postern/internal/base/sys"
	"postern/internal/config/param"
	"postern/internal/deliver/agent"
	"postern/internal/ipc/cleanup"
	"postern/internal/ipc/rewrite"
	"postern/internal/mail/address"
	"postern/internal/mail/mailbox"
	"postern/internal/service"
	"postern/internal/table"
)

// Config holds the parameters of local.
type Config struct {
	AliasMaps             string // alias_maps
	ExpandOwnerAlias      bool   // expand_owner_alias: the sender becomes what owner-x expands to
	ResetOwnerAlias       bool   // reset_owner_alias
	FrozenDeliveredTo     bool   // frozen_delivered_to
	PropagateExtensions   string // propagate_unmatched_extensions
	PrependDelivered      string // prepend_delivered_header
	RequireHomeDirectory  bool   // require_home_directory
	ForwardPath           string // forward_path, with macros
	ForwardFilter         string // forward_expansion_filter
	AllowCommands         string // allow_mail_to_commands
	AllowFiles            string // allow_mail_to_files
	MailboxTransport      string // mailbox_transport
	MailboxTransportMaps  string // mailbox_transport_maps
	MailboxCommand        string // mailbox_command, with variables of the shell
	MailboxCommandMaps    string // mailbox_command_maps
	HomeMailbox           string // home_mailbox
	MailSpoolDirectory    string // mail_spool_directory
	MailboxSizeLimit      int64  // mailbox_size_limit
	MailboxLock           string // mailbox_delivery_lock
	StrictOwnership       bool   // strict_mailbox_ownership
	FallbackTransport     string // fallback_transport
	FallbackTransportMaps string // fallback_transport_maps
	LuserRelay            string // luser_relay, with macros
	DefaultPrivs          string // default_privs
	CommandTimeLimit      time.Duration
	CommandFilter         string // command_expansion_filter
	CommandShell          string // local_command_shell
	ExecDirectory         string // command_execution_directory, with macros
	ExecDirectoryFilter   string // execution_directory_expansion_filter
}

// DefaultFilter is the octets that text from outside may have in the places
// where a shell or a file system sees it.
const DefaultFilter = "1234567890!@%-_=+:,./abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

// Params names the main.cf parameters that local reads.
func (c *Config) Params(s *param.Set) {
	s.Str(&c.AliasMaps, "alias_maps", "$default_database_type:/etc/aliases")
	s.Bool(&c.ExpandOwnerAlias, "expand_owner_alias", false)
	s.Bool(&c.ResetOwnerAlias, "reset_owner_alias", false)
	s.Bool(&c.FrozenDeliveredTo, "frozen_delivered_to", true)
	s.Str(&c.PropagateExtensions, "propagate_unmatched_extensions", "canonical, virtual")
	s.Str(&c.PrependDelivered, "prepend_delivered_header", "command, file, forward")
	s.Bool(&c.RequireHomeDirectory, "require_home_directory", false)
	s.Raw(&c.ForwardPath, "forward_path", "$home/.forward${recipient_delimiter}${extension}, $home/.forward")
	s.Str(&c.ForwardFilter, "forward_expansion_filter", DefaultFilter)
	s.Str(&c.AllowCommands, "allow_mail_to_commands", "alias, forward")
	s.Str(&c.AllowFiles, "allow_mail_to_files", "alias, forward")
	s.Str(&c.MailboxTransport, "mailbox_transport", "")
	s.Str(&c.MailboxTransportMaps, "mailbox_transport_maps", "")
	s.Raw(&c.MailboxCommand, "mailbox_command", "")
	s.Str(&c.MailboxCommandMaps, "mailbox_command_maps", "")
	s.Str(&c.HomeMailbox, "home_mailbox", "")
	s.Str(&c.MailSpoolDirectory, "mail_spool_directory", "/var/mail")
	s.Long(&c.MailboxSizeLimit, "mailbox_size_limit", 51200000, param.Min(0))
	s.Str(&c.MailboxLock, "mailbox_delivery_lock", "fcntl, dotlock", param.MinLen(1))
	s.Bool(&c.StrictOwnership, "strict_mailbox_ownership", true)
	s.Str(&c.FallbackTransport, "fallback_transport", "")
	s.Str(&c.FallbackTransportMaps, "fallback_transport_maps", "")
	s.Raw(&c.LuserRelay, "luser_relay", "")
	s.Str(&c.DefaultPrivs, "default_privs", "nobody", param.MinLen(1))
	s.Time(&c.CommandTimeLimit, "command_time_limit", "1000s", param.Min(1))
	s.Str(&c.CommandFilter, "command_expansion_filter", DefaultFilter)
	s.Str(&c.CommandShell, "local_command_shell", "")
	s.Raw(&c.ExecDirectory, "command_execution_directory", "")
	s.Str(&c.ExecDirectoryFilter, "execution_directory_expansion_filter", DefaultFilter)
}

// origins are the kinds of text that a destination can be named in.
type origins struct{ alias, forward, include bool }

// A Service is the program.
type Service struct {
	agent.Kit
	Config
	aliases            *table.Maps
	mailboxTransports  *table.Maps
	mailboxCommands    *table.Maps
	fallbackTransports *table.Maps

	commands, files origins         // from where they are allowed
	propagate       map[string]bool // alias, forward, include: the extension goes on
	deliveredTo     map[string]bool // command, file, forward: get the header
	nobody          sys.User        // default_privs
	users           *sys.Users
	namer           *mailbox.Namer
	locker          *mailbox.Locker
	extensions      address.Extensions
	rewriter        *rewrite.Client
	cleanup         *cleanup.Client
}

// New returns the service.
func New() service.Service {
	return &Service{Kit: agent.Kit{StatusFilter: "local_delivery_status_filter"}, users: sys.SystemUsers()}
}

// Params names the parameters of the agent and of all agents.
func (s *Service) Params(set *param.Set) {
	s.Kit.Params(set)
	s.Config.Params(set)
}

// Open opens the tables and reads the lists.
func (s *Service) Open(env *service.Env) error {
	if err := s.Kit.Open(env); err != nil {
		return err
	}
	for _, step := range []func(*service.Env) error{s.openTables, s.readLists, s.findNobody, s.openMailboxes} {
		if err := step(env); err != nil {
			return err
		}
	}
	c := env.Common
	s.extensions = address.Extensions{
		Delimiters: c.RecipientDelimiter, OwnerRequestSpecial: c.OwnerRequestSpecial, DoubleBounceSender: c.DoubleBounceSender,
	}
	s.rewriter = rewrite.New(env.Endpoint("private", c.RewriteServiceName, rewrite.Protocol))
	s.cleanup = cleanup.NewClient(env.Endpoint("public", c.CleanupServiceName, cleanup.Protocol), c.IPCIdle)
	return nil
}

func (s *Service) openTables(env *service.Env) error {
	for _, m := range []struct {
		maps         **table.Maps
		title, value string
		flags        table.Flags
	}{
		{&s.aliases, "alias_maps", s.AliasMaps, table.Secure},
		{&s.mailboxTransports, "mailbox_transport_maps", s.MailboxTransportMaps, table.NoRegexpSubst},
		{&s.mailboxCommands, "mailbox_command_maps", s.MailboxCommandMaps, table.Secure},
		{&s.fallbackTransports, "fallback_transport_maps", s.FallbackTransportMaps, table.NoRegexpSubst},
	} {
		var err error
		if *m.maps, err = env.Tables.Maps(m.title, m.value, m.flags); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) readLists(*service.Env) (err error) {
	if s.commands, err = readOrigins("allow_mail_to_commands", s.AllowCommands); err != nil {
		return err
	}
	if s.files, err = readOrigins("allow_mail_to_files", s.AllowFiles); err != nil {
		return err
	}
	s.deliveredTo, err = readSet("prepend_delivered_header", s.PrependDelivered, "command", "file", "forward")
	if err != nil {
		return err
	}
	s.propagate, err = readSet("propagate_unmatched_extensions", s.PropagateExtensions,
		"canonical", "virtual", "alias", "forward", "include", "generic")
	return err
}

func readOrigins(title, list string) (origins, error) {
	set, err := readSet(title, list, "alias", "forward", "include")
	return origins{set["alias"], set["forward"], set["include"]}, err
}

// readSet reads a list of words.
func readSet(title, list string, words ...string) (map[string]bool, error) {
	known := make(map[string]bool)
	for _, w := range words {
		known[w] = true
	}
	set := make(map[string]bool)
	for _, item := range param.Split(list) {
		w := strings.ToLower(item)
		if !known[w] {
			return nil, fmt.Errorf("parameter %s: unknown value %.100q; need %s", title, item, strings.Join(words, ", "))
		}
		set[w] = true
	}
	return set, nil
}

// findNobody looks up default_privs, which must have no privileges.
func (s *Service) findNobody(*service.Env) error {
	u, found, err := s.users.ByName(s.DefaultPrivs)
	if err != nil {
		return fmt.Errorf("parameter default_privs: %w", err)
	}
	if !found {
		return fmt.Errorf("parameter default_privs: unknown user name value: %s", s.DefaultPrivs)
	}
	if u.UID == 0 {
		return fmt.Errorf("parameter default_privs: user %s has privileged user ID", s.DefaultPrivs)
	}
	if u.GID == 0 {
		return fmt.Errorf("parameter default_privs: user %s has privileged group ID", s.DefaultPrivs)
	}
	s.nobody = u
	return nil
}

func (s *Service) openMailboxes(env *service.Env) error {
	methods, err := mailbox.ParseMethods("mailbox_delivery_lock", s.MailboxLock)
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
	if s.MailboxSizeLimit > 0 && (c.MessageSizeLimit == 0 || s.MailboxSizeLimit < c.MessageSizeLimit) {
		env.Log.Warningf("mailbox_size_limit is smaller than message_size_limit: large messages will be returned")
	}
	return nil
}

// Serve delivers what the queue manager asks for.
func (s *Service) Serve(ctx context.Context, c net.Conn) error {
	return s.Kit.Serve(ctx, c, s.deliver)
}
