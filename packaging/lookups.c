/* Linked into the static binary of the packages. glibc loads what /etc/nsswitch.conf names (resolve, myhostname, mdns…)
 * as shared libraries, even into a static program; those of a host with another glibc crash it (seen: a SIGFPE on Debian 13
 * in a program built on Debian 12). What is named here is built in: /etc/hosts, DNS, /etc/passwd, /etc/group. */
#include <nss.h>

__attribute__((constructor)) static void use_builtin_lookups(void)
{
    __nss_configure_lookup("hosts", "files dns");
    __nss_configure_lookup("passwd", "files");
    __nss_configure_lookup("group", "files");
}
