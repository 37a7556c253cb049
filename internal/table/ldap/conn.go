package ldap

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	goldap "github.com/go-ldap/ldap/v3"

	"postern/internal/table"
	"postern/internal/table/database"
)

// client is what all connections of a table are made with.
type client struct {
	config   *database.Config
	bind     string // none, simple or sasl
	dn, pw   string
	mechs    []string
	authzID  string
	startTLS bool
	tls      database.TLS
	timeout  time.Duration
	chase    bool // chase_referrals
}

// A conn is a connection to a server, bound.
type conn struct {
	*goldap.Conn
	client *client
}

// read reads the parameters of connections and returns the servers.
func (k *client) read(c *database.Config, o *table.Opener) []database.Host {
	k.timeout = c.Seconds("timeout", 10, 1)
	k.dn, k.pw = c.Str("bind_dn", ""), c.Str("bind_pw", "")
	k.mechs, k.authzID = c.List("sasl_mechs", ""), c.Str("sasl_authz_id", "")
	k.chase = c.Bool("chase_referrals", false)
	if v := c.Int("version", 3, 2); v > 3 {
		c.Failf("version = %d: use 3", v)
	}
	switch bind := strings.ToLower(c.Str("bind", "yes")); bind {
	case "no", "none":
		k.bind = "none"
	case "yes", "simple":
		k.bind = "simple"
	case "sasl":
		k.bind = "sasl"
		for _, m := range k.mechs {
			if m = strings.ToUpper(m); m != "EXTERNAL" && m != "DIGEST-MD5" {
				c.Failf("sasl_mechs: %s is not supported; use EXTERNAL, DIGEST-MD5, or bind = simple over TLS", m)
			}
		}
	default:
		c.Failf("bind = %s: use none, simple or sasl", bind)
	}
	c.Int("sasl_minssf", 0, 0)
	k.startTLS = c.Bool("start_tls", false)
	k.tls = database.TLS{Cert: c.Str("tls_cert", ""), Key: c.Str("tls_key", ""), CAFile: c.Str("tls_ca_cert_file", ""), CAPath: c.Str("tls_ca_cert_dir", "")}
	k.tls.VerifyChain = c.Bool("tls_require_cert", false)
	k.tls.VerifyName = k.tls.VerifyChain
	if c.Str("tls_cipher_suite", "") != "" {
		o.Warningf("%s: tls_cipher_suite has no effect: it names suites of another TLS library", c.Spec)
	}
	return k.servers(c)
}

// servers returns URLs for server_host: URLs, or hosts with or without a port.
func (k *client) servers(c *database.Config) []database.Host {
	port := c.Str("server_port", "389")
	list := c.List("server_host", "localhost")
	if len(list) == 0 {
		list = []string{"localhost"}
	}
	var hosts []database.Host
	for _, text := range list {
		if !isURL(text) {
			host, port, err := database.HostPort(text, port)
			if err != nil {
				c.Failf("server_host: %q: %w", text, err)
				continue
			}
			text = "ldap://" + net.JoinHostPort(host, port)
		} else if _, _, _, err := endpoint(text); err != nil {
			c.Failf("server_host: %q: %w", text, err)
		}
		hosts = append(hosts, database.Host{Name: text})
	}
	return hosts
}

// endpoint takes the URL of a server apart.
func endpoint(text string) (network, addr string, secure bool, err error) {
	scheme, rest, _ := strings.Cut(text, "://")
	place, _, _ := strings.Cut(rest, "/")
	switch strings.ToLower(scheme) {
	case "ldapi":
		path, err := url.PathUnescape(place)
		if path == "" {
			path = "/var/run/slapd/ldapi"
		}
		return "unix", path, false, err
	case "ldaps":
		secure = true
	}
	host, port := "localhost", "389"
	if secure {
		port = "636"
	}
	if place != "" && place[0] != ':' {
		if host, port, err = database.HostPort(place, port); err != nil {
			return "", "", false, err
		}
	} else if place != "" {
		port = place[1:]
	}
	return "tcp", net.JoinHostPort(host, port), secure, nil
}

func (k *client) dial(ctx context.Context, server string) (*conn, error) {
	c, err := k.connect(ctx, server)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	if err := inTime(ctx, k.authenticate(c, server)); err != nil {
		c.Close()
		return nil, fmt.Errorf("bind: %w", err)
	}
	return c, nil
}

