package starttls

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// The levels that only a client has, above Encrypt, in Postfix's order.
const (
	Fingerprint Level = Encrypt + 1 + iota
	Dane
	DaneOnly
	Verify
	Secure
)

// ParseClientLevel reads a level of a client (smtp_tls_security_level).
func ParseClientLevel(s string) (Level, bool) {
	for l := None; l <= Secure; l++ {
		if strings.EqualFold(s, l.String()) {
			return l, true
		}
	}
	return None, false
}

// Required says that mail must not go without TLS.
func (l Level) Required() bool { return l > May }

// ClientConfig says how a client speaks TLS, with every server alike.
type ClientConfig struct {
	Keys              KeyFiles
	CAFile, CAPath    string
	AppendDefaultCA   bool
	Depth             int    // certificates above the server's that a chain may have
	FingerprintDigest string // "sha256", …
	SessionCacheSize  int    // sessions to resume; 0: none
}

// A Client holds what ClientConfig names.
type Client struct {
	certs    []tls.Certificate
	roots    *x509.CertPool
	sessions tls.ClientSessionCache
	digest   string
	depth    int
}

// OpenClient reads the files that c names.
func OpenClient(c ClientConfig) (*Client, error) {
	client := &Client{digest: c.FingerprintDigest, depth: c.Depth}
	var err error
	if client.certs, err = c.Keys.load(); err != nil {
		return nil, err
	}
	if client.roots, err = loadCAs(c.CAFile, c.CAPath, c.AppendDefaultCA); err != nil {
		return nil, err
	}
	if c.SessionCacheSize > 0 {
		client.sessions = tls.NewLRUClientSessionCache(c.SessionCacheSize)
	}
	if _, err := fingerprint(c.FingerprintDigest, nil); err != nil {
		return nil, err
	}
	return client, nil
}

// A ClientPolicy says what one server must show.
type ClientPolicy struct {
	Level      Level
	Versions   Versions
	Ciphers    []uint16
	Match      []string // hostname, nexthop, dot-nexthop, names, .domains; fingerprints at that level
	Nexthop    string
	Host       string
	Servername string // SNI; "" for none
}

// A Trust says how much a server's certificate is worth.
type Trust int

// What the log calls a connection.
const (
	Anonymous Trust = iota // no certificate
	Untrusted              // a certificate of an unknown issuer
	Trusted                // of a known issuer, without regard to the name
	Verified               // and the name or fingerprint is the one expected
)

func (t Trust) String() string {
	return [...]string{"Anonymous", "Untrusted", "Trusted", "Verified"}[t]
}

// A ClientSession is an encrypted connection to a server.
type ClientSession struct {
	*tls.Conn
	Summary Summary
	Trust   Trust
	Problem string // why the certificate does not satisfy, in the words of the log
	Subject string // common names of the certificate
	Issuer  string
	Digest  string // fingerprint of the certificate
}

// Handshake makes c a TLS connection, within limit. A certificate that does
// not satisfy the policy is no error: the caller asks Satisfied.
func (k *Client) Handshake(ctx context.Context, c net.Conn, p ClientPolicy, limit time.Duration) (*ClientSession, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	conf := &tls.Config{
		MinVersion:         p.Versions.Min,
		MaxVersion:         p.Versions.Max,
		CipherSuites:       p.Ciphers,
		ServerName:         p.Servername,
		InsecureSkipVerify: true, // judged below: an untrusted server may do
	}
	if k.sessions != nil {
		conf.ClientSessionCache = keyed{k.sessions, p.Level.String() + " " + c.RemoteAddr().String()}
	}
	var shown *tls.Certificate
	conf.GetClientCertificate = func(request *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		shown = k.certificate(request)
		if shown == nil {
			return &tls.Certificate{}, nil
		}
		return shown, nil
	}
	conn := tls.Client(c, conf)
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	cs := conn.ConnectionState()
	s := &ClientSession{Conn: conn}
	if len(cs.PeerCertificates) == 0 {
		s.Summary = Summarize(&cs, nil)
		return s, nil
	}
	leaf := cs.PeerCertificates[0]
	s.Summary = Summarize(&cs, leaf.PublicKey)
	if shown != nil {
		s.Summary.client(publicKey(shown))
	}
	s.Subject, s.Issuer = CommonName(leaf, false), CommonName(leaf, true)
	s.Digest, _ = fingerprint(k.digest, leaf.Raw)
	s.Trust, s.Problem = k.judge(cs.PeerCertificates, p, s.Digest)
	return s, nil
}

// certificate is the one to show to a server: the first whose key it can check.
// OpenSSL: whatever issuers the server names.
func (k *Client) certificate(request *tls.CertificateRequestInfo) *tls.Certificate {
	wide := *request
	wide.AcceptableCAs = nil
	for i := range k.certs {
		if wide.SupportsCertificate(&k.certs[i]) == nil {
			return &k.certs[i]
		}
	}
	return nil
}

