package restrict

import (
	"strings"

	"golang.org/x/net/idna"

	"postern/internal/ipc/rewrite"
	"postern/internal/mail/address"
	"postern/internal/mail/dsn"
	"postern/internal/table"
)

func toASCII(domain string) (string, error) { return idna.Lookup.ToASCII(domain) }

func rejectUnlistedRecipient(v *eval, _ *item) Verdict {
	if !v.s.HasRecipient {
		return Verdict{}
	}
	return v.unlistedRecipient()
}

func rejectUnlistedSender(v *eval, _ *item) Verdict {
	if !v.s.HasSender || v.s.Sender == "" {
		return Verdict{}
	}
	return v.unlistedSender()
}

func (v *eval) unlistedRecipient() Verdict {
	if v.s.recipientChecked {
		return Verdict{}
	}
	v.s.recipientChecked = v.warn == 0
	return v.unlisted(v.s.Recipient, aboutRecipient, v.rcptCanon)
}

func (v *eval) unlistedSender() Verdict {
	if v.s.senderChecked {
		return Verdict{}
	}
	v.s.senderChecked = v.warn == 0
	return v.unlisted(v.s.Sender, aboutSender, v.senderCanon)
}

// unlisted refuses an address that is not in the tables of its address class.
// An address that is rewritten, or is a virtual alias, is known.
func (v *eval) unlisted(addr, about string, canonical *table.Maps) Verdict {
	r, trouble := v.resolve(v.s.Sender, addr)
	if trouble.Kind != Dunno {
		return trouble
	}
	if !strings.Contains(r.Recipient, "@") {
		return Verdict{}
	}
	if r.Flags&rewrite.Error == 0 {
		for _, maps := range [...]*table.Maps{canonical, v.canonical, v.virtualAlias} {
			if ok, trouble := v.listed(maps, r.Recipient, addr); ok || trouble.Kind != Dunno {
				return trouble
			}
		}
	}
	if r.Transport == "retry" && r.Flags&rewrite.ClassAlias == 0 {
		d := dsn.Split(statusOf(about).WithClass('4'), r.Nexthop)
		return reject(450, d.Status.WithClass('4'), rejected(addr, about, d.Reason))
	}
	if r.Transport == "error" && r.Flags&rewrite.ClassAlias == 0 {
		d := dsn.Split(statusOf(about), r.Nexthop)
		return reject(550, d.Status.WithClass('5'), rejected(addr, about, d.Reason))
	}
	for _, c := range v.classTables() {
		if r.Flags&c.flag == 0 {
			continue
		}
		if c.maps != nil && c.maps.Empty() && c.flag != rewrite.ClassAlias {
			return Verdict{} // the class does not say whom it knows
		}
		if c.flag == rewrite.ClassLocal && v.indispensable(r.Recipient) {
			return Verdict{}
		}
		if c.maps != nil {
			if ok, trouble := v.listed(c.maps, r.Recipient, addr); ok || trouble.Kind != Dunno {
				return trouble
			}
		}
		if c.flag == rewrite.ClassAlias && r.Transport == "error" {
			d := dsn.Split(statusOf(about), r.Nexthop)
			return reject(c.code, v.fitStatus(d.Status, about), rejected(addr, about, d.Reason))
		}
		why := "User unknown"
		if v.ShowUserUnknownTable {
			why += " in " + c.table + " table"
		}
		return reject(c.code, statusOf(about), rejected(addr, about, why))
	}
	return Verdict{}
}

// indispensable says that a local address exists whatever the tables say: those
// that RFC 5321 asks for, and the one from which probes come.
func (v *eval) indispensable(addr string) bool {
	local, _ := address.Split(addr)
	return local == "" || strings.EqualFold(local, "postmaster") || strings.EqualFold(local, "mailer-daemon") ||
		strings.EqualFold(local, v.env.Common.DoubleBounceSender)
}

type classTable struct {
	flag  rewrite.Flags
	maps  *table.Maps // nil: an address that got here is unknown
	code  int
	table string
}

func (v *eval) classTables() [4]classTable {
	return [4]classTable{
		{rewrite.ClassAlias, nil, v.UnknownAlias, "virtual alias"},
		{rewrite.ClassLocal, v.localRcpt, v.UnknownLocal, "local recipient"},
		{rewrite.ClassVirtual, v.virtualMbox, v.UnknownMailbox, "virtual mailbox"},
		{rewrite.ClassRelay, v.relayRcpt, v.UnknownRelay, "relay recipient"},
	}
}

func statusOf(about string) dsn.Status {
	if about == aboutSender {
		return "5.1.0"
	}
	return "5.1.1"
}

// listed says whether an address is in the tables.
func (v *eval) listed(maps *table.Maps, addr, shown string) (bool, Verdict) {
	if maps.Empty() {
		return false, Verdict{}
	}
	_, _, found, err := v.env.Mapper.Find(v.ctx, maps, addr)
	if err != nil {
		v.env.Log.Warningf("%s: %v", maps.Title(), err)
		return false, v.tryAgain(shown)
	}
	if found {
		v.foundIn, v.foundKey = maps.Title(), addr
	}
	return found, Verdict{}
}
