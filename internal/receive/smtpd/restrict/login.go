package restrict

import (
	"slices"
	"strings"

	"postern/internal/config/param"
)

func rejectSenderLoginMismatch(v *eval, it *item) Verdict {
	return v.loginMismatch(it, true, true, false)
}

func rejectAuthenticatedLoginMismatch(v *eval, it *item) Verdict {
	return v.loginMismatch(it, true, false, false)
}

func rejectUnauthenticatedLoginMismatch(v *eval, it *item) Verdict {
	return v.loginMismatch(it, false, true, false)
}

func rejectKnownLoginMismatch(v *eval, it *item) Verdict {
	return v.loginMismatch(it, true, true, true)
}

// loginMismatch refuses a sender address that belongs to a login
// (smtpd_sender_login_maps) other than the client's. authed and unauthed say
// of which clients; known, only addresses that belong to somebody.
func (v *eval) loginMismatch(it *item, authed, unauthed, known bool) Verdict {
	if !v.s.SASLEnabled {
		v.env.Log.Warningf("restriction `%s' ignored: no SASL support", it.name)
		return Verdict{}
	}
	if !v.s.HasSender || v.s.Sender == "" {
		return Verdict{}
	}
	r, trouble := v.resolve("", v.s.Sender)
	if trouble.Kind != Dunno {
		return trouble
	}
	owners, _, found, err := v.env.Mapper.Find(v.ctx, v.senderLogins, r.Recipient)
	if err != nil {
		return v.tryAgain(v.s.Sender)
	}
	owned := found && slices.ContainsFunc(param.Split(owners), func(o string) bool { return strings.EqualFold(o, v.s.SASLUsername) })
	text := "<" + v.s.Sender + ">: Sender address rejected: "
	if v.s.SASLUsername != "" {
		if authed && !owned && (found || !known) {
			return reject(553, "5.7.1", text+"not owned by user "+v.s.SASLUsername)
		}
		return Verdict{}
	}
	if unauthed && found {
		return reject(553, "5.7.1", text+"not logged in")
	}
	return Verdict{}
}
