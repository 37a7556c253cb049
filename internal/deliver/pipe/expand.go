package pipe

import (
	"strconv"
	"strings"

	"postern/internal/base/macro"
	"postern/internal/deliver/agent"
	"postern/internal/ipc/delivery"
	"postern/internal/mail/address"
)

// perRecipient says whether arg uses a macro that belongs to one recipient.
func perRecipient(arg string) bool {
	found := false
	macro.Names(arg, func(name string) { found = found || macros[name] })
	return found
}

// expand expands the macros of one argument for one recipient.
func (s *Service) expand(arg string, req *agent.Request, rcpt *delivery.Recipient) (string, error) {
	x := macro.Expander{Lookup: func(name string) (string, bool, error) {
		if macros[name] {
			return s.recipientMacro(name, rcpt), true, nil
		}
		value, ok := s.messageMacro(name, req)
		return value, ok, nil
	}}
	r, err := x.Expand(arg)
	return r.Text, err
}

func (s *Service) messageMacro(name string, req *agent.Request) (string, bool) {
	switch name {
	case "client_address":
		return req.ClientAddr, true
	case "envid": // Postfix: since 3.9
		return req.EnvelopeID, true
	case "client_helo":
		return req.ClientHelo, true
	case "client_hostname":
		return req.ClientName, true
	case "client_port":
		return req.ClientPort, true
	case "client_protocol":
		return req.ClientProto, true
	case "sasl_method":
		return req.SASLMethod, true
	case "sasl_sender":
		return req.SASLSender, true
	case "sasl_username":
		return req.SASLUsername, true
	case "queue_id":
		return string(req.QueueID), true
	case "size":
		return strconv.FormatInt(req.Size, 10), true
	case "nexthop":
		return lowerIf(s.attrs.flags.foldDomain, req.Nexthop), true
	case "sender":
		return s.quoted(s.sender(req)), true
	}
	return "", false
}

func (s *Service) recipientMacro(name string, rcpt *delivery.Recipient) string {
	f := s.attrs.flags
	local, domain := address.Split(rcpt.Address)
	local = lowerIf(f.foldLocal, local)
	user, ext := s.extensions.Split(local)
	switch name {
	case "recipient":
		return s.whole(rcpt.Address)
	case "original_recipient":
		return s.whole(rcpt.OrigAddr)
	case "mailbox":
		return local
	case "user":
		return user
	case "extension":
		return ext
	case "domain":
		return lowerIf(f.foldDomain, domain)
	}
	return ""
}

// whole is a whole address, folded and quoted as the flags say.
func (s *Service) whole(addr string) string {
	f := s.attrs.flags
	local, domain := address.Split(addr)
	return s.quoted(address.Join(lowerIf(f.foldLocal, local), lowerIf(f.foldDomain, domain)))
}

func (s *Service) quoted(addr string) string {
	if s.attrs.flags.quote {
		return address.Quote822(addr)
	}
	return addr
}

func lowerIf(fold bool, s string) string {
	if fold {
		return strings.ToLower(s)
	}
	return s
}
