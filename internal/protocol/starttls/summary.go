package starttls

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"
)

// A Summary is what logs, Received: fields and policy servers are told of a
// session.
type Summary struct {
	Protocol string // "TLSv1.3"
	Cipher   string // OpenSSL's name
	Bits     int    // of the cipher: used, which is what it has
	Resumed  bool

	KeyExchange     string // "X25519", "ECDHE"; "" for RSA or when it is not known
	KeyCurve        string // "P-256" with ECDHE
	ServerSignature string // "RSA-PSS", "ECDSA"
	ServerSigDetail string // "2048 bits", "prime256v1"
	ServerDigest    string // "SHA256"
}

// Summarize describes the session cs. key is the server's public key, nil
// where it is not known.
func Summarize(cs *tls.ConnectionState, key crypto.PublicKey) Summary {
	s := Summary{Protocol: VersionName(cs.Version), Resumed: cs.DidResume}
	s.Cipher, s.Bits = CipherName(cs.CipherSuite)
	switch cs.CurveID {
	case 0:
	case tls.X25519:
		s.KeyExchange = "X25519"
	case tls.CurveP256, tls.CurveP384, tls.CurveP521:
		s.KeyExchange = "ECDHE"
		s.KeyCurve = strings.Replace(cs.CurveID.String(), "Curve", "", 1)
		s.KeyCurve = "P-" + strings.TrimPrefix(s.KeyCurve, "P")
	default:
		s.KeyExchange = cs.CurveID.String()
	}
	// The scheme of a signature is not told by crypto/tls; with TLS 1.3 the
	// key leaves no choice but the digest, which is the one that goes with it.
	if cs.Version == tls.VersionTLS13 && !cs.DidResume {
		s.signature(key)
	}
	return s
}

func (s *Summary) signature(key crypto.PublicKey) {
	switch k := key.(type) {
	case *rsa.PublicKey:
		s.ServerSignature = "RSA-PSS"
		s.ServerSigDetail = fmt.Sprintf("%d bits", k.Size()*8)
		s.ServerDigest = "SHA256"
	case *ecdsa.PublicKey:
		s.ServerSignature = "ECDSA"
		s.ServerSigDetail = map[int]string{256: "prime256v1", 384: "secp384r1", 521: "secp521r1"}[k.Curve.Params().BitSize]
		s.ServerDigest = map[int]string{256: "SHA256", 384: "SHA384", 521: "SHA512"}[k.Curve.Params().BitSize]
	case ed25519.PublicKey:
		s.ServerSignature = "Ed25519"
	}
}

// String is the text after "TLS connection established from …: " in the log.
func (s *Summary) String() string {
	text := fmt.Sprintf("%s with cipher %s (%d/%d bits)", s.Protocol, s.Cipher, s.Bits, s.Bits)
	if d := s.Details(); d != "" {
		text += " " + d
	}
	return text
}

// Details is the part of the text about key exchange and signature.
func (s *Summary) Details() string {
	var parts []string
	if s.KeyExchange != "" {
		parts = append(parts, "key-exchange "+detail(s.KeyExchange, s.KeyCurve))
	}
	if s.ServerSignature != "" {
		parts = append(parts, "server-signature "+detail(s.ServerSignature, s.ServerSigDetail))
		if s.ServerDigest != "" {
			parts = append(parts, "server-digest "+s.ServerDigest)
		}
	}
	return strings.Join(parts, " ")
}

func detail(name, more string) string {
	if more == "" {
		return name
	}
	return name + " (" + more + ")"
}

// CommonName returns the CN of a certificate's subject, or of its issuer. What
// is not printable becomes '?' (Postfix: xtext comes later).
func CommonName(cert *x509.Certificate, issuer bool) string {
	name := cert.Subject
	if issuer {
		name = cert.Issuer
	}
	cn := name.CommonName
	if cn == "" && issuer && len(name.Organization) > 0 {
		cn = name.Organization[0]
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, cn)
}
