package check

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"postern/internal/config/maincf"
	"postern/internal/config/mastercf"
	"postern/internal/config/param"
)

// kinds of key are the middles of the parameters for their files.
var keyKinds = [...][2]string{{"cert_file", "key_file"}, {"eccert_file", "eckey_file"}, {"dcert_file", "dkey_file"}}

// maxPEM is the largest file of keys and certificates that is read, in octets.
const maxPEM = 4 << 20

// checkTLS tells of files with keys and certificates that do not go together.
func (c *checker) checkTLS() {
	for i := range c.services {
		s := &c.services[i]
		conf := c.overridden(s)
		switch s.Command {
		case "smtpd":
			c.checkKeys(conf, s, "smtpd_tls_")
			if !c.reloading {
				c.checkServerTLS(conf, s)
			}
		case "smtp", "lmtp":
			c.checkKeys(conf, s, s.Command+"_tls_")
		}
	}
}

// checkServerTLS tells of a server that offers TLS and has no certificate.
func (c *checker) checkServerTLS(conf *maincf.Config, s *mastercf.Service) {
	asked := ""
	for _, name := range []string{"smtpd_tls_wrappermode", "smtpd_enforce_tls", "smtpd_use_tls"} {
		if c.value(conf, name) == "yes" {
			asked = name
		}
	}
	if level := c.value(conf, "smtpd_tls_security_level"); level != "" && level != "none" {
		asked = "smtpd_tls_security_level"
	}
	if asked == "" {
		return
	}
	for _, name := range []string{"smtpd_tls_cert_file", "smtpd_tls_eccert_file", "smtpd_tls_dcert_file", "smtpd_tls_chain_files"} {
		if v := c.value(conf, name); v != "" && v != "none" {
			return
		}
	}
	c.add(at(conf, asked, c.mainFile(), Finding{Severity: Error, Service: s.Key(),
		Message: fmt.Sprintf("%s = %s, but there is no certificate", asked, c.value(conf, asked)),
		Remedy:  "set smtpd_tls_chain_files to a file with a key and its certificates"}))
}

func (c *checker) checkKeys(conf *maincf.Config, s *mastercf.Service, prefix string) {
	if files := param.Split(c.value(conf, prefix+"chain_files")); len(files) > 0 {
		c.report(conf, s, prefix+"chain_files", "", checkChain(files))
		for _, file := range files {
			if containsKey(file) {
				c.report(conf, s, prefix+"chain_files", file, nil)
			}
		}
	} else {
		for _, kind := range keyKinds {
			cert, key := c.value(conf, prefix+kind[0]), c.value(conf, prefix+kind[1])
			if cert == "" || cert == "none" {
				continue
			}
			c.report(conf, s, prefix+kind[0], key, checkPair(cert, key))
		}
	}
	if file := c.value(conf, prefix+"CAfile"); file != "" {
		c.report(conf, s, prefix+"CAfile", "", checkAuthorities(file))
	}
}

// report makes findings of what is wrong with files. key, where not empty, is
// a file that only root should be able to read.
func (c *checker) report(conf *maincf.Config, s *mastercf.Service, name, key string, err error) {
	f := Finding{Severity: Error, Service: s.Key()}
	var soon *expiry
	switch {
	case errors.As(err, &soon):
		f.Message, f.Remedy = err.Error(), "renew the certificate"
		if !soon.over || c.reloading { // the one in use has run out as well
			f.Severity = Warning
		}
	case err != nil:
		f.Message, f.Remedy = err.Error(), "name a key and the certificate made for it, in PEM form, unencrypted"
		if strings.HasSuffix(name, "CAfile") {
			f.Remedy = "name a file with certificates in PEM form"
		}
	case key != "" && readableByOthers(key):
		f.Severity, f.Message, f.Remedy = Warning, fmt.Sprintf("everybody can read the private key %s", key), "chmod 600 "+key
	default:
		return
	}
	f.Message = name + ": " + f.Message
	c.add(at(conf, name, c.mainFile(), f))
}