// A keyed cache finds sessions by the server's address, because servers are
// not told a name.
type keyed struct {
	tls.ClientSessionCache
	key string
}

func (c keyed) Get(string) (*tls.ClientSessionState, bool) { return c.ClientSessionCache.Get(c.key) }
func (c keyed) Put(_ string, session *tls.ClientSessionState) {
	c.ClientSessionCache.Put(c.key, session)
}

// judge says what a chain of certificates is worth under a policy.
func (k *Client) judge(chain []*x509.Certificate, p ClientPolicy, digest string) (Trust, string) {
	if p.Level == Fingerprint {
		key, _ := fingerprint(k.digest, chain[0].RawSubjectPublicKeyInfo)
		for _, want := range p.Match {
			if strings.EqualFold(want, digest) || strings.EqualFold(want, key) {
				return Verified, ""
			}
		}
		// Postfix has OpenSSL compare fingerprints by its code for DANE.
		return Untrusted, "num=65:no matching DANE TLSA records"
	}
	roots := k.roots
	if roots == nil {
		roots = x509.NewCertPool()
	}
	others := x509.NewCertPool()
	for _, c := range chain[1:] {
		others.AddCert(c)
	}
	ways, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: others})
	if err != nil {
		return Untrusted, verifyProblem(err, chain)
	}
	if !slices.ContainsFunc(ways, func(way []*x509.Certificate) bool { return len(way)-1 <= k.depth }) {
		return Untrusted, "num=22:certificate chain too long"
	}
	if p.Level < Verify {
		return Trusted, ""
	}
	for _, name := range certNames(chain[0]) {
		if p.matches(name) {
			return Verified, ""
		}
	}
	return Untrusted, "num=62:hostname mismatch"
}

// verifyProblem says what is wrong with a chain. OpenSSL: a certificate is
// self-signed where it stands alone; the end of a longer chain is an issuer.
func verifyProblem(err error, chain []*x509.Certificate) string {
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	last := chain[len(chain)-1]
	switch {
	case errors.As(err, &unknown) && len(chain) == 1 && bytes.Equal(last.RawSubject, last.RawIssuer):
		return "self-signed certificate"
	case errors.As(err, &unknown):
		return "untrusted issuer " + oneLine(last.Issuer)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "certificate has expired or is not yet valid"
	}
	return err.Error()
}

// certNames are the names of a certificate: the DNS names, or the common name
// of one that has none (Postfix: the same).
func certNames(c *x509.Certificate) []string {
	if len(c.DNSNames) > 0 {
		return c.DNSNames
	}
	if c.Subject.CommonName == "" {
		return nil
	}
	return []string{c.Subject.CommonName}
}

// matches says whether a certificate's name is among those expected.
func (p *ClientPolicy) matches(name string) bool {
	for _, pattern := range p.Match {
		switch strings.ToLower(pattern) {
		case "hostname":
			pattern = p.Host
		case "nexthop":
			pattern = p.Nexthop
		case "dot-nexthop":
			pattern = "." + p.Nexthop
		}
		if nameMatches(name, pattern) {
			return true
		}
	}
	return false
}

// nameMatches compares a name of a certificate, which may begin with "*.",
// with a host name or, with a leading dot, with all names below a domain.
func nameMatches(name, want string) bool {
	name, want = strings.TrimSuffix(name, "."), strings.TrimSuffix(want, ".")
	if want == "" || want == "." || strings.ContainsRune(name, 0) {
		return false
	}
	if want[0] == '.' {
		return len(name) > len(want) && strings.EqualFold(name[len(name)-len(want):], want)
	}
	if tail, ok := strings.CutPrefix(name, "*."); ok {
		_, parent, _ := strings.Cut(want, ".")
		return strings.Contains(tail, ".") && strings.EqualFold(tail, parent)
	}
	return strings.EqualFold(name, want)
}

// Satisfied says whether the server has shown what the level asks for.
func (s *ClientSession) Satisfied(l Level) bool {
	return l < Fingerprint || s.Trust == Verified
}

// LogText is the line of smtp_tls_loglevel 1 about a session with peer,
// "host[addr]:port".
func (s *ClientSession) LogText(peer string) string {
	return fmt.Sprintf("%s TLS connection established to %s: %s", s.Trust, peer, s.Summary.String())
}

// ProblemText is the line of the log about a certificate that does not
// satisfy; "" when it does. Postfix: what OpenSSL decides has a number, and the
// server is named first.
func (s *ClientSession) ProblemText(peer string) string {
	switch {
	case s.Problem == "":
		return ""
	case strings.HasPrefix(s.Problem, "num="):
		return "server certificate verification failed for " + peer + ": " + s.Problem
	}
	return "certificate verification failed for " + peer + ": " + s.Problem
}
