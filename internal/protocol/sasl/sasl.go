// Package sasl is the server's side of SMTP AUTH: the mechanisms by which a
// client shows who it is, and the services that know the users.
//
// A Service offers mechanisms and begins a Dialogue for each AUTH command.
// There are three: Dovecot's auth service, which runs the mechanisms itself and
// looks at the passwords (Dovecot); the setting of the Cyrus library, of which
// saslauthd and the user database are understood (Cyrus); and a table of users
// of our own (Accounts). The two last ones run PLAIN, LOGIN and SCRAM here.
//
// RFC 4954 defines AUTH, RFC 4422 SASL, RFC 4616 PLAIN, RFC 5802 and 7677 SCRAM.
package sasl

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
)

// A Service authenticates clients. It may be used from several goroutines.
type Service interface {
	// Mechanisms lists what the service offers.
	Mechanisms(ctx context.Context) ([]Mechanism, error)
	// Start begins a dialogue with the client's initial response, in base64;
	// hasInitial tells an empty one from none. The Dialogue is to be used
	// while the Result says Continue.
	Start(ctx context.Context, mech string, p Peer, initial string, hasInitial bool) (Dialogue, Result, error)
	Close() error
}

// A Dialogue is one AUTH command.
type Dialogue interface {
	// Next passes on the client's answer to a challenge, in base64.
	Next(ctx context.Context, answer string) (Result, error)
	// Cancel gives the dialogue up.
	Cancel()
}

// Valid says whether text is base64.
func Valid(text string) bool {
	_, err := base64.StdEncoding.DecodeString(text)
	return err == nil
}

// Options are security options (smtpd_sasl_security_options).
type Options struct {
	NoPlaintext, NoActive, NoDictionary, NoAnonymous bool
	MutualAuth, ForwardSecrecy                       bool
}

// ParseOptions reads a list of them.
func ParseOptions(words []string) (Options, error) {
	var o Options
	for _, w := range words {
		switch strings.ToLower(w) {
		case "noplaintext":
			o.NoPlaintext = true
		case "noactive":
			o.NoActive = true
		case "nodictionary":
			o.NoDictionary = true
		case "noanonymous":
			o.NoAnonymous = true
		case "mutual_auth":
			o.MutualAuth = true
		case "forward_secrecy":
			o.ForwardSecrecy = true
		default:
			return o, fmt.Errorf("unknown SASL security option %q", w)
		}
	}
	return o, nil
}

// A Mechanism is one that the service offers, with what it says of it.
type Mechanism struct {
	Name                                     string
	Anonymous, Plaintext, Dictionary, Active bool
	Private                                  bool // not for clients
	MutualAuth, ForwardSecrecy               bool
}

// Allows says whether the options allow the mechanism.
func (o Options) Allows(m Mechanism) bool {
	return !m.Private && !(o.NoPlaintext && m.Plaintext) && !(o.NoActive && m.Active) &&
		!(o.NoDictionary && m.Dictionary) && !(o.NoAnonymous && m.Anonymous) &&
		!(o.MutualAuth && !m.MutualAuth) && !(o.ForwardSecrecy && !m.ForwardSecrecy)
}

// A Peer is what the service is told of the connection.
type Peer struct {
	Service                string // smtp
	LocalAddr, LocalPort   string
	RemoteAddr, RemotePort string
	Secured                bool // TLS is in use
	ClientCert             bool // and the client's certificate is trusted
}

// An Outcome is what the service says to one step.
type Outcome int

// The outcomes.
const (
	Continue  Outcome = iota // Text is a challenge in base64
	Success                  // User is known
	Failure                  // Text is the reason, or ""
	Temporary                // the service cannot decide now
)

// A Result is an answer of the service.
type Result struct {
	Outcome Outcome
	Text    string
	User    string // with Success; with Failure where the service tells
}
