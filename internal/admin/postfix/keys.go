package postfix

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"strconv"
	"strings"
	"time"
)

// An algorithm is a kind of key with the parameters that name its files.
type algorithm struct {
	name, prefix  string // of the files that are made
	key, cert     string // the parameters
	defaultParams string // bits, or the curve
	generate      func(params string) (crypto.Signer, error)
}

var algorithms = [...]algorithm{
	{"rsa", "", "smtpd_tls_key_file", "smtpd_tls_cert_file", "2048", generateRSA},
	{"ecdsa", "ec", "smtpd_tls_eckey_file", "smtpd_tls_eccert_file", "secp256r1", generateECDSA},
}

func findAlgorithm(name string) (algorithm, error) {
	for _, a := range algorithms {
		if a.name == name {
			return a, nil
		}
	}
	return algorithm{}, fmt.Errorf("unsupported private key algorithm: %.100q; need rsa or ecdsa", name)
}

func generateRSA(params string) (crypto.Signer, error) {
	bits, err := strconv.Atoi(params)
	if err != nil || bits < 1024 || bits > 16384 {
		return nil, fmt.Errorf("bad size of an RSA key: %.100q; need a number of bits from 1024 to 16384", params)
	}
	return rsa.GenerateKey(rand.Reader, bits)
}

func generateECDSA(params string) (crypto.Signer, error) {
	switch strings.ToLower(params) {
	case "secp256r1", "prime256v1":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "secp384r1":
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "secp521r1":
		return ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	}
	return nil, fmt.Errorf("unsupported curve %.100q; need secp256r1, secp384r1 or secp521r1", params)
}

// algorithmOf says what kind of key signer is.
func algorithmOf(signer crypto.Signer) (algorithm, error) {
	switch signer.(type) {
	case *rsa.PrivateKey:
		return algorithms[0], nil
	case *ecdsa.PrivateKey:
		return algorithms[1], nil
	}
	return algorithm{}, errors.New("the key is neither RSA nor ECDSA")
}

// maxPEM is the size of a file of keys and certificates.
const maxPEM = 1 << 20

// blocks returns the PEM blocks in a file.
func blocks(path string) ([]*pem.Block, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxPEM))
	if err != nil {
		return nil, err
	}
	var list []*pem.Block
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			return list, nil
		}
		list = append(list, block)
	}
}

// readKey returns the first private key in a file.
func readKey(path string) (crypto.Signer, error) {
	list, err := blocks(path)
	if err != nil {
		return nil, err
	}
	for _, b := range list {
		if !strings.HasSuffix(b.Type, "PRIVATE KEY") {
			continue
		}
		if key, err := x509.ParsePKCS1PrivateKey(b.Bytes); err == nil {
			return key, nil
		}
		if key, err := x509.ParseECPrivateKey(b.Bytes); err == nil {
			return key, nil
		}
		key, err := x509.ParsePKCS8PrivateKey(b.Bytes)
		if signer, ok := key.(crypto.Signer); ok && err == nil {
			return signer, nil
		}
		return nil, fmt.Errorf("%s: a private key that cannot be read; one with a password cannot be used", path)
	}
	return nil, fmt.Errorf("no private key found in file: %s", path)
}

// readCertificate returns the first certificate in a file.
func readCertificate(path string) (*x509.Certificate, error) {
	list, err := blocks(path)
	if err != nil {
		return nil, err
	}
	for _, b := range list {
		if b.Type == "CERTIFICATE" {
			c, err := x509.ParseCertificate(b.Bytes)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
			return c, nil
		}
	}
	return nil, fmt.Errorf("no certificate found in file: %s", path)
}

// keyDigest is the SHA2-256 digest of the public key, as TLSA records have it
// (RFC 6698: selector 1, matching type 1).
func keyDigest(key crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(der)
	return sum[:], nil
}

// lifetime of certificates that are signed by their own key.
const lifetime = 36525 * 24 * time.Hour

// usages are what mail servers use a certificate for.
var usages = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}

// selfSigned returns a certificate for the host names, the first of which is
// subject and issuer.
func selfSigned(key crypto.Signer, names []string, now time.Time) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 159))
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	id := sha1.Sum(der) // no more than a name
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: now, NotAfter: now.Add(lifetime),
		BasicConstraintsValid: true, SubjectKeyId: id[:], ExtKeyUsage: usages,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), nil
}

// request returns a certificate signing request.
func request(key crypto.Signer, names []string) ([]byte, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: names}, key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), nil
}

func encodeKey(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// create writes a file that must not be there yet. What is half-written does
// not stay.
func create(path string, text []byte, mode os.FileMode) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, bytes.NewReader(text))
	if err := errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		os.Remove(path)
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
