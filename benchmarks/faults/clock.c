/* The time of day, so many seconds before or behind what the system says: loaded before libc (LD_PRELOAD).

   The seconds stand in a file of 8 bytes that FAULTS_CLOCK names and every process maps, so that all see a step at once.
   Clocks that measure durations are left alone, as they are when a real clock is set. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile long *seconds;
static int (*system_clock)(clockid_t, struct timespec *);

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("FAULTS_CLOCK");
  int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  system_clock = dlsym(RTLD_NEXT, "clock_gettime");
  if (file < 0) return;
  void *found = mmap(NULL, sizeof *seconds, PROT_READ, MAP_SHARED, file, 0);
  if (found != MAP_FAILED) seconds = found;
  close(file);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  if (!system_clock) begin();
  int failed = system_clock(clock, now);
  if (!failed && seconds && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += *seconds;
  return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  struct timespec found;
  (void)zone;
  if (clock_gettime(CLOCK_REALTIME, &found)) return -1;
  now->tv_sec = found.tv_sec;
  now->tv_usec = found.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *now) {
  struct timespec found;
  if (clock_gettime(CLOCK_REALTIME_COARSE, &found)) return -1;
  if (now) *now = found.tv_sec;
  return found.tv_sec;
}
