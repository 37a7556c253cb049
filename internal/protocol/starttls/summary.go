package starttls

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
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
	ServerDigest    string // "SHA256"; "" in a session that is resumed
	ClientSignature string // of the client's certificate; "" without one
	ClientSigDetail string
	ClientDigest    string
}

// Summarize describes the session cs. key is the server's public key, nil
// where it is not known.
func Summarize(cs *tls.ConnectionState, key crypto.PublicKey) Summary {
	s := Summary{Protocol: VersionName(cs.Version), Resumed: cs.DidResume}
	s.Cipher, s.Bits = CipherName(cs.CipherSuite)
	if cs.Version != tls.VersionTLS13 {
		return s // Postfix: the cipher's name says the rest
	}
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
	s.ServerSignature, s.ServerSigDetail, s.ServerDigest = signature(key)
	if s.Resumed {
		s.ServerDigest = ""
	}
	return s
}

// client adds what the signature of a client with a key was.
func (s *Summary) client(key crypto.PublicKey) {
	if s.Protocol != VersionName(tls.VersionTLS13) {
		return
	}
	s.ClientSignature, s.ClientSigDetail, s.ClientDigest = signature(key)
	if s.Resumed {
		s.ClientDigest = ""
	}
}

// signature is the scheme that a key makes signatures with. crypto/tls does not
// tell the scheme; with TLS 1.3 the key leaves no choice but the digest, which
// is the one that goes with it.
func signature(key crypto.PublicKey) (name, detail, digest string) {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return "RSA-PSS", fmt.Sprintf("%d bits", k.Size()*8), "SHA256"
	case *ecdsa.PublicKey:
		switch k.Curve.Params().BitSize {
		case 256:
			return "ECDSA", "prime256v1", "SHA256"
		case 384:
			return "ECDSA", "secp384r1", "SHA384"
		case 521:
			return "ECDSA", "secp521r1", "SHA512"
		}
		return "ECDSA", "", ""
	case ed25519.PublicKey:
		return "Ed25519", "", ""
	}
	return "", "", ""
}

// String is the text after "TLS connection established from …: " in the log.
func (s *Summary) String() string {
	text := fmt.Sprintf("%s with cipher %s (%d/%d bits)", s.Protocol, s.Cipher, s.Bits, s.Bits)
	if d := s.Details(); d != "" {
		text += " " + d
	}
	return text
}

// Details is the part of the text about key exchange and signatures.
func (s *Summary) Details() string {
	return strings.TrimSpace(s.ServerDetails() + " " + s.ClientDetails())
}

// ServerDetails is the part about key exchange and the server's signature.
func (s *Summary) ServerDetails() string {
	var parts []string
	if s.KeyExchange != "" {
		parts = append(parts, "key-exchange "+detail(s.KeyExchange, s.KeyCurve))
	}
	return strings.Join(append(parts, signed("server", s.ServerSignature, s.ServerSigDetail, s.ServerDigest)...), " ")
}

// ClientDetails is the part about the client's signature, "" without one.
func (s *Summary) ClientDetails() string {
	return strings.Join(signed("client", s.ClientSignature, s.ClientSigDetail, s.ClientDigest), " ")
}

func signed(who, name, more, digest string) []string {
	if name == "" {
		return nil
	}
	parts := []string{who + "-signature " + detail(name, more)}
	if digest != "" {
		parts = append(parts, who+"-digest "+digest)
	}
	return parts
}

func detail(name, more string) string {
	if more == "" {
		return name
	}
	return name + " (" + more + ")"
}

// shortNames are OpenSSL's for the attributes of distinguished names.
var shortNames = map[string]string{
	"2.5.4.3": "CN", "2.5.4.5": "serialNumber", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST", "2.5.4.10": "O", "2.5.4.11": "OU",
	"1.2.840.113549.1.9.1": "emailAddress", "0.9.2342.19200300.100.1.1": "UID", "0.9.2342.19200300.100.1.25": "DC",
}

// oneLine writes a name as OpenSSL does, "/C=country/CN=name"; what is not
// printable ASCII becomes \xHH.
func oneLine(name pkix.Name) string {
	var b strings.Builder
	for _, attribute := range name.Names {
		kind := attribute.Type.String()
		if short, ok := shortNames[kind]; ok {
			kind = short
		}
		b.WriteString("/" + kind + "=")
		value := fmt.Sprint(attribute.Value)
		for i := 0; i < len(value); i++ {
			if c := value[i]; c < ' ' || c > '~' {
				fmt.Fprintf(&b, "\\x%02X", c)
			} else {
				b.WriteByte(c)
			}
		}
	}
	return b.String()
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
