package param

import (
	"fmt"
	"net"
	"os"
	"strings"
	"time"
)

// What this release says it is.
const (
	MailName    = "Postern"  // mail_name
	MailVersion = "3.11.6"   // mail_version: the Postfix release whose behaviour is followed
	ReleaseDate = "20260809" // mail_release_date
)

// Common holds the parameters that every program knows. Its fields are named
// after the parameters; a program reads those that concern it.
type Common struct {
	// Who and where this system is.
	MyHostname, MyDomain, MyOrigin string
	MyDestination                  string // a list for table/matchlist
	MyNetworks, MyNetworksStyle    string
	InetInterfaces, InetProtocols  string
	ProxyInterfaces                string
	MailName, MailVersion          string
	MailReleaseDate                string
	CompatibilityLevel             string
	MultiInstanceName              string

	// Where its files are and who owns them.
	ConfigDirectory, QueueDirectory, DaemonDirectory string
	CommandDirectory, DataDirectory                  string
	MailOwner, SetgidGroup                           string
	ProcessIDDirectory                               string

	// The running program.
	ProcessName, ServiceName, ProcessID string
	SyslogName, SyslogFacility          string
	MaillogFile, MaillogFilePrefixes    string
	MaillogFilePermissions              string
	MaillogFormat                       string // Postern: text or json
	ImportEnvironment                   string
	ExportEnvironment                   string
	Stress                              string

	// Addresses.
	RecipientDelimiter             string
	RelayDomains                   string
	ParentDomainMatchesSubdomains  string
	DoubleBounceSender             string
	EmptyAddressRecipient          string
	OwnerRequestSpecial            bool
	AppendAtMyOrigin               bool
	SMTPUTF8Enable, StrictSMTPUTF8 bool
	RequireTLSEnable               bool // REQUIRETLS of RFC 8689
	EnableOriginalRecipient        bool
	VerpDelimiterFilter            string
	DefaultVerpDelimiters          string
	InfoLogAddressFormat           string

	// Tables.
	DefaultDatabaseType, DefaultCacheDBType string
	DaemonTableOpenErrorIsFatal             bool
	NonBDBLevel, NonBDBCustomMapping        string // non_bdb_migration_level, non_bdb_custom_mapping
	NonBDBLogRedirect                       bool   // non_bdb_migration_log_redirect
	NonBDBServiceName                       string // non_bdb_migration_service_name
	LMDBMapSize                             int64
	SocketmapMaxReplySize                   int

	// The queue.
	HashQueueNames               string
	HashQueueDepth               int
	EnableLongQueueIDs           bool
	QueueJournal                 bool
	LineLengthLimit              int
	MessageSizeLimit             int64
	SoftBounce                   bool
	DuplicateFilterLimit         int
	QueueFileAttributeCountLimit int
	DelayLoggingResolutionLimit  int

	// Processes and the sockets between them.
	DefaultProcessLimit       int
	MaxIdle                   time.Duration
	IPCTimeout, IPCIdle       time.Duration
	DaemonTimeout             time.Duration
	TriggerTimeout            time.Duration
	ApplicationEventDrainTime time.Duration
	ServiceThrottleTime       time.Duration
	DeliverLockAttempts       int
	DeliverLockDelay          time.Duration
	StaleLockTime             time.Duration

	// Names of services.
	BounceServiceName, DeferServiceName, TraceServiceName   string
	CleanupServiceName, PickupServiceName, QueueServiceName string
	RewriteServiceName, ShowqServiceName, FlushServiceName  string
	VerifyServiceName                                       string
	ProxymapServiceName, ProxywriteServiceName              string
	PostlogServiceName                                      string
}

// Params declares the parameters of every program.
func (c *Common) Params(s *Set) {
	c.identity(s)
	c.files(s)
	c.program(s)
	c.addresses(s)
	c.tables(s)
	c.queue(s)
	c.processes(s)
	c.services(s)
}

func (c *Common) identity(s *Set) {
	s.StrFunc(&c.MyHostname, "myhostname", hostname, MinLen(1))
	s.computed(&c.MyDomain, "mydomain", mydomain, MinLen(1))
	s.Str(&c.CompatibilityLevel, "compatibility_level", "0", MinLen(1))
	s.Str(&c.MyOrigin, "myorigin", "$myhostname", MinLen(1))
	s.Str(&c.MyDestination, "mydestination", "$myhostname, localhost.$mydomain, localhost")
	s.Str(&c.InetProtocols, "inet_protocols", "all", MinLen(1))
	s.Str(&c.InetInterfaces, "inet_interfaces", "all")
	s.Str(&c.ProxyInterfaces, "proxy_interfaces", "")
	s.Str(&c.MyNetworksStyle, "mynetworks_style", "${{$compatibility_level} <level {2} ? {subnet} : {host}}", MinLen(1))
	s.computed(&c.MyNetworks, "mynetworks", mynetworks)
	s.Str(&c.MailName, "mail_name", MailName, MinLen(1))
	s.Str(&c.MailVersion, "mail_version", MailVersion, MinLen(1))
	s.Str(&c.MailReleaseDate, "mail_release_date", ReleaseDate, MinLen(1))
	s.Str(&c.MultiInstanceName, "multi_instance_name", "")
}

