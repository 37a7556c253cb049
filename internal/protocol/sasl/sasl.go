// Package sasl is the server's side of SMTP AUTH: it passes the dialogue of a
// mechanism between a client and an authentication service.
//
// The service is Dovecot's, over its auth-client protocol: lines of fields
// that tabs separate. It says which mechanisms there are, checks what the
// client sends, and names the user; no password is looked at here.
//
// RFC 4954 defines AUTH, RFC 4422 SASL. Dovecot: doc/auth-protocol.txt.
package sasl

import (
	"fmt"
	"strings"
)

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
