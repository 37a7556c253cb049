package schedule

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Limits are the scheduling parameters of one transport. Each has the form
// <transport>_name in main.cf, and default_name for all transports.
type Limits struct {
	SlotCost     int // delivery_slot_cost: deliveries that earn one slot
	SlotLoan     int // delivery_slot_loan: slots given in advance
	SlotDiscount int // delivery_slot_discount: percentage that must be there
	MinSlots     int // minimum_delivery_slots: smaller jobs are never overtaken

	Recipients      int           // recipient_limit: in memory
	ExtraRecipients int           // extra_recipient_limit: for jobs that overtake
	RefillLimit     int           // recipient_refill_limit: how many to read at once
	RefillDelay     time.Duration // recipient_refill_delay: longest wait for that

	Concurrency           int      // destination_concurrency_limit; 0: none
	InitialConcurrency    int      // initial_destination_concurrency
	Positive, Negative    Feedback // destination_concurrency_positive_feedback, …
	FailedCohorts         int      // destination_concurrency_failed_cohort_limit; 0: never dead
	DestinationRecipients int      // destination_recipient_limit; 0: none

	DestinationRateDelay time.Duration // destination_rate_delay
	TransportRateDelay   time.Duration // transport_rate_delay
}

// A Feedback is how much one delivery changes a destination's concurrency.
type Feedback struct {
	amount float64
	per    int // nothing, concurrency, its square root
}

const (
	perDelivery = iota
	perWindow
	perRoot
)

// ParseFeedback reads "0.5", "1/concurrency" or "1 / sqrt_concurrency"; the
// number is over 0 and at most 1.
func ParseFeedback(text string) (Feedback, error) {
	number, divisor, divided := strings.Cut(text, "/")
	f := Feedback{}
	var err error
	f.amount, err = strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || !(f.amount > 0 && f.amount <= 1) {
		return f, fmt.Errorf("bad feedback %q: want a number over 0 and at most 1", text)
	}
	if !divided {
		return f, nil
	}
	switch strings.ToLower(strings.TrimSpace(divisor)) {
	case "concurrency":
		f.per = perWindow
	case "sqrt_concurrency":
		f.per = perRoot
	default:
		return f, fmt.Errorf("bad feedback %q: want number/concurrency or number/sqrt_concurrency", text)
	}
	return f, nil
}

func (f Feedback) at(window int) float64 {
	switch f.per {
	case perWindow:
		return f.amount / float64(window)
	case perRoot:
		return f.amount / math.Sqrt(float64(window))
	}
	return f.amount
}