func (c *Common) files(s *Set) {
	s.Str(&c.ConfigDirectory, "config_directory", "/etc/postfix", MinLen(1))
	s.Str(&c.QueueDirectory, "queue_directory", "/var/spool/postfix", MinLen(1))
	// Where make install puts the programs, as Debian's package does: a main.cf of
	// Debian does not set it.
	s.Str(&c.DaemonDirectory, "daemon_directory", "/usr/lib/postfix/sbin", MinLen(1))
	s.Str(&c.CommandDirectory, "command_directory", "/usr/sbin", MinLen(1))
	s.Str(&c.DataDirectory, "data_directory", "/var/lib/postfix", MinLen(1))
	s.Str(&c.ProcessIDDirectory, "process_id_directory", "pid", MinLen(1))
	s.Str(&c.MailOwner, "mail_owner", "postfix", MinLen(1))
	s.Str(&c.SetgidGroup, "setgid_group", "postdrop", MinLen(1))
}

func (c *Common) program(s *Set) {
	s.StrFunc(&c.ProcessName, "process_name", processName)
	s.StrFunc(&c.ProcessID, "process_id", func() (string, error) { return fmt.Sprint(os.Getpid()), nil })
	s.Str(&c.ServiceName, "service_name", "amnesiac")
	s.Str(&c.SyslogName, "syslog_name", "${multi_instance_name?{$multi_instance_name}:{postfix}}", MinLen(1))
	s.Str(&c.SyslogFacility, "syslog_facility", "mail", MinLen(1))
	s.Str(&c.MaillogFile, "maillog_file", "")
	s.Str(&c.MaillogFilePrefixes, "maillog_file_prefixes", "/var, /dev/stdout", MinLen(1))
	s.Str(&c.MaillogFilePermissions, "maillog_file_permissions", "0600", MinLen(1))
	s.Str(&c.MaillogFormat, "maillog_format", "text", MinLen(1))
	s.Str(&c.ImportEnvironment, "import_environment", "MAIL_CONFIG MAIL_DEBUG MAIL_LOGTAG TZ XAUTHORITY DISPLAY LANG=C POSTLOG_SERVICE POSTLOG_HOSTNAME XDG_RUNTIME_DIR")
	s.Str(&c.ExportEnvironment, "export_environment", "TZ MAIL_CONFIG LANG")
	s.Str(&c.Stress, "stress", "")
}

func (c *Common) addresses(s *Set) {
	s.Str(&c.RecipientDelimiter, "recipient_delimiter", "")
	s.Str(&c.RelayDomains, "relay_domains", "${{$compatibility_level} <level {2} ? {$mydestination} : {}}")
	s.Str(&c.ParentDomainMatchesSubdomains, "parent_domain_matches_subdomains",
		"debug_peer_list,fast_flush_domains,mynetworks,permit_mx_backup_networks,qmqpd_authorized_clients,relay_domains,smtpd_access_maps")
	s.Str(&c.DoubleBounceSender, "double_bounce_sender", "double-bounce", MinLen(1))
	s.Str(&c.EmptyAddressRecipient, "empty_address_recipient", "MAILER-DAEMON", MinLen(1))
	s.Bool(&c.OwnerRequestSpecial, "owner_request_special", true)
	s.Bool(&c.AppendAtMyOrigin, "append_at_myorigin", true)
	s.NBool(&c.SMTPUTF8Enable, "smtputf8_enable", "${{$compatibility_level} <level {1} ? {no} : {yes}}")
	s.Bool(&c.StrictSMTPUTF8, "strict_smtputf8", false)
	s.Bool(&c.RequireTLSEnable, "requiretls_enable", true)
	s.Bool(&c.EnableOriginalRecipient, "enable_original_recipient", true)
	s.Str(&c.VerpDelimiterFilter, "verp_delimiter_filter", "-=+", MinLen(1))
	s.Str(&c.DefaultVerpDelimiters, "default_verp_delimiters", "+=", MinLen(2), MaxLen(2))
	s.Str(&c.InfoLogAddressFormat, "info_log_address_format", "external", MinLen(1))
}

func (c *Common) tables(s *Set) {
	// Postfix: hash where Berkeley DB is built in, as in Debian's package.
	s.Str(&c.DefaultDatabaseType, "default_database_type", "hash", MinLen(1))
	s.Str(&c.DefaultCacheDBType, "default_cache_db_type", "lmdb", MinLen(1))
	s.Str(&c.NonBDBLevel, "non_bdb_migration_level", "disable", MinLen(1))
	s.Str(&c.NonBDBCustomMapping, "non_bdb_custom_mapping", "")
	s.Bool(&c.NonBDBLogRedirect, "non_bdb_migration_log_redirect", true)
	s.Str(&c.NonBDBServiceName, "non_bdb_migration_service_name", "nbdb_reindex", MinLen(1))
	s.Bool(&c.DaemonTableOpenErrorIsFatal, "daemon_table_open_error_is_fatal", false)
	s.Long(&c.LMDBMapSize, "lmdb_map_size", 16777216, Min(8192))
	s.Int(&c.SocketmapMaxReplySize, "socketmap_max_reply_size", 100000, Min(1))
}

