package starttls

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// A Session is a TLS session of a server with a client.
type Session struct {
	*tls.Conn
	Summary
	AskedCert bool   // the client was asked for a certificate
	Refusal   string // why a client must not go on whose certificate is required
	SNI       string // the name that the client asked for, if there is a certificate for it

	// About the client's certificate; empty without one.
	Peer             *x509.Certificate
	Trusted          bool // a known issuer vouches for it
	PeerCN, IssuerCN string
	CertFingerprint  string // in smtpd_tls_fingerprint_digest, hexadecimal with colons
	KeyFingerprint   string // of the public key
}

// Handshake makes a session on c, within the time limit. peer, "name[addr]",
// is for the log, where Postfix's lines go.
func (s *Server) Handshake(ctx context.Context, c net.Conn, peer string, limit time.Duration) (*Session, error) {
	if s.LogLevel >= 2 {
		s.log.Infof("setting up TLS connection from %s", peer)
	}
	marked := &certConn{Conn: c}
	conn := tls.Server(marked, s.base)
	c.SetDeadline(time.Now().Add(limit))
	s.tickets.refresh(ctx, s.base)
	if err := conn.HandshakeContext(ctx); err != nil {
		s.logFailure(err, marked.hello, peer)
		return nil, err
	}
	c.SetDeadline(time.Time{})
	cs := conn.ConnectionState()
	out := &Session{Conn: conn, Summary: Summarize(&cs, s.keyOf(marked)), AskedCert: s.ask}
	if s.sni != nil && marked.hello != nil && marked.hello.ServerName != "" {
		if marked.matched {
			out.SNI = marked.hello.ServerName
		} else if s.LogLevel >= 2 {
			s.log.Infof("TLS SNI %.255s from %s not matched, using default chain", marked.hello.ServerName, peer)
		}
	}
	if s.LogLevel >= 2 && out.Resumed {
		s.log.Infof("%s: Reusing old session (RFC 5077 session ticket)", peer)
	}
	if len(cs.PeerCertificates) > 0 {
		s.inspect(out, cs.PeerCertificates, peer)
	}
	switch {
	case s.require && out.Peer == nil:
		out.Refusal = "No client certificate presented"
	case s.require && !out.Trusted:
		out.Refusal = "Client certificate not trusted"
	}
	if s.LogLevel >= 1 {
		s.logSession(out, peer)
	}
	marked.hello = nil // not needed any more, and large
	return out, nil
}

// keyOf is the public key that the server showed; in a session that is resumed,
// the one that it would have shown.
func (s *Server) keyOf(c *certConn) crypto.PublicKey {
	if c.cert == nil && c.hello != nil {
		s.certificate(c.hello)
	}
	return publicKey(c.cert)
}

// logFailure says that there is no session and why. What the client offers is
// said, too, because crypto/tls refuses some that OpenSSL takes; the client
// may come back and speak plain text.
func (s *Server) logFailure(err error, hello *tls.ClientHelloInfo, peer string) {
	var ne net.Error
	switch {
	case errors.As(err, &ne) && ne.Timeout():
		s.log.Infof("SSL_accept error from %s: Connection timed out", peer)
		return
	case strings.Contains(err.Error(), "EOF") || strings.Contains(err.Error(), "reset"):
		s.log.Infof("SSL_accept error from %s: lost connection", peer)
		return
	}
	s.log.Infof("SSL_accept error from %s: -1", peer)
	text := err.Error()
	if hello != nil && !strings.Contains(text, "remote error") {
		text += "; the client offers " + offer(hello)
	}
	s.log.Warningf("TLS library problem: %s", text)
}

