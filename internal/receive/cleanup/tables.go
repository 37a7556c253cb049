package cleanup

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"postern/internal/base/netaddr"
	"postern/internal/config/param"
	"postern/internal/ipc/rewrite"
	"postern/internal/mail/addrclass"
	"postern/internal/mail/address"
	"postern/internal/mail/addrmap"
	"postern/internal/mail/check"
	"postern/internal/mail/message"
	"postern/internal/table"
	"postern/internal/table/matchlist"
)

// A class is where an address stands. Classes are bits.
type class int

const (
	envelopeSender class = 1 << iota
	envelopeRecipient
	headerSender
	headerRecipient
)

var classNames = [...]struct {
	name  string
	class class
}{
	{"envelope_sender", envelopeSender},
	{"envelope_recipient", envelopeRecipient},
	{"header_sender", headerSender},
	{"header_recipient", headerRecipient},
}

const senders, recipients = envelopeSender | headerSender, envelopeRecipient | headerRecipient

func parseClasses(title, list string) (class, error) {
	var c class
next:
	for _, word := range param.Split(list) {
		for _, n := range classNames {
			if strings.EqualFold(n.name, word) {
				c |= n.class
				continue next
			}
		}
		return 0, fmt.Errorf("%s: unknown class %q; the classes are envelope_sender, envelope_recipient, header_sender, header_recipient", title, word)
	}
	return c, nil
}

// A classMap is canonical maps and the addresses that they are for.
type classMap struct {
	maps  *table.Maps
	class class
}

// An extensionUse says which tables pass on an address extension that is not
// in the table.
type extensionUse struct{ canonical, virtual bool }

func (s *Server) openTables(o *table.Opener) error {
	if err := s.openMapper(o); err != nil {
		return err
	}
	if err := s.openCanonical(o); err != nil {
		return err
	}
	if err := s.openMasquerade(o); err != nil {
		return err
	}
	c := &s.config
	for _, m := range []struct {
		to    **table.Maps
		title string
		value string
		flags table.Flags
	}{
		{&s.virtual, "virtual_alias_maps", c.VirtualAliasMaps, table.FoldKey},
		{&s.senderBCC, "sender_bcc_maps", c.SenderBCCMaps, table.FoldKey},
		{&s.rcptBCC, "recipient_bcc_maps", c.RecipientBCCMaps, table.FoldKey},
		{&s.checks.Header, "header_checks", c.HeaderChecks, check.TableFlags},
		{&s.checks.MIME, "mime_header_checks", c.MIMEHeaderChecks, check.TableFlags},
		{&s.checks.Nested, "nested_header_checks", c.NestedHeaderChecks, check.TableFlags},
		{&s.checks.Body, "body_checks", c.BodyChecks, check.TableFlags},
	} {
		maps, err := o.Maps(m.title, m.value, m.flags)
		if err != nil {
			return err
		}
		*m.to = maps
	}
	s.checks.BodyLimit = int64(c.BodyChecksLimit)
	s.checks.Warn = func(err error) { s.log.Warningf("%v", err) }
	return s.parseChoices()
}

// openMapper prepares the mapping of addresses in general.
func (s *Server) openMapper(o *table.Opener) error {
	c := s.common
	families, err := netaddr.ParseFamilies(c.InetProtocols)
	if err != nil {
		return err
	}
	own, err := netaddr.ParseInterfaces(context.Background(), c.InetInterfaces, families, nil)
	if err != nil {
		return err
	}
	var proxies []netip.Addr
	if proxies, err = netaddr.ParseHosts(context.Background(), "proxy_interfaces", c.ProxyInterfaces, families, nil); err != nil {
		return err
	}
	local, err := addrclass.New(addrclass.Config{
		MyDestination:                 c.MyDestination,
		ParentDomainMatchesSubdomains: c.ParentDomainMatchesSubdomains,
		OwnAddresses:                  own.Addrs,
		ProxyAddresses:                proxies,
	}, o)
	if err != nil {
		return err
	}
	s.mapper = addrmap.Mapper{
		Extensions: address.Extensions{
			Delimiters:          c.RecipientDelimiter,
			OwnerRequestSpecial: c.OwnerRequestSpecial,
			DoubleBounceSender:  c.DoubleBounceSender,
		},
		Local: func(ctx context.Context, domain string) (bool, error) {
			if strings.EqualFold(domain, c.MyOrigin) {
				return true, nil
			}
			return local.Local(ctx, domain)
		},
		Rewrite: func(ctx context.Context, addr string) (string, error) {
			return s.rewrite.Rewrite(ctx, rewrite.Local, addr)
		},
	}
	for _, word := range param.Split(s.config.PropagateExtensions) {
		switch strings.ToLower(word) {
		case "canonical":
			s.propagate.canonical = true
		case "virtual":
			s.propagate.virtual = true
		case "alias", "forward", "include", "generic":
		default:
			return fmt.Errorf("propagate_unmatched_extensions: unknown class %q", word)
		}
	}
	return nil
}

