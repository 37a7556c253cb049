//go:build bench

package bench

import (
	"bufio"
	"fmt"
	"net"
	"sort"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/internal/base/sys/systest"
	"postern/internal/protocol/dns/dnstest"
	"postern/test/harness"
)

// restrictions are twenty that many systems have, with two DNS lists, a policy
// server and tables of 1,000 entries.
const restrictions = `mynetworks = 192.0.2.1
relay_domains = far.example
default_transport = discard:
relay_transport = discard:
smtpd_helo_required = yes
smtpd_client_restrictions = permit_mynetworks, check_client_access cidr:@DIR@/etc/clients, check_client_access hash:@DIR@/etc/access,
  reject_unauth_pipelining
smtpd_helo_restrictions = permit_mynetworks, reject_invalid_helo_hostname, reject_non_fqdn_helo_hostname, check_helo_access hash:@DIR@/etc/access
smtpd_sender_restrictions = reject_non_fqdn_sender, reject_unknown_sender_domain, check_sender_access hash:@DIR@/etc/access
smtpd_relay_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination
smtpd_recipient_restrictions = reject_non_fqdn_recipient, reject_unknown_recipient_domain, check_recipient_access hash:@DIR@/etc/access,
  reject_rbl_client bl.example, reject_rbl_client sbl.example, check_policy_service inet:@policy@
smtpd_data_restrictions = reject_unauth_pipelining
`

// policyServer says DUNNO to everything.
func policyServer(t *testing.T) string {
	return systest.Serve(t, "tcp", "127.0.0.1:0", func(c net.Conn) {
		for sc := bufio.NewScanner(c); sc.Scan(); {
			if sc.Text() == "" {
				fmt.Fprint(c, "action=DUNNO\n\n")
			}
		}
	})
}

// TestRestrictions measures how fast both systems take mail under the policy
// above; each message is judged anew.
func TestRestrictions(t *testing.T) {
	if !strings.Contains("restrictions", *only) {
		t.Skip("not asked for")
	}
	zone := "client.example. A 192.0.2.50\nclient.example. MX 10 mx.client.example.\nmx.client.example. A 192.0.2.50\nfar.example. MX 10 mx.far.example.\nmx.far.example. A 192.0.2.51\n"
	server, err := dnstest.Listen("127.0.0.153:53", zone)
	if err != nil {
		harness.Skip(t, "the name server cannot listen: %v", err)
	}
	defer server.Close()
	var hash, cidr strings.Builder
	for n := range 1000 {
		fmt.Fprintf(&hash, "host%d.example REJECT\n", n)
		fmt.Fprintf(&cidr, "198.51.%d.%d/32 REJECT\n", n/250, n%250)
	}
	for _, sessions := range []int{1, 20} {
		rates, used := map[string][]float64{}, map[string][]float64{}
		for range *rounds {
			for _, c := range contenders {
				i := harness.New(t, c.system, harness.Config{Main: baseMain + c.main + strings.ReplaceAll(restrictions, "@policy@", policyServer(t)),
					Files: map[string]string{"access": hash.String(), "clients": cidr.String()}, Place: freshDisk(t)})
				if out, status := i.Run("", "postmap", "hash:"+i.Dir+"/etc/access"); status != 0 {
					t.Fatal(out)
				}
				i.Start()
				w := workload{name: "restrictions", domain: "far.example"}
				n := messages(4096, sessions)
				send(t, i, w, 4096, sessions, max(50, n/10), "warm")
				drained(i)
				syscall.Sync()
				before, begin := cpu(i), time.Now()
				send(t, i, w, 4096, sessions, n, "run")
				elapsed := time.Since(begin)
				drained(i)
				rates[c.name] = append(rates[c.name], float64(n)/elapsed.Seconds())
				used[c.name] = append(used[c.name], (cpu(i)-before).Seconds()*1000/float64(n))
				end(i)
			}
		}
		for name, values := range map[string]map[string][]float64{"accept/s": rates, "cpu s/1000": used} {
			a, b, c := median(values["postern"]), median(values["postfix"]), median(values["postfix tuned"])
			best := max(b, c)
			if name != "accept/s" {
				best = min(b, c)
			}
			fmt.Printf("restrictions/%-4d %-11s postern %9.2f  postfix %9.2f  tuned %9.2f  ratio to the better %5.2f\n", sessions, name, a, b, c, a/best)
		}
	}
}

func median(all []float64) float64 {
	sort.Float64s(all)
	return all[len(all)/2]
}
