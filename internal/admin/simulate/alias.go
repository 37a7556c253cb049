package simulate

import (
	"context"
	"slices"
	"strings"

	"postern/internal/config/mastercf"
	"postern/internal/ipc/rewrite"
	"postern/internal/mail/address"
	"postern/internal/table"
)

// maxAliases is how deep aliases may nest. Postfix: 100 levels.
const maxAliases = 100

// An expansion follows the aliases of local(8) for one message. A user's
// .forward is not read: it is the user's.
type expansion struct {
	*house
	ctx     context.Context
	sender  string
	aliases *table.Maps
	seen    map[string]bool
	shown   int
}

// expandAll adds to recipients that local(8) delivers to what alias_maps make
// of them.
func (h *house) expandAll(ctx context.Context, sender string, list []Recipient) {
	if !slices.ContainsFunc(list, h.isLocal) {
		return
	}
	tables := table.NewOpener(h.Tables)
	defer tables.Close()
	tables.DefaultType, tables.UTF8 = h.common.DefaultDatabaseType, h.common.SMTPUTF8Enable
	tables.Setting = h.settings
	e := &expansion{house: h, ctx: ctx, sender: sender, shown: len(list)}
	var err error
	if e.aliases, err = tables.Maps("alias_maps", h.aliasMaps, table.Secure); err != nil {
		h.problems = append(h.problems, err.Error())
		return
	}
	for i := range list {
		e.seen = map[string]bool{}
		e.expand(&list[i], "", 0)
	}
}

// isLocal says whether local(8) delivers to r.
func (h *house) isLocal(r Recipient) bool {
	return r.Problem == "" && slices.ContainsFunc(h.services, func(s mastercf.Service) bool {
		return s.Name == r.Transport && s.Command == "local"
	})
}

// expand looks the recipient up in alias_maps: the whole local part first, then
// without extension. from is the alias that named it.
func (e *expansion) expand(r *Recipient, from string, level int) {
	if !e.isLocal(*r) {
		return
	}
	whole, _ := address.Split(strings.ToLower(r.Address))
	user, ext := address.SplitExt(whole, e.common.RecipientDelimiter)
	names := []string{whole}
	if ext != "" {
		names = append(names, user)
	}
	for _, name := range names {
		if name == from {
			return // an alias that names itself: the user is meant
		}
		value, found, err := e.aliases.Lookup(e.ctx, name)
		switch {
		case err != nil:
			r.Problem = "alias database unavailable: the message would wait"
			return
		case !found:
			continue
		case level >= maxAliases:
			r.Problem = "alias database loop"
			return
		}
		for _, dest := range address.Addresses(value) {
			if e.shown >= maxRecipients {
				return
			}
			e.shown++
			r.Aliases = append(r.Aliases, e.destination(dest, name, level+1))
		}
		return
	}
}

// destination is what an alias names: a file, a command, a file with more
// destinations, or an address.
func (e *expansion) destination(dest, name string, level int) Recipient {
	const include = ":include:"
	switch {
	case strings.HasPrefix(dest, "/"), strings.HasPrefix(dest, "~"):
		return Recipient{Address: dest, Class: "file"}
	case strings.HasPrefix(dest, "|"):
		return Recipient{Address: dest, Class: "command"}
	case len(dest) >= len(include) && strings.EqualFold(dest[:len(include)], include):
		return Recipient{Address: dest, Class: "included list"}
	}
	addr := e.complete(e.ctx, dest)
	r := e.resolve(e.ctx, e.sender, addr, "")
	if key := strings.ToLower(addr); !e.seen[name+" "+key] { // once is enough
		e.seen[name+" "+key] = true
		e.expand(&r, name, level)
	}
	return r
}

// complete makes an address complete, as local(8) has it done.
func (h *house) complete(ctx context.Context, addr string) string {
	if full, err := h.router.Rewrite(ctx, rewrite.Local, addr); err == nil {
		return full
	}
	return addr
}
