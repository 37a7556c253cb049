package database

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// TLS says how a connection is encrypted.
type TLS struct {
	Cert, Key      string // files of the client's certificate and key
	CAFile, CAPath string // who may sign the server's certificate; none: the system's
	Ciphers        []string
	VerifyChain    bool // the server's certificate must be signed by one of them
	VerifyName     bool // and name the host
}

// Any says whether anything is set.
func (t *TLS) Any() bool {
	return t.Cert != "" || t.Key != "" || t.CAFile != "" || t.CAPath != "" || len(t.Ciphers) > 0 || t.VerifyChain || t.VerifyName
}

// Config reads the files and returns the configuration for a connection to
// host.
func (t *TLS) Config(host string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host, InsecureSkipVerify: true}
	for _, name := range t.Ciphers {
		i := slices.IndexFunc(tls.CipherSuites(), func(s *tls.CipherSuite) bool { return s.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("unknown TLS cipher suite %q; names are as in RFC 5289: TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", name)
		}
		c.CipherSuites = append(c.CipherSuites, tls.CipherSuites()[i].ID)
	}
	if t.Cert != "" {
		key := t.Key
		if key == "" {
			key = t.Cert
		}
		pair, err := tls.LoadX509KeyPair(t.Cert, key)
		if err != nil {
			return nil, fmt.Errorf("certificate %s, key %s: %w", t.Cert, key, err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	if !t.VerifyChain && !t.VerifyName {
		return c, nil
	}
	roots, err := t.roots()
	if err != nil {
		return nil, err
	}
	c.VerifyConnection = func(s tls.ConnectionState) error { return verify(s, roots, t.VerifyName, host) }
	return c, nil
}

// roots returns who may sign; nil means the system's.
func (t *TLS) roots() (*x509.CertPool, error) {
	files := []string{t.CAFile}
	switch {
	case t.CAFile != "":
	case t.CAPath != "":
		entries, err := os.ReadDir(t.CAPath)
		if err != nil {
			return nil, err
		}
		files = nil
		for _, e := range entries {
			files = append(files, filepath.Join(t.CAPath, e.Name()))
		}
	default:
		return nil, nil
	}
	pool, any := x509.NewCertPool(), false
	for _, file := range files {
		pem, err := os.ReadFile(file)
		if err != nil && t.CAFile != "" {
			return nil, err
		}
		any = pool.AppendCertsFromPEM(pem) || any
	}
	if !any {
		return nil, fmt.Errorf("%s%s: no certificates", t.CAFile, t.CAPath)
	}
	return pool, nil
}

func verify(s tls.ConnectionState, roots *x509.CertPool, name bool, host string) error {
	if len(s.PeerCertificates) == 0 {
		return errors.New("the server has no certificate")
	}
	o := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
	for _, cert := range s.PeerCertificates[1:] {
		o.Intermediates.AddCert(cert)
	}
	if name {
		o.DNSName = host
	}
	_, err := s.PeerCertificates[0].Verify(o)
	return err
}
