package sasl

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/xdg-go/scram"
	"github.com/xdg-go/stringprep"
	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// A Secret is what a server keeps of a password.
type Secret interface {
	// Verify says whether the password is the right one. It takes as long for
	// a wrong one.
	Verify(password string) bool
}

// Schemes lists the names by which secrets are stored, the default first.
func Schemes() []string {
	return []string{schemeSCRAM256, schemeArgon2id, schemeBcrypt, schemeSHA512Crypt, schemeSSHA, schemeSCRAM1}
}

// The schemes, by Dovecot's names.
const (
	schemeSSHA        = "SSHA"          // salted SHA-1, RFC 2307's {SSHA}
	schemeSHA512Crypt = "SHA512-CRYPT"  // crypt(3), $6$
	schemeBcrypt      = "BLF-CRYPT"     // crypt(3), $2y$
	schemeArgon2id    = "ARGON2ID"      // RFC 9106
	schemeSCRAM256    = "SCRAM-SHA-256" // RFC 7677
	schemeSCRAM1      = "SCRAM-SHA-1"   // RFC 5802
)

// Bounds of what a stored secret may cost, so that one line of a table cannot
// stop the server.
const (
	maxPassword    = 1024 // octets
	maxBcryptCost  = 15
	maxIterations  = 10_000_000
	maxArgonMemory = 512 * 1024 // KiB
	maxArgonTime   = 32
)

// ParseSecret reads "{SCHEME}secret".
func ParseSecret(text string) (Secret, error) {
	rest, ok := strings.CutPrefix(text, "{")
	scheme, value, closed := strings.Cut(rest, "}")
	if !ok || !closed {
		return nil, errors.New("no {SCHEME} before the secret")
	}
	switch strings.ToUpper(scheme) {
	case schemeSSHA:
		return parseSSHA(value)
	case schemeSHA512Crypt:
		return parseSHA512Crypt(value)
	case schemeBcrypt:
		cost, err := bcrypt.Cost([]byte(value))
		if err != nil || cost > maxBcryptCost {
			return nil, fmt.Errorf("{%s}: malformed, or of a cost above %d", schemeBcrypt, maxBcryptCost)
		}
		return bcryptSecret(value), nil
	case schemeArgon2id:
		return parseArgon2id(value)
	case schemeSCRAM256:
		return parseSCRAM(scram.SHA256, value)
	case schemeSCRAM1:
		return parseSCRAM(scram.SHA1, value)
	}
	return nil, fmt.Errorf("{%s} is not supported: use one of %s", printable(scheme), strings.Join(Schemes(), ", "))
}

// NewSecret makes a secret of a password, in the form that ParseSecret reads.
func NewSecret(scheme, password string) (string, error) {
	if password == "" || len(password) > maxPassword {
		return "", fmt.Errorf("a password has 1 to %d octets", maxPassword)
	}
	password = prepared(password)
	salt := make([]byte, 16)
	if _, err := rand.Read(salt); err != nil {
		return "", err
	}
	switch scheme {
	case schemeSSHA:
		return "{SSHA}" + base64.StdEncoding.EncodeToString(append(ssha(password, salt), salt...)), nil
	case schemeSHA512Crypt:
		return "{SHA512-CRYPT}" + newSHA512Crypt(password, salt), nil
	case schemeBcrypt:
		if len(password) > 72 {
			return "", errors.New("bcrypt takes passwords of up to 72 octets: choose another scheme")
		}
		h, err := bcrypt.GenerateFromPassword([]byte(password), 11)
		return "{BLF-CRYPT}" + strings.Replace(string(h), "$2a$", "$2y$", 1), err
	case schemeArgon2id:
		a := argonSecret{time: 3, memory: 32 * 1024, threads: 1, salt: salt, length: 32}
		a.sum = a.derive(password)
		return "{ARGON2ID}" + a.String(), nil
	case schemeSCRAM256:
		text, err := newSCRAM(scram.SHA256, password, salt)
		return "{SCRAM-SHA-256}" + text, err
	case schemeSCRAM1:
		text, err := newSCRAM(scram.SHA1, password, salt)
		return "{SCRAM-SHA-1}" + text, err
	}
	return "", fmt.Errorf("unknown scheme %q: use one of %s", scheme, strings.Join(Schemes(), ", "))
}

// prepared is the password as SASLprep (RFC 4013) has it; one that it does not
// allow stays as it is.
func prepared(password string) string {
	if p, err := stringprep.SASLprep.Prepare(password); err == nil && p != "" {
		return p
	}
	return password
}

func equal(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }

// sshaSecret is SHA-1 of password and salt, followed by the salt.
type sshaSecret struct{ sum, salt []byte }

func parseSSHA(value string) (Secret, error) {
	b, err := base64.StdEncoding.DecodeString(value)
	if err != nil || len(b) <= sha1.Size {
		return nil, errors.New("{SSHA}: malformed")
	}
	return sshaSecret{b[:sha1.Size], b[sha1.Size:]}, nil
}