func (c *Common) queue(s *Set) {
	s.Str(&c.HashQueueNames, "hash_queue_names", "deferred, defer")
	s.Int(&c.HashQueueDepth, "hash_queue_depth", 1, Min(1))
	s.Bool(&c.EnableLongQueueIDs, "enable_long_queue_ids", false)
	s.Bool(&c.QueueJournal, "queue_journal", true) // ours
	s.Int(&c.LineLengthLimit, "line_length_limit", 2048, Min(512))
	s.Long(&c.MessageSizeLimit, "message_size_limit", 10240000, Min(0))
	s.Bool(&c.SoftBounce, "soft_bounce", false)
	s.Int(&c.DuplicateFilterLimit, "duplicate_filter_limit", 1000)
	s.Int(&c.QueueFileAttributeCountLimit, "queue_file_attribute_count_limit", 100, Min(0))
	s.Int(&c.DelayLoggingResolutionLimit, "delay_logging_resolution_limit", 2, Min(0), Max(6))
}

func (c *Common) processes(s *Set) {
	s.Int(&c.DefaultProcessLimit, "default_process_limit", 100, Min(1))
	s.Time(&c.MaxIdle, "max_idle", "100s", Min(1))
	s.Time(&c.DaemonTimeout, "daemon_timeout", "18000s", Min(1))
	s.Time(&c.IPCTimeout, "ipc_timeout", "3600s", Min(1))
	s.Time(&c.IPCIdle, "ipc_idle", "5s", Min(1))
	s.Time(&c.TriggerTimeout, "trigger_timeout", "10s", Min(1))
	s.Time(&c.ApplicationEventDrainTime, "application_event_drain_time", "100s", Min(1))
	s.Time(&c.ServiceThrottleTime, "service_throttle_time", "60s", Min(1))
	s.Int(&c.DeliverLockAttempts, "deliver_lock_attempts", 20, Min(1))
	s.Time(&c.DeliverLockDelay, "deliver_lock_delay", "1s", Min(1))
	s.Time(&c.StaleLockTime, "stale_lock_time", "500s", Min(1))
}

func (c *Common) services(s *Set) {
	s.Str(&c.BounceServiceName, "bounce_service_name", "bounce", MinLen(1))
	s.Str(&c.DeferServiceName, "defer_service_name", "defer", MinLen(1))
	s.Str(&c.TraceServiceName, "trace_service_name", "trace", MinLen(1))
	s.Str(&c.CleanupServiceName, "cleanup_service_name", "cleanup", MinLen(1))
	s.Str(&c.PickupServiceName, "pickup_service_name", "pickup", MinLen(1))
	s.Str(&c.QueueServiceName, "queue_service_name", "qmgr", MinLen(1))
	s.Str(&c.RewriteServiceName, "rewrite_service_name", "rewrite", MinLen(1))
	s.Str(&c.ShowqServiceName, "showq_service_name", "showq", MinLen(1))
	s.Str(&c.FlushServiceName, "flush_service_name", "flush", MinLen(1))
	s.Str(&c.VerifyServiceName, "address_verify_service_name", "verify", MinLen(1))
	s.Str(&c.ProxymapServiceName, "proxymap_service_name", "proxymap", MinLen(1))
	s.Str(&c.ProxywriteServiceName, "proxywrite_service_name", "proxywrite", MinLen(1))
	s.Str(&c.PostlogServiceName, "postlog_service_name", "postlog", MinLen(1))
}

func processName() (string, error) {
	name := os.Args[0]
	return name[strings.LastIndexByte(name, '/')+1:], nil
}

// hostname is the name of this machine; one without a dot is completed with
// $mydomain.
func hostname() (string, error) {
	name, err := os.Hostname()
	if err != nil {
		return "", err
	}
	name = strings.TrimSuffix(strings.TrimSpace(name), ".")
	if name == "" || net.ParseIP(name) != nil {
		return "", fmt.Errorf("bad host name: %.100q; set the parameter myhostname in main.cf", name)
	}
	if !strings.Contains(name, ".") {
		name += ".$mydomain"
	}
	return name, nil
}

// defaultDomain is mydomain where the host's name tells none.
const defaultDomain = "localdomain"

// mydomain is the host name without its first label.
func mydomain(value Value) (string, error) {
	host, err := value("myhostname")
	if err != nil {
		return "", err
	}
	_, domain, _ := strings.Cut(host, ".")
	if domain == "" {
		return defaultDomain, nil
	}
	return domain, nil
}
