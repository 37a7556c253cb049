package restrict

import "postern/internal/mail/dsn"

// An argKind says what follows the name of a restriction.
type argKind uint8

const (
	noArg     argKind = iota
	tableArg          // type:table
	domainArg         // a DNS list, domain[=filter]
	policyArg         // a policy server
	numberArg         // seconds
)

// A definition is a restriction that the lists may name.
type definition struct {
	name    string
	arg     argKind
	check   func(v *eval, it *item) Verdict
	warn    bool   // warn_if_reject: it changes what follows
	removed string // what to use instead
}

// A Name is a restriction as the reference is told of it.
type Name struct {
	Name     string
	Argument string // what follows it, in words; empty for nothing
	Built    bool   // it does something
}

// Names lists all restrictions, those that are not built included.
func Names() []Name {
	arguments := [...]string{tableArg: "a table, type:name", domainArg: "a DNS list, domain or domain=filter", policyArg: "a policy service", numberArg: "a number of seconds"}
	var list []Name
	for _, d := range definitions() {
		list = append(list, Name{d.name, arguments[d.arg], d.check != nil || d.warn})
	}
	return list
}

// index is the table by name.
func index() map[string]*definition {
	m := map[string]*definition{}
	for _, d := range definitions() {
		m[d.name] = &d
	}
	return m
}

func classDefinition() *definition { return &definition{name: "restriction class"} }

func statusFor(s string) dsn.Status { return dsn.Status(s) }