func readableByOthers(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode().IsRegular() && st.Mode()&0o004 != 0
}

// An expiry is a certificate that has run out, or will soon.
type expiry struct {
	file string
	at   time.Time
	over bool
}

func (e *expiry) Error() string {
	if e.over {
		return fmt.Sprintf("the certificate in %s ran out on %s", e.file, e.at.Format(time.DateOnly))
	}
	return fmt.Sprintf("the certificate in %s runs out on %s", e.file, e.at.Format(time.DateOnly))
}

// notice is how long before its end a certificate is warned of.
const notice = 7 * 24 * time.Hour

// checkPair loads a certificate and its key.
func checkPair(cert, key string) error {
	certs, err := readPEM(cert)
	if err != nil {
		return err
	}
	keys, err := readPEM(key)
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(certs, keys)
	if err != nil {
		return fmt.Errorf("%s and %s: %w", cert, key, err)
	}
	return checkDates(cert, pair)
}

func checkDates(file string, pair tls.Certificate) error {
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if left := time.Until(leaf.NotAfter); left < notice {
		return &expiry{file: file, at: leaf.NotAfter, over: left < 0}
	}
	return nil
}

// checkChain loads files with private keys, each followed by its certificates.
// A key and its certificates may stand in files of their own.
func checkChain(files []string) error {
	var k keys
	for _, file := range files {
		rest, err := readPEM(file)
		if err != nil {
			return err
		}
		for {
			var block *pem.Block
			if block, rest = pem.Decode(rest); block == nil {
				break
			}
			if err := k.add(file, block); err != nil {
				return err
			}
		}
	}
	if err := k.finish(); err != nil {
		return err
	}
	if k.pairs == 0 {
		return fmt.Errorf("%s: no private key", strings.Join(files, ", "))
	}
	return nil
}

// keys puts keys and certificates together as they come.
type keys struct {
	file       string // of the key
	key, certs []byte
	pairs      int
}

func isKey(block *pem.Block) bool {
	return block.Type == "PRIVATE KEY" || block.Type == "RSA PRIVATE KEY" || block.Type == "EC PRIVATE KEY"
}

func (k *keys) add(file string, block *pem.Block) error {
	switch {
	case isKey(block):
		if err := k.finish(); err != nil {
			return err
		}
		k.file, k.key, k.certs = file, pem.EncodeToMemory(block), nil
	case block.Type == "CERTIFICATE" && k.key == nil:
		return fmt.Errorf("%s: a certificate stands before its key", file)
	case block.Type == "CERTIFICATE":
		k.certs = append(k.certs, pem.EncodeToMemory(block)...)
	}
	return nil
}

func (k *keys) finish() error {
	if k.key == nil {
		return nil
	}
	pair, err := tls.X509KeyPair(k.certs, k.key)
	if err != nil {
		return fmt.Errorf("%s: %w", k.file, err)
	}
	k.pairs++
	return checkDates(k.file, pair)
}

// containsKey says whether a file has a private key in it.
func containsKey(file string) bool {
	text, err := readPEM(file)
	return err == nil && bytes.Contains(text, []byte("PRIVATE KEY-----"))
}

func checkAuthorities(file string) error {
	text, err := readPEM(file)
	if err != nil {
		return err
	}
	if !x509.NewCertPool().AppendCertsFromPEM(text) {
		return fmt.Errorf("%s: no certificate", file)
	}
	return nil
}

func readPEM(path string) ([]byte, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, reason(err))
	}
	if !st.Mode().IsRegular() || st.Size() > maxPEM {
		return nil, fmt.Errorf("%s: not a file of keys and certificates", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, reason(err))
	}
	if !bytes.Contains(text, []byte("-----BEGIN ")) {
		return nil, fmt.Errorf("%s: not in PEM form", path)
	}
	return text, nil
}
