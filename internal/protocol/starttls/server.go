package starttls

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

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

// isClientLevel says whether a word is a level that only clients have.
func isClientLevel(word string) bool {
	switch strings.ToLower(word) {
	case "fingerprint", "dane", "dane-only", "verify", "secure", "half-dane":
		return true
	}
	return false
}

// A Server makes the server's side of TLS sessions. It may be used from several
// goroutines. Its certificates are read again when their files change.
type Server struct {
	log      Logger
	level    Level
	base     *tls.Config
	verify   x509.VerifyOptions
	ask      bool
	require  bool // smtpd_tls_req_ccert, where TLS is mandatory
	depth    int  // smtpd_tls_ccert_verifydepth
	digest   string
	LogLevel int

	certs   *store
	sni     *sniMap // nil without tls_server_sni_maps
	tickets tickets
}

// Around is what a Server needs of the program that it is in.
type Around struct {
	Log Logger
	// SNI is tls_server_sni_maps; nil when there are none.
	SNI Lookup
	// Tickets are keys that processes share; nil: each has its own.
	Tickets TicketKeys
	// Lost is called when certificate files have changed and this process may
	// not read them any more, having given up its privileges; may be nil.
	Lost func(path string)
}

// Open reads the certificates and checks the parameters. Without certificates
// the server is nil, and TLS is not offered: the log says so. With certificates
// or parameters that cannot be used it is there and not Available.
func (p *ServerParams) Open(a Around) (*Server, error) {
	if _, ok := ParseLevel(p.SecurityLevel); !ok && p.SecurityLevel != "" && !isClientLevel(p.SecurityLevel) {
		return nil, fmt.Errorf("smtpd_tls_security_level = %s: invalid TLS level: use none, may or encrypt", p.SecurityLevel)
	}
	level := p.Level(a.Log)
	if p.WrapperMode {
		level = Encrypt
	}
	if level == None {
		return nil, nil
	}
	if err := p.refuse(a.Log); err != nil {
		return nil, err
	}
	p.Keys.Chains = param.Split(p.chainFiles)
	if p.Keys.Empty() && !(p.Keys.Cert == none && a.SNI != nil) {
		if level == Encrypt {
			return nil, errors.New("TLS is required (smtpd_tls_security_level, smtpd_tls_wrappermode), but there is no server certificate: set smtpd_tls_chain_files or smtpd_tls_cert_file")
		}
		a.Log.Warningf("No server certs available. TLS won't be enabled")
		return nil, nil
	}
	s := &Server{log: a.Log, level: level, depth: p.CcertVerifyDepth, ask: p.AskCcert || p.ReqCcert && level == Encrypt,
		require: p.ReqCcert && level == Encrypt,
		digest:  p.FingerprintDigest, LogLevel: logLevel(p.LogLevel, a.Log), tickets: tickets{ask: a.Tickets, log: a.Log}}
	if a.SNI != nil {
		s.sni = &sniMap{lookup: a.SNI}
	}
	if p.ReqCcert && !s.require {
		a.Log.Warningf("Can't require client certs unless TLS is required")
	}
	if err := s.configure(p, a.Log); err != nil {
		// Postfix: mail goes on in plain text where it may.
		a.Log.Warningf("%v: disabling TLS support", err)
		s.base = nil
		return s, nil
	}
	s.verify.KeyUsages = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} // or none: a certificate for anything
	s.certs = openStore(p.Keys, a.Log, a.Lost)
	s.base.GetCertificate = s.certificate
	s.base.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if c, ok := hello.Conn.(*certConn); ok {
			c.hello = hello
		}
		return nil, nil
	}
	return s, nil
}

// configure takes over what may be wrong in the parameters.
func (s *Server) configure(p *ServerParams, log Logger) (err error) {
	if _, err := fingerprint(s.digest, nil); err != nil {
		return fmt.Errorf("smtpd_tls_fingerprint_digest: %w", err)
	}
	if s.base, err = p.config(s.level, log); err != nil {
		return err
	}
	if s.verify.Roots, err = loadCAs(p.CAFile, p.CAPath, p.AppendDefaultCA); err != nil {
		return fmt.Errorf("smtpd_tls_CAfile, smtpd_tls_CApath: %w", err)
	}
	return nil
}

// Available says whether there are usable parameters and a certificate to work
// with.
func (s *Server) Available() bool {
	return s.base != nil && (s.sni != nil || len(s.certs.current()) > 0)
}

// Close ends the watch over the files.
func (s *Server) Close() {
	if s != nil && s.certs != nil {
		s.certs.close()
	}
}

// refuse names what is asked for and cannot be had.
func (p *ServerParams) refuse(log Logger) error {
	if p.EnableRPK {
		return errors.New("smtpd_tls_enable_rpk: raw public keys are not supported")
	}
	for _, u := range [...][2]string{
		{"smtpd_tls_dh1024_param_file", p.unused.dh1024},
		{"smtpd_tls_dh512_param_file", p.unused.dh512},
		{"tls_ffdhe_auto_groups", p.unused.ffdhe},
	} {
		if u[1] != "" && u[1] != "auto" {
			log.Warningf("%s has no effect: finite-field Diffie-Hellman is not used", u[0])
		}
	}
	if !p.unused.alwaysIDs {
		log.Warningf("smtpd_tls_always_issue_session_ids = no has no effect: sessions are resumed by tickets only")
	}
	return nil
}

