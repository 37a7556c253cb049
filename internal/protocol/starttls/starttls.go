// Package starttls is TLS as SMTP and LMTP use it: the words of Postfix's and
// OpenSSL's configuration translated for crypto/tls, the server's certificates,
// and what logs and Received: fields say of a session.
//
// What has no counterpart in crypto/tls is said at start: finite-field
// Diffie-Hellman, anonymous and null ciphers, DSA and raw public keys.
//
// RFC 3207 defines STARTTLS, RFC 8314 the wrapper mode.
package starttls

import (
	"strings"
)

// A Level is a security level.
type Level int

// The levels of a server, and those below "verify" of a client.
const (
	None    Level = iota // TLS is not offered or used
	May                  // opportunistic
	Encrypt              // mandatory, certificates are not checked
)

func (l Level) String() string {
	return [...]string{"none", "may", "encrypt", "fingerprint", "dane", "dane-only", "verify", "secure"}[l]
}

// ParseLevel reads a level of a server. Levels of clients are not known here.
func ParseLevel(s string) (Level, bool) {
	switch strings.ToLower(s) {
	case "none":
		return None, true
	case "may":
		return May, true
	case "encrypt":
		return Encrypt, true
	}
	return None, false
}
