# A PAM file that names a module which is gone makes sudo, su and logins fail, for root too. So our
# lines leave first, and if they cannot, we stay. What the files say then counts, not what jit says.
naming_us() {
    grep -ls '^[^#]*pam_jit\.so' /etc/pam.conf /etc/pam.d/* /usr/lib/pam.d/* || true
}
if [ -n "$(naming_us)" ] && ! jit pam disable --all; then
    echo "pam_jit: 'jit pam disable --all' failed, see above" >&2
fi
if [ -n "$(naming_us)" ]; then
    echo "pam_jit: not removed, because these PAM files name pam_jit.so and would lock everybody out:" >&2
    naming_us | sed 's/^/    /' >&2
    echo "pam_jit: take those lines out (jit pam disable, or an editor), then remove again" >&2
    exit 1
fi
