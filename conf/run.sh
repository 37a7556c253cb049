#!/bin/sh
# Tries Postern out as an ordinary user: an instance below ./run on ports 2525
# (smtp) and 2587 (submission) of the loopback address. "make run" calls it.
#
# The first run lays the instance out; later ones go on with what is there,
# also with its queue. Ctrl-C stops it.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
run=${RUN:-$top/run}
user=$(id -un)

# Root has no business here: nobody does just as well, and shows that nothing
# of this needs privileges.
if [ "$(id -u)" = 0 ]; then
	user=nobody
	mkdir -p "$run" && chown -R "$user" "$run"
	if ! setpriv --reuid="$user" --clear-groups test -w "$run"; then
		echo "run.sh: the user $user cannot reach $run; set RUN to a folder that it can, or run this as an ordinary user" >&2
		exit 1
	fi
	exec setpriv --reuid="$user" --regid="$(id -g "$user")" --clear-groups env HOME="$run" USER="$user" RUN="$run" sh "$0"
fi

bin=$run/bin
etc=$run/etc
mkdir -p "$bin" "$etc" "$run/queue" "$run/data" "$run/mail" "$run/mailboxes"
for name in postern postdrop postqueue; do
	ln -sf "$top/bin/$name" "$bin/$name"
done
for name in $("$top/bin/postern" programs); do
	ln -sf "$top/bin/postern" "$bin/$name"
done

if [ ! -e "$etc/main.cf" ]; then
	cat >"$etc/main.cf" <<EOF
# An instance to try Postern out: everything runs as the user $user.
compatibility_level = 3.11
queue_directory = $run/queue
data_directory = $run/data
command_directory = $bin
daemon_directory = $bin
sendmail_path = $bin/sendmail
mail_owner = $user
maillog_file = $run/mail.log
maillog_file_prefixes = $run

myhostname = mail.postern.test
mydomain = postern.test
myorigin = \$mydomain
mydestination = \$myhostname, \$mydomain, localhost
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8

# Users of this machine: a Maildir each, below $run/mail.
alias_maps = hash:$etc/aliases
alias_database = hash:$etc/aliases
mail_spool_directory = $run/mail/

# Mailboxes without a user of this machine: name@box.test.
virtual_mailbox_domains = box.test
virtual_mailbox_maps = hash:$etc/vmailbox
virtual_mailbox_base = $run/mailboxes
virtual_uid_maps = static:$(id -u)
virtual_gid_maps = static:$(id -g)
virtual_minimum_uid = 1
virtual_alias_maps = hash:$etc/virtual
EOF
	cat >"$etc/master.cf" <<EOF
# service  type     private unpriv  chroot  wakeup  maxproc command + arguments
127.0.0.1:2525 inet n       -       n       -       -     smtpd
127.0.0.1:2587 inet n       -       n       -       -     smtpd
  -o syslog_name=postfix/submission
  -o smtpd_relay_restrictions=permit_mynetworks,reject
EOF
	# The other services are those of the stock file.
	sed -n '/^pickup/,$p' "$top/conf/master.cf" >>"$etc/master.cf"
	printf 'postmaster: %s\nstaff: %s, demo@box.test\n' "$user" "$user" >"$etc/aliases"
	printf 'demo@box.test demo/\n@box.test all/\n' >"$etc/vmailbox"
	printf 'info@postern.test demo@box.test\n' >"$etc/virtual"
fi
"$bin/postalias" -c "$etc" "hash:$etc/aliases"
"$bin/postmap" -c "$etc" "hash:$etc/vmailbox" "hash:$etc/virtual"

log=$run/mail.log
touch "$log"
seen=$(wc -l <"$log")
"$bin/postfix" -c "$etc" start-fg &
master=$!
trap 'kill -TERM $master 2>/dev/null; wait $master; trap - EXIT; echo; echo "Postern has stopped; the queue is in $run/queue."; exit 0' INT TERM
trap 'kill -TERM $master 2>/dev/null' EXIT

# until_log PATTERN: waits for a line of the log, for ten seconds.
until_log() {
	n=0
	until tail -n +$((seen + 1)) "$log" | grep -q "$1"; do
		kill -0 $master 2>/dev/null || { echo "Postern has ended; its log:"; tail -n 20 "$log"; exit 1; }
		n=$((n + 1))
		[ $n -lt 200 ] || { echo "no line like \"$1\" in $log"; exit 1; }
		sleep 0.05
	done
}
until_log 'daemon started'

cat <<EOF
Postern runs. It listens on
  127.0.0.1:2525  smtp: takes mail for $user@postern.test and anything@box.test
  127.0.0.1:2587  submission: takes mail for anywhere
Send to it, for example:
  printf 'Subject: hi\n\nhello\n' | MAIL_CONFIG=$etc $bin/sendmail demo@box.test
  MAIL_CONFIG=$etc $bin/mailq
Now one message by SMTP and one with sendmail:
EOF
"$top/bin/smtp-source" -addr 127.0.0.1:2525 -from you@client.test -to-prefix demo -to-domain box.test -users 0 -size 400
until_log 'to=<demo@box.test>.*status=sent'
printf 'Subject: with sendmail\n\nThis one came from the command line.\n' | MAIL_CONFIG=$etc "$bin/sendmail" -f you@postern.test "$user@postern.test"
until_log "to=<$user@postern.test>.*status=sent"
echo
echo "They have arrived:"
ls -1 "$run/mailboxes/demo/new" | tail -n 1 | sed "s|^|  $run/mailboxes/demo/new/|"
ls -1 "$run/mail/$user/new" | tail -n 1 | sed "s|^|  $run/mail/$user/new/|"
echo "and this is the log ($log); it goes on until Ctrl-C:"
tail -n +$((seen + 1)) -f "$log" &
tail=$!
trap 'kill $tail 2>/dev/null; kill -TERM $master 2>/dev/null; wait $master; trap - EXIT; echo; echo "Postern has stopped; the queue is in $run/queue."; exit 0' INT TERM
trap 'kill $tail $master 2>/dev/null' EXIT
wait $master
