package main

import (
	"context"
	"fmt"
	"strings"

	"postern/internal/admin/command"
	"postern/internal/config/param"
	"postern/internal/ipc/postdrop"
	"postern/internal/mail/address"
	"postern/internal/table"
)

// checkSender looks whether the user may use this sender address
// (local_login_sender_maps).
func (d *drop) checkSender(sender string) postdrop.Result {
	if d.config.LoginSenderMaps == "static:*" {
		return postdrop.Result{}
	}
	ok, err := d.mayUse(sender)
	if err != nil {
		d.Log.Warningf("uid=%d: %v", d.uid, err)
		return postdrop.Result{Status: postdrop.StatusWrite, Reason: "local_login_sender_maps: table lookup error"}
	}
	if !ok {
		d.Log.Warningf("uid=%d: not authorized to use sender='%s'", d.uid, sender)
		return postdrop.Result{Status: postdrop.StatusNoPerm, Reason: "not authorized to use sender='" + sender + "'"}
	}
	return postdrop.Result{}
}

func (d *drop) mayUse(sender string) (bool, error) {
	o := table.NewOpener(command.AccessTables())
	o.Log = d.Log
	defer o.Close()
	maps, err := o.Maps("local_login_sender_maps", d.config.LoginSenderMaps, table.FoldKey)
	if err != nil {
		return false, err
	}
	login, ok := command.LoginName(d.uid)
	if !ok {
		login = fmt.Sprintf("uid:%d", d.uid)
	}
	patterns, _, err := maps.Lookup(context.Background(), login)
	if err != nil {
		return false, err
	}
	for _, p := range param.Split(patterns) {
		if d.matches(p, sender) {
			return true, nil
		}
	}
	return false, nil
}

// matches compares a sender with one pattern: "*", the key for the null
// sender, "@domain", or an address, of which an extension does not count.
func (d *drop) matches(pattern, sender string) bool {
	switch {
	case pattern == "*":
		return true
	case sender == "":
		return strings.EqualFold(pattern, d.config.EmptyAddressKey)
	case pattern[0] == '@':
		_, domain := address.Split(sender)
		return strings.EqualFold(pattern[1:], domain)
	}
	local, domain := address.Split(sender)
	base, _ := address.SplitExt(local, d.Common.RecipientDelimiter)
	return strings.EqualFold(pattern, sender) || strings.EqualFold(pattern, address.Join(base, domain))
}