// definitions is the table of all restrictions.
//
// Postfix: postconf(5), smtpd_client_restrictions and the other lists.
func definitions() []definition {
	return []definition{
		// Any list.
		{name: "permit", check: checkPermit},
		{name: "reject", check: checkReject},
		{name: "defer", check: checkDefer},
		{name: "defer_if_permit", check: checkDeferIfPermit},
		{name: "defer_if_reject", check: checkDeferIfReject},
		{name: "warn_if_reject", warn: true},
		{name: "sleep", arg: numberArg, check: checkSleep},
		{name: "check_policy_service", arg: policyArg, check: checkPolicyService},
		{name: "reject_multi_recipient_bounce", check: rejectMultiRecipientBounce},
		{name: "reject_plaintext_session", check: rejectPlaintextSession},
		{name: "reject_unauth_pipelining", check: rejectUnauthPipelining},

		// Client.
		{name: "permit_inet_interfaces", check: permitInetInterfaces},
		{name: "permit_mynetworks", check: permitMynetworks},
		{name: "permit_sasl_authenticated", check: permitSASLAuthenticated},
		{name: "permit_tls_clientcerts", check: permitTLSClientcerts},
		{name: "permit_tls_all_clientcerts", check: permitTLSAllClientcerts},
		{name: "reject_unknown_client_hostname", check: rejectUnknownClient},
		{name: "reject_unknown_client", check: rejectUnknownClient},
		{name: "reject_unknown_reverse_client_hostname", check: rejectUnknownReverseClient},
		{name: "check_client_access", arg: tableArg, check: checkClientAccess},
		{name: "check_reverse_client_hostname_access", arg: tableArg, check: checkReverseClientAccess},
		{name: "check_sasl_access", arg: tableArg, check: checkSASLAccess},
		{name: "check_ccert_access", arg: tableArg, check: checkCcertAccess},
		{name: "check_client_a_access", arg: tableArg, check: checkClientServer(hostA)},
		{name: "check_client_mx_access", arg: tableArg, check: checkClientServer(hostMX)},
		{name: "check_client_ns_access", arg: tableArg, check: checkClientServer(hostNS)},
		{name: "check_reverse_client_hostname_a_access", arg: tableArg, check: checkReverseServer(hostA)},
		{name: "check_reverse_client_hostname_mx_access", arg: tableArg, check: checkReverseServer(hostMX)},
		{name: "check_reverse_client_hostname_ns_access", arg: tableArg, check: checkReverseServer(hostNS)},
		{name: "reject_rbl_client", arg: domainArg, check: rejectRBLClient},
		{name: "reject_rhsbl_client", arg: domainArg, check: rejectRHSBLClient},
		{name: "reject_rhsbl_reverse_client", arg: domainArg, check: rejectRHSBLReverseClient},
		{name: "permit_dnswl_client", arg: domainArg, check: permitDNSWLClient},
		{name: "permit_rhswl_client", arg: domainArg, check: permitRHSWLClient},

		// HELO.
		{name: "reject_invalid_helo_hostname", check: rejectInvalidHelo},
		{name: "reject_invalid_hostname", check: rejectInvalidHelo},
		{name: "reject_non_fqdn_helo_hostname", check: rejectNonFQDNHelo},
		{name: "reject_non_fqdn_hostname", check: rejectNonFQDNHelo},
		{name: "reject_unknown_helo_hostname", check: rejectUnknownHelo},
		{name: "reject_unknown_hostname", check: rejectUnknownHelo},
		{name: "check_helo_access", arg: tableArg, check: checkHeloAccess},
		{name: "check_helo_a_access", arg: tableArg, check: checkHeloServer(hostA)},
		{name: "check_helo_mx_access", arg: tableArg, check: checkHeloServer(hostMX)},
		{name: "check_helo_ns_access", arg: tableArg, check: checkHeloServer(hostNS)},
		{name: "reject_rhsbl_helo", arg: domainArg, check: rejectRHSBLHelo},

		// Sender.
		{name: "reject_non_fqdn_sender", check: rejectNonFQDNSender},
		{name: "reject_unknown_sender_domain", check: rejectUnknownSenderDomain},
		{name: "reject_unknown_address", check: rejectUnknownSenderDomain},
		{name: "reject_unlisted_sender", check: rejectUnlistedSender},
		{name: "reject_unverified_sender", check: rejectUnverifiedSender},
		{name: "reject_sender_login_mismatch", check: rejectSenderLoginMismatch},
		{name: "reject_authenticated_sender_login_mismatch", check: rejectAuthenticatedLoginMismatch},
		{name: "reject_known_sender_login_mismatch", check: rejectKnownLoginMismatch},
		{name: "reject_unauthenticated_sender_login_mismatch", check: rejectUnauthenticatedLoginMismatch},
		{name: "check_sender_access", arg: tableArg, check: checkSenderAccess},
		{name: "check_sender_a_access", arg: tableArg, check: checkSenderServer(hostA)},
		{name: "check_sender_mx_access", arg: tableArg, check: checkSenderServer(hostMX)},
		{name: "check_sender_ns_access", arg: tableArg, check: checkSenderServer(hostNS)},
		{name: "reject_rhsbl_sender", arg: domainArg, check: rejectRHSBLSender},

		// Recipient and relay.
		{name: "permit_auth_destination", check: permitAuthDestination},
		{name: "permit_mx_backup", check: permitMXBackup},
		{name: "reject_unauth_destination", check: rejectUnauthDestination},
		{name: "defer_unauth_destination", check: deferUnauthDestination},
		{name: "reject_non_fqdn_recipient", check: rejectNonFQDNRecipient},
		{name: "reject_unknown_recipient_domain", check: rejectUnknownRecipientDomain},
		{name: "reject_unlisted_recipient", check: rejectUnlistedRecipient},
		{name: "check_recipient_maps", check: rejectUnlistedRecipient},
		{name: "reject_unverified_recipient", check: rejectUnverifiedRecipient},
		{name: "check_recipient_access", arg: tableArg, check: checkRecipientAccess},
		{name: "check_recipient_a_access", arg: tableArg, check: checkRecipientServer(hostA)},
		{name: "check_recipient_mx_access", arg: tableArg, check: checkRecipientServer(hostMX)},
		{name: "check_recipient_ns_access", arg: tableArg, check: checkRecipientServer(hostNS)},
		{name: "reject_rhsbl_recipient", arg: domainArg, check: rejectRHSBLRecipient},

		// ETRN.
		{name: "check_etrn_access", arg: tableArg, check: checkETRNAccess},

		// Gone since Postfix 3.9.
		{name: "permit_naked_ip_address", removed: "use permit_mynetworks or permit_sasl_authenticated instead"},
		{name: "reject_maps_rbl", removed: "use reject_rbl_client domain-name instead"},
		{name: "check_relay_domains", removed: "use permit_auth_destination, reject instead, or reject_unauth_destination"},
		{name: "reject_rbl", arg: domainArg, check: rejectRBLClient},
	}
}
