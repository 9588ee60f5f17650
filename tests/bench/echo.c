/* The least that a PAM module can do which asks somebody else: connect, ask, read, close. As many
 * bytes go each way as between pam_jit.so and jit-agentd, and nothing is looked at.
 *
 *   account required pam_echo.so SOCKET
 */
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { SUCCESS = 0, AUTHINFO_UNAVAIL = 9 }; /* _pam_types.h */

int pam_sm_acct_mgmt(void *pamh, int flags, int argc, const char **argv)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    char ask[330] = "?", answer[172];
    int fd, code = AUTHINFO_UNAVAIL;

    (void)pamh, (void)flags;
    if (argc != 1 || strlen(argv[0]) >= sizeof address.sun_path)
        return code;
    strcpy(address.sun_path, argv[0]);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return code;
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0
        && write(fd, ask, sizeof ask) == sizeof ask
        && read(fd, answer, sizeof answer) == sizeof answer)
        code = SUCCESS;
    close(fd);
    return code;
}
