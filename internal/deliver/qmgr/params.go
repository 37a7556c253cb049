package qmgr

import (
	"fmt"
	"time"

	"postern/internal/config/param"
	"postern/internal/deliver/qmgr/schedule"
)

// Config holds the parameters of the queue manager.
type Config struct {
	ActiveLimit      int // qmgr_message_active_limit
	RecipientLimit   int // qmgr_message_recipient_limit
	RecipientMinimum int // qmgr_message_recipient_minimum
	ClogWarnTime     time.Duration
	HelpfulWarnings  bool

	MinBackoff, MaxBackoff time.Duration
	MaxLifetime            time.Duration // maximal_queue_lifetime
	BounceLifetime         time.Duration // bounce_queue_lifetime
	RunDelay               time.Duration // queue_run_delay
	RetryTime              time.Duration // transport_retry_time
	IPCTimeout             time.Duration // qmgr_ipc_timeout

	DeferTransports     string
	FilterNexthop       string // default_filter_nexthop
	AllowMinUser        bool
	DisableVerpBounces  bool
	ConfirmDelayCleared bool
	VerifyPendingLimit  int // address_verify_pending_request_limit
	FeedbackDebug       bool
	def                 transportConfig
}

// A transportConfig is the text of the parameters that a transport can
// override.
type transportConfig struct {
	slotCost, slotLoan, slotDiscount, minSlots int
	recipients, extraRecipients, refillLimit   int
	refillDelay                                time.Duration
	concurrency, initialConcurrency            int
	positive, negative                         string
	failedCohorts                              int
	destinationRecipients                      int
	destinationRateDelay, transportRateDelay   time.Duration
}

// Params names the main.cf parameters that the queue manager reads.
func (c *Config) Params(s *param.Set) {
	s.Int(&c.ActiveLimit, "qmgr_message_active_limit", 20000, param.Min(1))
	s.Int(&c.RecipientLimit, "qmgr_message_recipient_limit", 20000, param.Min(1))
	s.Int(&c.RecipientMinimum, "qmgr_message_recipient_minimum", 10, param.Min(1))
	s.Time(&c.ClogWarnTime, "qmgr_clog_warn_time", "300s", param.Min(0))
	s.Bool(&c.HelpfulWarnings, "helpful_warnings", true)
	s.Time(&c.MinBackoff, "minimal_backoff_time", "300s", param.Min(1))
	s.Time(&c.MaxBackoff, "maximal_backoff_time", "4000s", param.Min(1))
	s.Time(&c.MaxLifetime, "maximal_queue_lifetime", "5d", param.Min(0), param.Max(8640000))
	s.Time(&c.BounceLifetime, "bounce_queue_lifetime", "5d", param.Min(0), param.Max(8640000))
	s.Time(&c.RunDelay, "queue_run_delay", "300s", param.Min(1))
	s.Time(&c.RetryTime, "transport_retry_time", "60s", param.Min(1))
	s.Time(&c.IPCTimeout, "qmgr_ipc_timeout", "60s", param.Min(1))
	s.Str(&c.DeferTransports, "defer_transports", "")
	s.Str(&c.FilterNexthop, "default_filter_nexthop", "")
	s.Bool(&c.AllowMinUser, "allow_min_user", false)
	s.Bool(&c.DisableVerpBounces, "disable_verp_bounces", false)
	s.Bool(&c.ConfirmDelayCleared, "confirm_delay_cleared", false)
	s.NInt(&c.VerifyPendingLimit, "address_verify_pending_request_limit", "5000", param.Min(1))
	s.Bool(&c.FeedbackDebug, "destination_concurrency_feedback_debug", false)
	s.Int(new(int), "local_destination_concurrency_limit", 2)
	s.Int(new(int), "local_destination_recipient_limit", 1)
	c.def.params(s, "default")
}