// config makes what all sessions share. Mandatory parameters count where TLS
// is mandatory.
func (p *ServerParams) config(level Level, log Logger) (*tls.Config, error) {
	protocols, grade := Named{"smtpd_tls_protocols", p.Protocols}, p.Ciphers
	excluded := []Named{{"smtpd_tls_exclude_ciphers", p.ExcludeCiphers}}
	if level == Encrypt {
		protocols, grade = Named{"smtpd_tls_mandatory_protocols", p.Mandatory}, p.MandatoryCiphers
		excluded = append(excluded, Named{"smtpd_tls_mandatory_exclude_ciphers", p.MandatoryExclude})
	}
	var exclude []string
	for _, e := range excluded {
		exclude = append(exclude, e.Value)
	}
	v, err := ParseProtocols(protocols.Value)
	if err != nil {
		return nil, err
	}
	c := &tls.Config{MinVersion: v.Min, MaxVersion: v.Max}
	if c.CipherSuites, err = p.Grades.Ciphers(grade, exclude...); err != nil {
		return nil, err
	}
	var odd []string
	c.CurvePreferences, odd = p.Curves.ids()
	if v.Unknown != "" {
		odd = append(odd, fmt.Sprintf("%s: %s: there is no such TLS version here; it is passed over", protocols.Name, v.Unknown))
	}
	for _, text := range append(odd, p.Grades.Odd(grade, excluded...)...) {
		log.Warningf("%s", text)
	}
	c.SessionTicketsDisabled = p.CacheTimeout <= 0 || p.options(log)
	if p.AskCcert || p.ReqCcert && level == Encrypt {
		c.ClientAuth = tls.RequestClientCert // what is missing is told in SMTP
	}
	return c, nil
}

// options reads tls_ssl_options and says whether tickets are unwanted. What asks
// for less than crypto/tls does anyway is granted.
func (p *ServerParams) options(log Logger) (noTickets bool) {
	for _, word := range param.Split(p.Options) {
		bits, ok := optionBits(word)
		noTickets = noTickets || bits&noTicket != 0
		switch rest := bits &^ (noTicket | granted); {
		case !ok:
			log.Warningf("tls_ssl_options: %s has no effect", word)
		case rest != 0:
			log.Warningf("tls_ssl_options: %s: %#x has no effect", word, rest)
		}
	}
	return noTickets
}

// Options of OpenSSL: granted are those that hold anyway.
const (
	noTicket         uint64 = 1 << 14
	noResumption     uint64 = 1 << 16
	noCompression    uint64 = 1 << 17
	middleboxCompat  uint64 = 1 << 20
	prioritizeChaCha uint64 = 1 << 21
	serverPreference uint64 = 1 << 22
	noRenegotiation  uint64 = 1 << 30
	granted                 = noResumption | noCompression | middleboxCompat | prioritizeChaCha | serverPreference | noRenegotiation
)

// optionBits are those that a word of tls_ssl_options stands for: a name, or a
// number in hexadecimal.
func optionBits(word string) (uint64, bool) {
	switch strings.ToUpper(word) {
	case "NO_TICKET":
		return noTicket, true
	case "NO_COMPRESSION", "NO_RENEGOTIATION", "NO_SESSION_RESUMPTION_ON_RENEGOTIATION", "PRIORITIZE_CHACHA",
		"ENABLE_MIDDLEBOX_COMPAT", "CIPHER_SERVER_PREFERENCE":
		return granted, true
	}
	if digits, ok := strings.CutPrefix(strings.ToLower(word), "0x"); ok {
		n, err := strconv.ParseUint(digits, 16, 64)
		return n, err == nil
	}
	return 0, false
}

func logLevel(s string, log Logger) int {
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
	log.Warningf("unknown smtpd_tls_loglevel value %q: using 1", s)
	return 1
}

// Level returns whether TLS is offered or demanded; a nil server's is None.
func (s *Server) Level() Level {
	if s == nil {
		return None
	}
	return s.level
}

var errNoCertificate = errors.New("no certificate for the name that the client asks for")

// certificate chooses one that the client can use, by the name that it asks for
// where there are certificates by name.
func (s *Server) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	conn, _ := hello.Conn.(*certConn)
	var certs []tls.Certificate
	if s.sni != nil && hello.ServerName != "" && validHost(hello.ServerName) {
		var err error
		if certs, err = s.sni.find(hello.Context(), hello.ServerName); err != nil {
			s.log.Warningf("%v", err)
			return nil, err
		}
	}
	if conn != nil && len(certs) > 0 {
		conn.matched = true
	}
	if len(certs) == 0 {
		certs = s.certs.current()
	}
	if len(certs) == 0 {
		return nil, errNoCertificate
	}
	chosen := preferred(hello, certs)
	if conn != nil {
		conn.cert = chosen
	}
	return chosen, nil
}

// A certConn remembers with which certificate the server answers on it; all
// sessions share one tls.Config, so that tickets of one are good for the next.
type certConn struct {
	net.Conn
	cert    *tls.Certificate
	hello   *tls.ClientHelloInfo
	matched bool // the certificate is for the name that the client asks for
}