// connect opens a connection and encrypts it where that is asked for.
func (k *client) connect(ctx context.Context, server string) (*conn, error) {
	network, addr, secure, err := endpoint(server)
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	raw, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	host, _, _ := net.SplitHostPort(addr)
	if secure {
		config, err := k.tls.Config(host)
		if err != nil {
			raw.Close()
			return nil, err
		}
		raw = tls.Client(raw, config)
	}
	c := &conn{Conn: goldap.NewConn(raw, secure), client: k}
	c.SetTimeout(k.timeout)
	c.Start()
	if !k.startTLS || secure {
		return c, nil
	}
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	config, err := k.tls.Config(host)
	if err == nil {
		err = inTime(ctx, c.StartTLS(config))
	}
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("start TLS: %w", err)
	}
	return c, nil
}

func (k *client) authenticate(c *conn, server string) error {
	switch {
	case k.bind == "simple" && k.pw != "":
		return c.Bind(k.dn, k.pw)
	case k.bind == "simple":
		return c.UnauthenticatedBind(k.dn)
	case k.bind == "none":
		return nil
	}
	err := errors.New("no mechanism in sasl_mechs")
	for _, m := range k.mechs {
		if strings.EqualFold(m, "EXTERNAL") {
			err = c.ExternalBind()
		} else {
			_, addr, _, _ := endpoint(server)
			host, _, _ := net.SplitHostPort(addr)
			err = c.MD5Bind(host, k.dn, k.pw)
		}
		if err == nil {
			return nil
		}
	}
	return err
}

// search does one search, and closes the connection when ctx ends: go-ldap's
// own time limit does not wake everybody up.
func (c *conn) search(ctx context.Context, request *goldap.SearchRequest) ([]*goldap.Entry, error) {
	return c.searchFrom(ctx, request, maxReferrals)
}

// maxReferrals is how many servers may send a search on to the next.
const maxReferrals = 5

func (c *conn) searchFrom(ctx context.Context, request *goldap.SearchRequest, left int) ([]*goldap.Entry, error) {
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	result, err := c.Search(request)
	if urls := referrals(err); len(urls) > 0 && c.client.chase {
		return c.elsewhere(ctx, urls, request, left)
	}
	if err != nil {
		return nil, hostError(inTime(ctx, err))
	}
	entries := result.Entries
	if !c.client.chase {
		return entries, nil
	}
	for _, referral := range result.Referrals {
		more, err := c.chase(ctx, referral, request, left)
		if err != nil {
			return nil, err
		}
		entries = append(entries, more...)
	}
	return entries, nil
}

// referrals returns where a server sends the whole of a search (RFC 4511
// 4.1.10): any one of the places will do.
func referrals(err error) []string {
	var result *goldap.Error
	if !errors.As(err, &result) || result.ResultCode != goldap.LDAPResultReferral || result.Packet == nil || len(result.Packet.Children) < 2 {
		return nil
	}
	const contextClass, referralTag = 0x80, 3 // BER
	var urls []string
	for _, part := range result.Packet.Children[1].Children {
		if part.ClassType != contextClass || part.Tag != referralTag {
			continue
		}
		for _, u := range part.Children {
			urls = append(urls, u.Data.String())
		}
	}
	return urls
}

// elsewhere asks one place after the other until there is an answer.
func (c *conn) elsewhere(ctx context.Context, urls []string, request *goldap.SearchRequest, left int) (entries []*goldap.Entry, err error) {
	for _, u := range urls[:min(len(urls), maxReferrals)] {
		if entries, err = c.chase(ctx, u, request, left); err == nil {
			return entries, nil
		}
	}
	return nil, err
}

// chase searches on at another server, to which no password is sent. left is how
// many more there may be.
func (c *conn) chase(ctx context.Context, referral string, request *goldap.SearchRequest, left int) ([]*goldap.Entry, error) {
	if left == 0 || !isURL(referral) {
		return nil, fmt.Errorf("referral to %q: too many, or not to an LDAP server", referral)
	}
	u, err := parseURL(referral)
	if err != nil {
		return nil, fmt.Errorf("referral to %q: %w", referral, err)
	}
	next, err := c.client.connect(ctx, referral)
	if err != nil {
		return nil, fmt.Errorf("referral to %q: %w", referral, err)
	}
	defer next.Close()
	r := *request
	if u.base != "" {
		r.BaseDN = u.base
	}
	entries, err := next.searchFrom(ctx, &r, left-1)
	if err != nil {
		return nil, fmt.Errorf("referral to %q: %w", referral, err)
	}
	return entries, nil
}

// inTime says of the error of a connection that was closed when ctx ended, that
// there was no answer.
func inTime(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("no answer: %w", ctx.Err())
	}
	return err
}

func seconds(d time.Duration) int { return int(d / time.Second) }
