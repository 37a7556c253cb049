package starttls

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"postern/internal/config/param"
)

// A Logger takes the lines of a Server.
type Logger interface {
	Infof(format string, args ...any)
	Warningf(format string, args ...any)
}

// Level returns the level that smtpd_tls_security_level and its older
// companions ask for.
func (p *ServerParams) Level(log Logger) Level {
	if p.SecurityLevel == "" {
		switch {
		case p.EnforceTLS:
			return Encrypt
		case p.UseTLS:
			return May
		}
		return None
	}
	l, ok := ParseLevel(p.SecurityLevel)
	if !ok {
		l = Encrypt
		log.Warningf("smtpd_tls_security_level: unsupported level %q, using \"encrypt\"", p.SecurityLevel)
	}
	return l
}

// A Server makes the server's side of TLS sessions. It may be used from several
// goroutines. Its certificates are read again when their files change.
type Server struct {
	log        Logger
	level      Level
	files      KeyFiles
	paths      []string
	base       *tls.Config
	verify     x509.VerifyOptions
	ask        bool
	depth      int // smtpd_tls_ccert_verifydepth
	digest     string
	LogLevel   int
	CheckEvery time.Duration // how often the files are looked at

	mu      sync.Mutex
	certs   []tls.Certificate
	stamps  []stamp
	checked time.Time
	warned  bool
}

// Open reads the certificates and checks the parameters. Without certificates
// the server is nil, and TLS is not offered: the log says so.
func (p *ServerParams) Open(log Logger) (*Server, error) {
	level := p.Level(log)
	if p.WrapperMode {
		level = Encrypt
	}
	if level == None {
		return nil, nil
	}
	if err := p.refuse(log); err != nil {
		return nil, err
	}
	p.Keys.Chains = param.Split(p.chainFiles)
	if p.Keys.Empty() {
		if level == Encrypt {
			return nil, errors.New("TLS is required (smtpd_tls_security_level, smtpd_tls_wrappermode), but there is no server certificate: set smtpd_tls_chain_files or smtpd_tls_cert_file")
		}
		log.Warningf("No server certs available. TLS won't be enabled")
		return nil, nil
	}
	s := &Server{log: log, level: level, files: p.Keys, paths: p.Keys.paths(), CheckEvery: time.Second,
		depth: p.CcertVerifyDepth, ask: p.AskCcert || p.ReqCcert, digest: p.FingerprintDigest, LogLevel: logLevel(p.LogLevel)}
	if _, err := fingerprint(s.digest, nil); err != nil {
		return nil, err
	}
	var err error
	if s.base, err = p.config(level); err != nil {
		return nil, err
	}
	if s.verify.Roots, err = loadCAs(p.CAFile, p.CAPath, p.AppendDefaultCA); err != nil {
		return nil, err
	}
	s.verify.KeyUsages = []x509.ExtKeyUsage{x509.ExtKeyUsageAny}
	s.stamps = stamps(s.paths)
	if s.certs, err = p.Keys.load(); err != nil {
		return nil, err
	}
	s.base.GetCertificate = s.certificate
	return s, nil
}

// refuse names what is asked for and cannot be had.
func (p *ServerParams) refuse(log Logger) error {
	if p.SNIMaps != "" {
		return errors.New("tls_server_sni_maps is not supported yet")
	}
	if p.EnableRPK {
		return errors.New("smtpd_tls_enable_rpk: raw public keys are not supported")
	}
	for _, u := range [...][2]string{
		{"smtpd_tls_dh1024_param_file", p.unused.dh1024},
		{"smtpd_tls_dh512_param_file", p.unused.dh512},
	} {
		if u[1] != "" && u[1] != "auto" {
			log.Warningf("%s has no effect: finite-field Diffie-Hellman is not used", u[0])
		}
	}
	return nil
}

// config makes what all sessions share. Mandatory parameters count where TLS
// is mandatory.
func (p *ServerParams) config(level Level) (*tls.Config, error) {
	protocols, grade, exclude := p.Protocols, p.Ciphers, []string{p.ExcludeCiphers}
	if level == Encrypt {
		protocols, grade = p.Mandatory, p.MandatoryCiphers
		exclude = append(exclude, p.MandatoryExclude)
	}
	v, err := ParseProtocols(protocols)
	if err != nil {
		return nil, err
	}
	c := &tls.Config{MinVersion: v.Min, MaxVersion: v.Max}
	if c.CipherSuites, err = Ciphers(grade, exclude...); err != nil {
		return nil, err
	}
	switch {
	case p.ReqCcert && level == Encrypt:
		c.ClientAuth = tls.RequireAnyClientCert
	case p.AskCcert, p.ReqCcert:
		c.ClientAuth = tls.RequestClientCert
	}
	return c, nil
}

func logLevel(s string) int {
	switch strings.ToLower(s) {
	case "0", "none":
		return 0
	case "1", "routine", "summary":
		return 1
	case "2":
		return 2
	case "3":
		return 3
	case "4":
		return 4
	}
	return 1
}

