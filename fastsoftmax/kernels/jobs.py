"""A kernel called for all parts of a range, by threads that need no Python for it.

The *leader* opens a job, in memory that all threads of a team share: a kernel, its arguments, a range. Everyone takes
part after part by adding to one number, the leader, too. Then the leader closes the job and waits for those who are
still at work. Helpers without a job look for one for some time, then sleep. A team serves one leader at a time.
"""

from fastsoftmax.jit import inline
from fastsoftmax.kernels.atomic import (
    add,
    call_part,
    caller_of,
    exchange,
    on_stack,
    pause,
    read,
    sched_yield,
    sem_post,
    sem_wait,
    write,
)

LOOKS = 5000  # times that a helper looks for a job before it sleeps: 0.1 or 0.2 ms, and to be woken takes 0.05
LINE = 128  # bytes: two cache lines, which some processors fetch together
# What the memory of a team holds, each in lines of its own: how many lead (0 or 1); the number of the open job (0 if
# none is) and of the last; how many are at work on it, how many more may be; how many sleep and have not been woken,
# and the semaphore that they sleep on; where the next part begins; and the job.
LEADERS, OPEN, JOBS, AT_WORK, SEATS, ASLEEP, SEMAPHORE, NEXT, JOB = range(0, 9 * LINE, LINE)
# The job: what `call_part` wants, the end of the range, the length of a part, the sum of what calls returned.
CALLER, ARGUMENTS, KERNEL, LAST, STEP, LEFT = range(JOB, JOB + 6 * 8, 8)
BYTES = JOB + LINE


@inline
def take_parts(team):
    """Call the kernel for one part after the other until none is left."""
    caller, arguments, kernel = read(team + CALLER), read(team + ARGUMENTS), read(team + KERNEL)
    last, step = read(team + LAST), read(team + STEP)
    first = add(team + NEXT, step)
    while first < last:
        add(team + LEFT, call_part(caller, arguments, kernel, first, min(first + step, last)))
        first = add(team + NEXT, step)


@inline
def help_with(team, job):
    """Take part in a job that was seen open, unless it is closed by now, or enough do."""
    add(team + AT_WORK, 1)  # from here on, if it is open, the leader waits
    if read(team + OPEN) == job and add(team + SEATS, -1) > 0:
        take_parts(team)
    add(team + AT_WORK, -1)


def serve(team):
    """Help with every job, for ever."""
    done, looks = 0, 0
    while True:
        job = read(team + OPEN)
        if job > 0 and job != done:
            help_with(team, job)
            done, looks = job, 0
        elif looks < LOOKS:
            pause()
            looks += 1
        else:
            add(team + ASLEEP, 1)
            job = read(team + OPEN)
            if job > 0 and job != done:  # whose leader may not have seen that this one sleeps
                help_with(team, job)
                done = job
            sem_wait(team + SEMAPHORE)  # the leader who posts it takes one from those asleep
            looks = 0


def lead(team, helpers, kernel, first, last, step, before, behind, left):
    """Call kernel(*before, i, min(i + step, last), *behind) for all i = first, first + step, ... before last.

    So many helpers take part at most; `left` is what a kernel returns that leaves nothing undone, 0 or None. Returns
    what is left undone, or `FAILURE` and more if calls failed.
    """
    caller, arguments = caller_of(before, behind, left), on_stack(before, behind)
    if exchange(team + LEADERS, 1) != 0:
        return call_part(caller, arguments, kernel, first, last)
    write(team + CALLER, caller)
    write(team + ARGUMENTS, arguments)
    write(team + KERNEL, kernel)
    write(team + LAST, last)
    write(team + STEP, step)
    write(team + LEFT, 0)
    write(team + NEXT, first)
    write(team + SEATS, helpers)
    write(team + OPEN, add(team + JOBS, 1) + 1)
    sleepers = min(helpers, read(team + ASLEEP))
    add(team + ASLEEP, -sleepers)
    for _ in range(sleepers):
        sem_post(team + SEMAPHORE)
    take_parts(team)
    write(team + OPEN, 0)
    looks = 0
    while read(team + AT_WORK) > 0:
        pause()
        looks += 1
        if looks > LOOKS:
            sched_yield()
    undone = read(team + LEFT)
    write(team + LEADERS, 0)
    return undone
