package starttls

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"strings"
)

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