// Level returns whether TLS is offered or demanded; a nil server's is None.
func (s *Server) Level() Level {
	if s == nil {
		return None
	}
	return s.level
}

// certificate chooses one that the client can use.
func (s *Server) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	certs := s.current()
	chosen := &certs[0]
	for i := range certs {
		if hello.SupportsCertificate(&certs[i]) == nil {
			chosen = &certs[i]
			break
		}
	}
	if c, ok := hello.Conn.(*certConn); ok {
		c.cert = chosen
	}
	return chosen, nil
}

// A certConn remembers with which certificate the server answers on it; all
// sessions share one tls.Config, so that tickets of one are good for the next.
type certConn struct {
	net.Conn
	cert *tls.Certificate
}

// current returns the certificates, read again if a file has changed. What
// cannot be read leaves the old ones in use.
func (s *Server) current() []tls.Certificate {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.checked) < s.CheckEvery {
		return s.certs
	}
	s.checked = time.Now()
	now := stamps(s.paths)
	if slices.Equal(now, s.stamps) {
		return s.certs
	}
	certs, err := s.files.load()
	if err != nil {
		if !s.warned {
			s.log.Warningf("TLS certificate files have changed, but cannot be used: %v; going on with those read before", err)
			s.warned = true
		}
		return s.certs
	}
	s.log.Infof("TLS certificates reloaded: %s", strings.Join(s.paths, ", "))
	s.certs, s.stamps, s.warned = certs, now, false
	return certs
}

// A Session is a TLS session of a server with a client.
type Session struct {
	*tls.Conn
	Summary
	AskedCert bool // the client was asked for a certificate

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
	if err := conn.HandshakeContext(ctx); err != nil {
		s.log.Infof("SSL_accept error from %s: %s", peer, acceptError(err))
		if s.LogLevel >= 1 && !errors.As(err, new(net.Error)) {
			s.log.Warningf("TLS library problem: %v", err)
		}
		return nil, err
	}
	c.SetDeadline(time.Time{})
	cs := conn.ConnectionState()
	out := &Session{Conn: conn, Summary: Summarize(&cs, publicKey(marked.cert)), AskedCert: s.ask}
	if len(cs.PeerCertificates) > 0 {
		s.inspect(out, cs.PeerCertificates)
	}
	if s.LogLevel >= 1 {
		s.logSession(out, peer)
	}
	return out, nil
}

func acceptError(err error) string {
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() {
		return "Connection timed out"
	}
	if strings.Contains(err.Error(), "EOF") || strings.Contains(err.Error(), "reset") {
		return "lost connection"
	}
	return "-1"
}

// inspect fills in what the client's certificate says.
func (s *Server) inspect(out *Session, chain []*x509.Certificate) {
	out.Peer = chain[0]
	out.PeerCN, out.IssuerCN = CommonName(chain[0], false), CommonName(chain[0], true)
	out.CertFingerprint, _ = fingerprint(s.digest, chain[0].Raw)
	out.KeyFingerprint, _ = fingerprint(s.digest, chain[0].RawSubjectPublicKeyInfo)
	if s.verify.Roots == nil {
		return
	}
	opts := s.verify
	opts.Intermediates = x509.NewCertPool()
	for _, c := range chain[1:] {
		opts.Intermediates.AddCert(c)
	}
	paths, err := chain[0].Verify(opts)
	for _, path := range paths {
		out.Trusted = out.Trusted || len(path)-1 <= s.depth
	}
	if err != nil && s.LogLevel >= 1 {
		s.log.Infof("certificate verification failed: %v", err)
	}
}

func (s *Server) logSession(out *Session, peer string) {
	trust := "Anonymous"
	switch {
	case out.Trusted:
		trust = "Trusted"
	case out.Peer != nil:
		trust = "Untrusted"
	}
	usage := "established"
	if out.Resumed {
		usage = "reused"
	}
	s.log.Infof("%s TLS connection %s from %s: %s", trust, usage, peer, out.Summary.String())
}

// fingerprint is a digest in hexadecimal, octets separated by colons.
func fingerprint(digest string, data []byte) (string, error) {
	var sum []byte
	switch strings.ToLower(digest) {
	case "md5":
		h := md5.Sum(data)
		sum = h[:]
	case "sha1":
		h := sha1.Sum(data)
		sum = h[:]
	case "sha256":
		h := sha256.Sum256(data)
		sum = h[:]
	case "sha384":
		h := sha512.Sum384(data)
		sum = h[:]
	case "sha512":
		h := sha512.Sum512(data)
		sum = h[:]
	default:
		return "", fmt.Errorf("message digest %q is not supported", digest)
	}
	var b bytes.Buffer
	for i, c := range sum {
		if i > 0 {
			b.WriteByte(':')
		}
		fmt.Fprintf(&b, "%02X", c)
	}
	return b.String(), nil
}