func ssha(password string, salt []byte) []byte {
	sum := sha1.Sum(append([]byte(password), salt...))
	return sum[:]
}

func (s sshaSecret) Verify(password string) bool { return equal(ssha(password, s.salt), s.sum) }

type bcryptSecret string

func (s bcryptSecret) Verify(password string) bool {
	if len(password) > 72 {
		password = password[:72] // crypt(3): what follows has no effect
	}
	return bcrypt.CompareHashAndPassword([]byte(s), []byte(password)) == nil
}

// argonSecret is $argon2id$v=19$m=…,t=…,p=…$salt$sum.
type argonSecret struct {
	time, memory uint32
	threads      uint8
	length       uint32
	salt, sum    []byte
}

func parseArgon2id(value string) (Secret, error) {
	bad := func(why string) (Secret, error) { return nil, errors.New("{ARGON2ID}: " + why) }
	f := strings.Split(value, "$")
	if len(f) != 6 || f[0] != "" || f[1] != "argon2id" || f[2] != "v=19" {
		return bad("malformed")
	}
	var s argonSecret
	if n, err := fmt.Sscanf(f[3], "m=%d,t=%d,p=%d", &s.memory, &s.time, &s.threads); err != nil || n != 3 {
		return bad("malformed")
	}
	if s.memory < 8 || s.memory > maxArgonMemory || s.time < 1 || s.time > maxArgonTime || s.threads < 1 {
		return bad("costs are out of bounds")
	}
	var err1, err2 error
	s.salt, err1 = base64.RawStdEncoding.DecodeString(f[4])
	s.sum, err2 = base64.RawStdEncoding.DecodeString(f[5])
	if err1 != nil || err2 != nil || len(s.salt) < 8 || len(s.salt) > 64 || len(s.sum) < 16 || len(s.sum) > 64 {
		return bad("malformed")
	}
	s.length = uint32(len(s.sum))
	return s, nil
}

func (s argonSecret) String() string {
	enc := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$%s$%s", s.memory, s.time, s.threads, enc(s.salt), enc(s.sum))
}

func (s argonSecret) derive(password string) []byte {
	return argon2.IDKey([]byte(password), s.salt, s.time, s.memory, s.threads, s.length)
}

func (s argonSecret) Verify(password string) bool { return equal(s.derive(password), s.sum) }

// scramSecret is iterations,salt,StoredKey,ServerKey, the three last in base64.
type scramSecret struct {
	hash scram.HashGeneratorFcn
	scram.StoredCredentials
}

func parseSCRAM(hash scram.HashGeneratorFcn, value string) (Secret, error) {
	f := strings.Split(value, ",")
	if len(f) != 4 {
		return nil, errors.New("SCRAM secret: malformed: want iterations,salt,stored-key,server-key")
	}
	s := scramSecret{hash: hash}
	var err error
	if s.Iters, err = strconv.Atoi(f[0]); err != nil || s.Iters < 1 || s.Iters > maxIterations {
		return nil, errors.New("SCRAM secret: the number of iterations is out of bounds")
	}
	var parts [3][]byte
	for i := range parts {
		if parts[i], err = base64.StdEncoding.DecodeString(f[i+1]); err != nil || len(parts[i]) == 0 || len(parts[i]) > 1024 {
			return nil, errors.New("SCRAM secret: malformed")
		}
	}
	size := hash().Size()
	if s.Salt, s.StoredKey, s.ServerKey = string(parts[0]), parts[1], parts[2]; len(s.StoredKey) != size || len(s.ServerKey) != size {
		return nil, errors.New("SCRAM secret: keys of a wrong length")
	}
	return s, nil
}

// iterations of new secrets. A client makes as many.
const iterations = 65536

func newSCRAM(hash scram.HashGeneratorFcn, password string, salt []byte) (string, error) {
	stored, server, err := scramKeys(hash, password, salt, iterations)
	enc := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("%d,%s,%s,%s", iterations, enc(salt), enc(stored), enc(server)), err
}

// scramKeys are StoredKey and ServerKey of RFC 5802 3.
func scramKeys(hash scram.HashGeneratorFcn, password string, salt []byte, iterations int) (stored, server []byte, err error) {
	salted, err := pbkdf2.Key(hash, password, salt, iterations, hash().Size())
	if err != nil {
		return nil, nil, err
	}
	sum := func(text string) []byte {
		m := hmac.New(hash, salted)
		m.Write([]byte(text))
		return m.Sum(nil)
	}
	h := hash()
	h.Write(sum("Client Key"))
	return h.Sum(nil), sum("Server Key"), nil
}

func (s scramSecret) Verify(password string) bool {
	stored, server, err := scramKeys(s.hash, password, []byte(s.Salt), s.Iters)
	return err == nil && equal(stored, s.StoredKey) && equal(server, s.ServerKey)
}
