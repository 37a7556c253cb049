package starttls

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// KeyFiles name the certificates and keys of one side. Empty names are unset.
type KeyFiles struct {
	Chains          []string // *_tls_chain_files: each holds keys, each followed by its chain
	Cert, Key       string   // RSA, in practice any kind
	ECCert, ECKey   string
	DSACert, DSAKey string
}

// none is how smtpd_tls_cert_file says that there is none on purpose.
const none = "none"

// Empty says that no certificate is named.
func (f *KeyFiles) Empty() bool {
	return len(f.Chains) == 0 && (f.Cert == "" || f.Cert == none) && f.ECCert == ""
}

// paths lists the files that are read.
func (f *KeyFiles) paths() []string {
	if len(f.Chains) > 0 {
		return f.Chains
	}
	var list []string
	for _, p := range [...]string{f.Cert, f.Key, f.ECCert, f.ECKey} {
		if p != "" && p != none {
			list = append(list, p)
		}
	}
	return list
}

// load reads all certificates with their keys.
func (f *KeyFiles) load() ([]tls.Certificate, error) {
	if len(f.Chains) > 0 {
		var all []tls.Certificate
		for _, path := range f.Chains {
			list, err := loadChainFile(path)
			if err != nil {
				return nil, err
			}
			all = append(all, list...)
		}
		return all, nil
	}
	if f.DSACert != "" {
		return nil, errors.New("DSA certificates are not supported (smtpd_tls_dcert_file)")
	}
	var all []tls.Certificate
	for _, p := range [...][2]string{{f.Cert, f.Key}, {f.ECCert, f.ECKey}} {
		if p[0] == "" || p[0] == none {
			continue
		}
		c, err := tls.LoadX509KeyPair(p[0], p[1])
		if err != nil {
			return nil, fmt.Errorf("cannot get certificate and key from %q and %q: %w", p[0], p[1], err)
		}
		all = append(all, c)
	}
	return all, nil
}

// loadChainFile reads a file of private keys, each followed by its certificate
// and those of its issuers.
func loadChainFile(path string) ([]tls.Certificate, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	all, err := parseChains(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return all, nil
}

// parseChains reads the text of such a file.
func parseChains(text []byte) ([]tls.Certificate, error) {
	var all []tls.Certificate
	var key, certs []byte
	flush := func() error {
		if key == nil {
			return nil
		}
		c, err := tls.X509KeyPair(certs, key)
		if err != nil {
			return err
		}
		all = append(all, c)
		key, certs = nil, nil
		return nil
	}
	for len(text) > 0 {
		var b *pem.Block
		if b, text = pem.Decode(text); b == nil {
			break
		}
		switch b.Type {
		case "CERTIFICATE":
			if key == nil {
				return nil, errors.New("a certificate stands before any private key")
			}
			certs = append(certs, pem.EncodeToMemory(b)...)
		case "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY":
			if err := flush(); err != nil {
				return nil, err
			}
			key = pem.EncodeToMemory(b)
		}
	}
	if err := flush(); err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, errors.New("no private key")
	}
	return all, nil
}

// preferred chooses among several certificates the one of the kind that the
// client names first, in its list of ciphers or, with TLS 1.3, of signatures.
// Postfix: OpenSSL's choice, as long as the order is the client's.
func preferred(hello *tls.ClientHelloInfo, certs []tls.Certificate) *tls.Certificate {
	var usable []*tls.Certificate
	for i := range certs {
		if hello.SupportsCertificate(&certs[i]) == nil {
			usable = append(usable, &certs[i])
		}
	}
	switch len(usable) {
	case 0:
		return &certs[0]
	case 1:
		return usable[0]
	}
	for _, kind := range kindsAskedFor(hello) {
		for _, c := range usable {
			if keyKind(publicKey(c)) == kind {
				return c
			}
		}
	}
	return usable[0]
}

// The kinds of keys that a client's lists tell apart.
const (
	kindRSA     = "RSA"
	kindECDSA   = "ECDSA"
	kindEd25519 = "Ed25519"
)

func keyKind(key crypto.PublicKey) string {
	switch key.(type) {
	case *rsa.PublicKey:
		return kindRSA
	case *ecdsa.PublicKey:
		return kindECDSA
	case ed25519.PublicKey:
		return kindEd25519
	}
	return ""
}

// kindsAskedFor lists kinds of keys in the client's order, some more than once.
func kindsAskedFor(hello *tls.ClientHelloInfo) []string {
	var kinds []string
	if slices.Contains(hello.SupportedVersions, tls.VersionTLS13) {
		for _, scheme := range hello.SignatureSchemes {
			switch scheme {
			case tls.PSSWithSHA256, tls.PSSWithSHA384, tls.PSSWithSHA512:
				kinds = append(kinds, kindRSA)
			case tls.ECDSAWithP256AndSHA256, tls.ECDSAWithP384AndSHA384, tls.ECDSAWithP521AndSHA512:
				kinds = append(kinds, kindECDSA)
			case tls.Ed25519:
				kinds = append(kinds, kindEd25519)
			}
		}
		return kinds
	}
	for _, id := range hello.CipherSuites {
		name, _ := CipherName(id)
		switch {
		case strings.HasPrefix(name, "ECDHE-ECDSA-"):
			kinds = append(kinds, kindECDSA)
		case strings.HasPrefix(name, "ECDHE-RSA-"), strings.HasPrefix(name, "AES"):
			kinds = append(kinds, kindRSA)
		}
	}
	return kinds
}

// publicKey returns the key of a certificate.
func publicKey(c *tls.Certificate) crypto.PublicKey {
	if c == nil || c.Leaf == nil {
		return nil
	}
	return c.Leaf.PublicKey
}

// loadCAs reads trusted issuers from a file and from the files of a directory.
// Without either the pool is nil.
func loadCAs(file, dir string, system bool) (*x509.CertPool, error) {
	var files []string
	if file != "" {
		files = append(files, file)
	}
	if dir != "" {
		// Postfix: a directory that is not there has no issuers.
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, e := range entries {
			files = append(files, filepath.Join(dir, e.Name()))
		}
	}
	if len(files) == 0 && !system {
		return nil, nil
	}
	pool := x509.NewCertPool()
	if system {
		var err error
		if pool, err = x509.SystemCertPool(); err != nil {
			return nil, err
		}
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			if f == file {
				return nil, err
			}
			continue
		}
		if !pool.AppendCertsFromPEM(text) && f == file {
			return nil, fmt.Errorf("%s: no certificates", f)
		}
	}
	return pool, nil
}

// A stamp tells whether files have changed.
type stamp struct {
	size int64
	mod  time.Time
}

// stamps looks at the files; an error says that one is out of sight.
func stamps(paths []string) ([]stamp, error) {
	list := make([]stamp, len(paths))
	var first error
	for i, p := range paths {
		info, err := os.Stat(p)
		if err == nil {
			list[i] = stamp{info.Size(), info.ModTime()}
		} else if first == nil {
			first = err
		}
	}
	return list, first
}
