package command

import "postern/internal/config/param"

// A SubmitAccess holds the parameters that say who may submit mail with
// postdrop, and as whom.
type SubmitAccess struct {
	SubmitUsers     string // authorized_submit_users
	LoginSenderMaps string // local_login_sender_maps
	EmptyAddressKey string // empty_address_local_login_sender_maps_lookup_key
}

// Params names the main.cf parameters that postdrop reads.
func (c *SubmitAccess) Params(s *param.Set) {
	s.Str(&c.SubmitUsers, "authorized_submit_users", "static:anyone")
	s.Str(&c.LoginSenderMaps, "local_login_sender_maps", "static:*")
	s.Str(&c.EmptyAddressKey, "empty_address_local_login_sender_maps_lookup_key", "<>", param.MinLen(1))
}

// A QueueAccess holds the parameters that say who may list and flush the queue
// with postqueue.
type QueueAccess struct {
	MailqUsers string // authorized_mailq_users
	FlushUsers string // authorized_flush_users
}

// Params names the main.cf parameters that postqueue reads.
func (c *QueueAccess) Params(s *param.Set) {
	s.Str(&c.MailqUsers, "authorized_mailq_users", "static:anyone")
	s.Str(&c.FlushUsers, "authorized_flush_users", "static:anyone")
}