// offer tells versions and ciphers of a client.
func offer(hello *tls.ClientHelloInfo) string {
	const few = 12
	var versions, ciphers []string
	for _, v := range hello.SupportedVersions {
		if name := VersionName(v); !strings.HasPrefix(name, "0x") {
			versions = append(versions, name)
		}
	}
	for _, id := range hello.CipherSuites {
		if id&0x0f0f == 0x0a0a || id == 0x00ff || id == 0x5600 { // reserved values, signals
			continue
		}
		if len(ciphers) == few {
			ciphers = append(ciphers, fmt.Sprintf("%d in all", len(hello.CipherSuites)))
			break
		}
		name, _ := CipherName(id)
		ciphers = append(ciphers, name)
	}
	return strings.Join(versions, ", ") + " with " + strings.Join(ciphers, ", ") + foreignGroups(hello.SupportedCurves)
}

// foreignGroups tells the groups for the exchange of keys if none of them can be
// used.
func foreignGroups(groups []tls.CurveID) string {
	names := map[tls.CurveID]string{30: "X448", 256: "ffdhe2048", 257: "ffdhe3072", 258: "ffdhe4096", 259: "ffdhe6144", 260: "ffdhe8192"}
	var list []string
	for _, g := range groups {
		if strings.HasPrefix(g.String(), "X25519") || strings.HasPrefix(g.String(), "CurveP") {
			return ""
		}
		name := names[g]
		if name == "" {
			name = fmt.Sprintf("0x%04X", uint16(g))
		}
		list = append(list, name)
	}
	if len(list) == 0 {
		return ""
	}
	return " and groups " + strings.Join(list[:min(len(list), 12)], ", ")
}

// inspect fills in what the client's certificate says.
func (s *Server) inspect(out *Session, chain []*x509.Certificate, peer string) {
	out.Peer = chain[0]
	out.PeerCN, out.IssuerCN = CommonName(chain[0], false), CommonName(chain[0], true)
	out.CertFingerprint, _ = fingerprint(s.digest, chain[0].Raw)
	out.KeyFingerprint, _ = fingerprint(s.digest, chain[0].RawSubjectPublicKeyInfo)
	out.client(chain[0].PublicKey)
	what, problem := "certificate", "no trusted issuers are configured (smtpd_tls_CAfile)"
	if s.verify.Roots != nil {
		opts := s.verify
		opts.Intermediates = x509.NewCertPool()
		for _, c := range chain[1:] {
			opts.Intermediates.AddCert(c)
		}
		paths, err := chain[0].Verify(opts)
		for _, path := range paths {
			out.Trusted = out.Trusted || len(path)-1 <= s.depth
		}
		problem = "the chain is longer than smtpd_tls_ccert_verifydepth"
		if err != nil {
			what, problem = clientProblem(err, chain)
		}
	}
	if !out.Trusted && (s.LogLevel >= 2 || s.require && s.LogLevel >= 1) {
		s.log.Infof("%s verification failed for %s: %s", what, peer, problem)
	}
	if s.LogLevel < 2 {
		return
	}
	s.log.Infof("%s: subject_CN=%s, issuer=%s, fingerprint=%s, pkey_fingerprint=%s", peer, out.PeerCN, out.IssuerCN,
		out.CertFingerprint, out.KeyFingerprint)
}

// clientProblem says what is wrong with a client's certificate. Postfix: in its
// own words about issuers, and in OpenSSL's otherwise.
func clientProblem(err error, chain []*x509.Certificate) (what, problem string) {
	var invalid x509.CertificateInvalidError
	if !errors.As(err, &invalid) {
		return "certificate", verifyProblem(err, chain)
	}
	switch {
	case invalid.Reason == x509.Expired && time.Now().Before(invalid.Cert.NotBefore):
		return "client certificate", "certificate is not yet valid"
	case invalid.Reason == x509.Expired:
		return "client certificate", "certificate has expired"
	case invalid.Reason == x509.IncompatibleUsage:
		return "client certificate", "unsuitable certificate purpose"
	}
	return "client certificate", err.Error()
}

func (s *Server) logSession(out *Session, peer string) {
	trust := "Anonymous"
	switch {
	case out.Trusted:
		trust = "Trusted"
	case out.Peer != nil:
		trust = "Untrusted"
	}
	if out.SNI != "" {
		peer += " to " + out.SNI
	}
	s.log.Infof("%s TLS connection established from %s: %s", trust, peer, out.Summary.String())
}