// params declares the parameters of the transport called name, or with the name
// "default" those that hold for all of them.
func (c *transportConfig) params(s *param.Set, name string) {
	number := func(p *int, suffix string, def int, o ...param.Option) {
		if name == "default" {
			s.Int(p, "default_"+suffix, def, o...)
		} else {
			s.NInt(p, name+"_"+suffix, "$default_"+suffix, o...)
		}
	}
	span := func(p *time.Duration, suffix, def string, o ...param.Option) {
		if name != "default" {
			def = "$default_" + suffix
		}
		s.Time(p, name+"_"+suffix, def, o...)
	}
	text := func(p *string, suffix string) {
		def := "1"
		if name != "default" {
			def = "$default_" + suffix
		}
		s.Str(p, name+"_"+suffix, def, param.MinLen(1))
	}
	number(&c.slotCost, "delivery_slot_cost", 5)
	number(&c.slotLoan, "delivery_slot_loan", 3)
	number(&c.slotDiscount, "delivery_slot_discount", 50, param.Min(0), param.Max(100))
	number(&c.minSlots, "minimum_delivery_slots", 3)
	number(&c.recipients, "recipient_limit", 20000)
	number(&c.extraRecipients, "extra_recipient_limit", 1000)
	number(&c.refillLimit, "recipient_refill_limit", 100, param.Min(1))
	span(&c.refillDelay, "recipient_refill_delay", "5s", param.Min(1))
	number(&c.concurrency, "destination_concurrency_limit", 20, param.Min(0))
	if name == "default" {
		s.Int(&c.initialConcurrency, "initial_destination_concurrency", 5, param.Min(1))
	} else {
		s.NInt(&c.initialConcurrency, name+"_initial_destination_concurrency", "$initial_destination_concurrency", param.Min(1))
	}
	text(&c.positive, "destination_concurrency_positive_feedback")
	text(&c.negative, "destination_concurrency_negative_feedback")
	number(&c.failedCohorts, "destination_concurrency_failed_cohort_limit", 1, param.Min(0))
	number(&c.destinationRecipients, "destination_recipient_limit", 50, param.Min(0))
	span(&c.destinationRateDelay, "destination_rate_delay", "0s", param.Min(0))
	span(&c.transportRateDelay, "transport_rate_delay", "0s", param.Min(0))
}

func (c *transportConfig) limits() (schedule.Limits, error) {
	l := schedule.Limits{
		SlotCost: c.slotCost, SlotLoan: c.slotLoan, SlotDiscount: c.slotDiscount, MinSlots: c.minSlots,
		Recipients: c.recipients, ExtraRecipients: c.extraRecipients,
		RefillLimit: c.refillLimit, RefillDelay: c.refillDelay,
		Concurrency: c.concurrency, InitialConcurrency: c.initialConcurrency,
		FailedCohorts: c.failedCohorts, DestinationRecipients: c.destinationRecipients,
		DestinationRateDelay: c.destinationRateDelay, TransportRateDelay: c.transportRateDelay,
	}
	var err error
	if l.Positive, err = schedule.ParseFeedback(c.positive); err != nil {
		return l, fmt.Errorf("destination_concurrency_positive_feedback: %w", err)
	}
	if l.Negative, err = schedule.ParseFeedback(c.negative); err != nil {
		return l, fmt.Errorf("destination_concurrency_negative_feedback: %w", err)
	}
	return l, nil
}

// builtin are the defaults of one transport that differ from default_….
// Postfix: mail to one local user is delivered one by one, two at a time.
func builtin(transport string, s *param.Set, c *transportConfig) {
	if transport == "local" {
		s.Int(&c.concurrency, "local_destination_concurrency_limit", 2, param.Min(0))
		s.Int(&c.destinationRecipients, "local_destination_recipient_limit", 1, param.Min(0))
	}
}

// transportLimits reads the parameters of one transport.
func (m *manager) transportLimits(name string) schedule.Limits {
	s := param.NewSet()
	new(param.Common).Params(s)
	var ignored Config
	ignored.Params(s)
	var c transportConfig
	builtin(name, s, &c)
	c.params(s, name)
	err := s.Load(m.env.Config)
	var l schedule.Limits
	if err == nil {
		l, err = c.limits()
	}
	if err != nil {
		m.env.Log.Errorf("transport %s: %v; the defaults of all transports are used", name, err)
		l, _ = m.cfg.def.limits()
	}
	return l
}
