# Puts Postern in the place of Debian's Postfix, with the configuration that the
# package installs, and has a message delivered. It runs in name spaces of its
# own (mounts, network), on a layer over the private root: nothing outside
# changes. Arguments: the private root, the top of the sources, a work folder.
set -eu
root=$1 top=$2 work=$3
mount -t tmpfs none "$work"
mkdir "$work/upper" "$work/work" "$work/root"
mount -t overlay overlay -o "lowerdir=$root,upperdir=$work/upper,workdir=$work/work" "$work/root"
R=$work/root
mount --bind /proc "$R/proc"
etc=$R/etc/postfix
cp "$R/usr/share/postfix/main.cf.debian" "$etc/main.cf"
cp "$R/usr/share/postfix/master.cf.dist" "$etc/master.cf"
# What Debian's installer asks for; and a log, for there is no system log here.
printf 'myhostname = mail.example.com\nmydestination = $myhostname, example.com, localhost\nmaillog_file = /var/log/mail.log\n' >>"$etc/main.cf"
grep -q '^postlog' "$etc/master.cf" || echo 'postlog unix-dgram n - n - 1 postlogd' >>"$etc/master.cf"
echo 'root: alice' >"$R/etc/aliases"
cp "$etc/main.cf" "$work/main.cf" && cp "$etc/master.cf" "$work/master.cf"
rm -rf "$R/var/spool/postfix" "$R/var/mail" && mkdir -p "$R/var/mail" && chmod 1777 "$R/var/mail"

make -s -C "$top" install "BIN=$work/bin" "DESTDIR=$R"
cmp "$work/main.cf" "$etc/main.cf" && cmp "$work/master.cf" "$etc/master.cf"

sys() { chroot "$R" env -i PATH=/usr/sbin:/usr/bin:/bin "$@"; }
sys postfix set-permissions
sys newaliases
sys postfix check
sys postfix start
trap "sys postfix stop" EXIT
printf 'Subject: stock\n\nhello\n' | sys sendmail -i -f bob@example.com root
n=0
until grep -q '^Subject: stock' "$R/var/mail/alice" 2>/dev/null; do
	n=$((n + 1))
	test $n -lt 100 || { cat "$R/var/log/mail.log"; exit 1; }
	sleep 0.1
done
sys postfix status
echo delivered
