#!/bin/sh
# Lays out everything that the container image holds: the program, the libraries that it is linked
# with and their licences, certificate authorities, a user, and two folders. No shell, no package
# manager.
#
#     packaging/image/rootfs.sh PROGRAM FOLDER
set -eu
program=$1 root=$2
user=65534

mkdir -p "$root/usr/bin" "$root/etc/ssl/certs" "$root/etc/dbtask-exporter" "$root/tmp" \
    "$root/usr/share/doc" "$root/var/lib/dbtask-exporter"
install -m 755 "$program" "$root/usr/bin/dbtask-exporter"

# As `ldd` lists them: `libc.so.6 => /lib/…/libc.so.6 (0x…)`, the loader without an arrow.
ldd "$program" | grep -o '/[^ ]*' | sort -u | while read -r library; do
    mkdir -p "$root$(dirname "$library")"
    cp -L "$library" "$root$library"
    # Debian's packages know the file by the name behind its links, /usr/lib or /lib.
    file=$(readlink -f "$library")
    package=$(dpkg-query -S "$file" "${file#/usr}" 2>/dev/null | head -n 1 | cut -d : -f 1)
    cp -rL "/usr/share/doc/$package" "$root/usr/share/doc/" 2>/dev/null || {
        echo "rootfs: no licence for $library" >&2
        exit 1
    }
done
find "$root/usr/share/doc" -type f ! -name copyright -delete

cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
echo "nobody:x:$user:$user:nobody:/nonexistent:/sbin/nologin" >"$root/etc/passwd"
echo "nobody:x:$user:" >"$root/etc/group"
# Names of hosts from /etc/hosts first, as everywhere.
echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
chmod 1777 "$root/tmp"
chown $user:$user "$root/var/lib/dbtask-exporter"
