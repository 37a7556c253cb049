package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"postern/internal/ipc/endpoint"
	"postern/internal/ipc/flush"
	"postern/internal/ipc/trigger"
	"postern/internal/mail/queue"
)

var errDown = errors.New("Cannot flush mail queue - mail system is down")

// flushAll has all deferred mail tried now, whatever its time and however dead
// its destinations seem, and maildrop looked through.
func (p *postqueue) flushAll() error {
	for _, t := range [...]struct{ service, request string }{
		{p.Common.QueueServiceName, trigger.FlushDead + trigger.ScanAll + trigger.ScanDeferred},
		{p.Common.PickupServiceName, trigger.Wakeup},
	} {
		if err := trigger.Send(".", "public", t.service, t.request, p.Common.TriggerTimeout); err != nil {
			p.Log.Debugf("%v", err)
			return errDown
		}
	}
	return nil
}

func (p *postqueue) flushMessage(arg string) error {
	id, err := queue.ParseID(arg)
	if err != nil {
		return fmt.Errorf("Cannot flush queue ID - invalid name: %s", quoted(arg))
	}
	return p.ask(flush.Request{Kind: flush.SendFile, QueueID: string(id)}, arg)
}

func (p *postqueue) flushSite(site string) error {
	if !validSite(site) {
		return fmt.Errorf("Cannot flush mail queue - invalid destination: %s", quoted(site))
	}
	return p.ask(flush.Request{Kind: flush.SendSite, Site: site}, site)
}

func (p *postqueue) ask(r flush.Request, arg string) error {
	ctx, cancel := context.WithTimeout(context.Background(), p.Common.IPCTimeout)
	defer cancel()
	ep := endpoint.New(".", "public", p.Common.FlushServiceName, flush.Protocol, endpoint.Times{Timeout: p.Common.IPCTimeout})
	defer ep.Close()
	if !p.serviceUp(ep) {
		return errDown
	}
	err := flush.Ask(ctx, ep, r)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, flush.ErrDenied):
		return fmt.Errorf("Flush service is not configured for destination \"%s\"", arg)
	case errors.Is(err, flush.ErrBad):
		return fmt.Errorf("Invalid request: \"%s\"", arg)
	}
	p.Log.Debugf("%v", err)
	return errDown
}

// quoted cuts what a user has given to a length that fits a log line.
func quoted(s string) string {
	if len(s) > 100 {
		return fmt.Sprintf("\"%.100s...\"", s)
	}
	return `"` + s + `"`
}

// validSite says whether site is a domain name, or an address literal of RFC
// 5321 section 4.1.3 in brackets.
func validSite(site string) bool {
	if strings.HasPrefix(site, "[") && strings.HasSuffix(site, "]") {
		literal := site[1 : len(site)-1]
		v6, isV6 := strings.CutPrefix(literal, "IPv6:")
		addr, err := netip.ParseAddr(v6)
		return err == nil && addr.Zone() == "" && addr.Is6() == isV6
	}
	if site == "" || len(site) > 255 || strings.Trim(site, "0123456789.") == "" {
		return false
	}
	for _, label := range strings.Split(site, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
			if !letter && c != '-' && c != '_' && c < 128 {
				return false
			}
		}
	}
	return true
}