func (s *Server) openCanonical(o *table.Opener) error {
	c := &s.config
	for i, m := range [...]struct{ maps, value, classes, list string }{
		{"sender_canonical_maps", c.SenderCanonicalMaps, "sender_canonical_classes", c.SenderCanonicalClasses},
		{"recipient_canonical_maps", c.RecipientCanonicalMaps, "recipient_canonical_classes", c.RecipientCanonicalClasses},
		{"canonical_maps", c.CanonicalMaps, "canonical_classes", c.CanonicalClasses},
	} {
		var err error
		if s.canonical[i].class, err = parseClasses(m.classes, m.list); err != nil {
			return err
		}
		if s.canonical[i].maps, err = o.Maps(m.maps, m.value, table.FoldKey); err != nil {
			return err
		}
	}
	s.canonical[0].class &= senders
	s.canonical[1].class &= recipients
	return nil
}

func (s *Server) openMasquerade(o *table.Opener) (err error) {
	c := &s.config
	if s.masqClass, err = parseClasses("masquerade_classes", c.MasqueradeClasses); err != nil {
		return err
	}
	except, err := matchlist.New("masquerade_exceptions", c.MasqueradeExceptions, o, 0)
	if err != nil {
		return err
	}
	s.masquerade = addrmap.NewMasquerade(param.Split(c.MasqueradeDomains), nil)
	if !except.Empty() {
		s.masquerade = addrmap.NewMasquerade(param.Split(c.MasqueradeDomains), except.MatchString)
	}
	return nil
}

// dropped are the header fields that are taken out.
type dropped struct {
	known uint64   // bits: message.ID
	names []string // fields that Postern does not know, in lower case
}

func (d *dropped) has(name *message.Name, field []byte) bool {
	if name != nil {
		return d.known&(1<<name.ID) != 0
	}
	if len(d.names) == 0 {
		return false
	}
	text := field[:message.NameLength(field)]
	for _, n := range d.names {
		if len(n) == len(text) && strings.EqualFold(n, string(text)) {
			return true
		}
	}
	return false
}

type fromFormat int

const (
	fromStandard fromFormat = iota // From: name <address>
	fromObsolete                   // From: address (name)
)

// headEnd is what happens when the header ends with a line that is not empty.
type headEnd int

const (
	fixQuietly headEnd = iota
	fixAndTell
	refuse
)

// parseChoices reads the parameters whose value is one of a few words.
func (s *Server) parseChoices() error {
	c := &s.config
	for _, word := range param.Split(c.DropHeaders) {
		if name := message.Lookup([]byte(word + ":")); name != nil {
			s.drop.known |= 1 << name.ID
		} else {
			s.drop.names = append(s.drop.names, strings.ToLower(word))
		}
	}
	s.rejected, s.stripped = unescape(c.RejectCharacters), unescape(c.StripCharacters)
	switch strings.ToLower(c.HeaderFromFormat) {
	case "standard":
		s.fromFormat = fromStandard
	case "obsolete":
		s.fromFormat = fromObsolete
	default:
		return fmt.Errorf("header_from_format: invalid setting %q; use standard or obsolete", c.HeaderFromFormat)
	}
	switch strings.ToLower(c.NonEmptyHeaderEnd) {
	case "fix_quietly":
		s.atHeadEnd = fixQuietly
	case "add_header":
		s.atHeadEnd = fixAndTell
	case "reject":
		s.atHeadEnd = refuse
	default:
		return fmt.Errorf("non_empty_end_of_header_action: invalid setting %q; use fix_quietly, add_header or reject", c.NonEmptyHeaderEnd)
	}
	if u := c.UndisclosedRecipients; u != "" && message.NameLength([]byte(u)) == 0 {
		s.log.Warningf("bad undisclosed_recipients_header header text \"%s\" -- need \"headername: headervalue\"", u)
		c.UndisclosedRecipients = ""
	}
	return nil
}

// unescape resolves the escapes of C in a set of octets: \a \b \f \n \r \t \v,
// up to three octal digits, and a backslash before any other octet.
func unescape(text string) []byte {
	var set []byte
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' || i+1 == len(text) {
			set = append(set, text[i])
			continue
		}
		i++
		if at := strings.IndexByte("abfnrtv", text[i]); at >= 0 {
			set = append(set, "\a\b\f\n\r\t\v"[at])
			continue
		}
		n := 0
		for n < 3 && i+n < len(text) && text[i+n] >= '0' && text[i+n] <= '7' {
			n++
		}
		if n == 0 {
			set = append(set, text[i])
			continue
		}
		octet := 0
		for _, c := range text[i : i+n] {
			octet = octet<<3 | int(c-'0')
		}
		set = append(set, byte(octet))
		i += n - 1
	}
	return set
}
