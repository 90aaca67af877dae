using Tessera.Sdk.Plugins;

namespace Tessera.Cli.Native;

/// <summary>
/// The system calls that a thread of each duty may make once guests run, at most <see cref="Most"/>. Everything else is refused: with EPERM, a way to a file with ENOENT,
/// a call that a library has an older one for with ENOSYS. Refused and not killed, as for the whole process (<see cref="SystemCallFilter"/>).
/// </summary>
internal static class ThreadCallList
{
    /// <summary>The most calls in a list.</summary>
    public const int Most = 40;

    private const int SysClone = 56;
    private const int SysIoctl = 16;
    private const int SysTgkill = 234;
    private const int SysOpenAt = 257;

    /// <summary>From pidfd_send_signal on: what libraries try before an older call, clone3 and openat2 among it.</summary>
    private const int FirstOfTheNewer = 424;

    private const int NoEntry = 2;
    private const uint CloneThread = 0x10000;

    /// <summary>O_ACCMODE, O_CREAT, O_TRUNC and what O_TMPFILE has beyond O_DIRECTORY: whatever is not opening a file that is there for reading.</summary>
    private const uint NotForReading = 0x3 | 0x40 | 0x200 | 0x400000;

    /// <summary>open, stat, lstat, access, readlink, openat, newfstatat, readlinkat, faccessat, statx: for these threads there are no files but those open.</summary>
    private static readonly int[] WaysToFiles = [2, 4, 6, 21, 89, SysOpenAt, 262, 267, 269, 332];

    /// <summary>
    /// What the runtime does on any thread: memory for code, for the collector and for malloc, locks, suspending threads and being suspended, ending, and starting the
    /// thread that compiles anew what is used much, which inherits the list and needs no more. x86-64's numbers of: read, write, close, mmap, mprotect, munmap, rt_sigaction,
    /// rt_sigprocmask, rt_sigreturn, sched_yield, madvise, getpid, clone (a thread), exit, sigaltstack, gettid, futex, restart_syscall, clock_gettime,
    /// tgkill (this process), pipe2, membarrier, rseq.
    /// </summary>
    private static readonly int[] Every = [0, 1, 3, 9, 10, 11, 13, 14, 15, 24, 28, 39, SysClone, 60, 131, 186, 202, 219, 228, SysTgkill, 293, 324, 334];

    /// <summary>
    /// brk, mincore, sched_setaffinity, sched_getaffinity, sysinfo, prlimit64, ppoll, rt_sigtimedwait, timer_settime, timer_delete,
    /// ioctl (KVM's), clock_nanosleep; and for a scheduler that logs to a file which its constructor opened: lseek, fstat, pread64, pwrite64.
    /// </summary>
    private static readonly int[] Processor = [12, 27, 203, 204, 99, 302, 271, 128, 223, 226, SysIoctl, 230, 8, 5, 17, 18];

    /// <summary>brk, mincore, sysinfo, prlimit64, poll, lseek, fstat, pread64, pwrite64, preadv2, pwritev2, fsync, fdatasync, fallocate, ioctl (block devices'), clock_nanosleep.</summary>
    private static readonly int[] Device = [12, 27, 99, 302, 7, 8, 5, 17, 18, 327, 328, 74, 75, 285, SysIoctl, 230];

    /// <summary>
    /// poll, pread64, socket, connect, sendto, recvfrom, sendmsg, recvmsg, shutdown, getsockname, setsockopt, getsockopt, sendmmsg, fcntl, newfstatat, openat (for
    /// reading), ioctl (FIONREAD, FIONBIO).
    /// </summary>
    private static readonly int[] Client = [7, 17, 41, 42, 44, 45, 46, 47, 48, 51, 54, 55, 307, 72, 262, SysOpenAt, SysIoctl];

    /// <summary>
    /// poll, socket, connect, accept, sendto, recvfrom, recvmsg, shutdown, bind, listen, getsockname, setsockopt, getsockopt, fcntl, newfstatat, openat (for
    /// reading), ioctl (FIONREAD, FIONBIO).
    /// </summary>
    private static readonly int[] Network = [7, 41, 42, 43, 44, 45, 47, 48, 49, 50, 51, 54, 55, 72, 262, SysOpenAt, SysIoctl];

    /// <summary>The numbers of a duty's calls.</summary>
    public static IReadOnlyList<int> Of(ThreadDuty duty) => [.. Every, .. Own(duty)];

    /// <summary>Its filter.</summary>
    public static FilterProgram Program(ThreadDuty duty)
    {
        FilterProgram program = new();
        foreach (int call in Of(duty))
        {
            switch (call)
            {
                case SysClone:
                    program.AllowWhen(call, 0, CloneThread, CloneThread);
                    break;
                case SysTgkill:
                    program.AllowWhen(call, 0, ~0u, (uint)Environment.ProcessId);
                    break;
                case SysOpenAt:
                    program.AllowWhen(call, 2, NotForReading, 0);
                    break;
                case SysIoctl when duty is ThreadDuty.Processor:
                    // KVMIO.
                    program.AllowWhen(call, 1, 0xff00, 0xae00);
                    break;
                case SysIoctl when duty is ThreadDuty.Device:
                    // Those of linux/fs.h: BLKDISCARD, BLKZEROOUT, BLKGETSIZE64 and their kin.
                    program.AllowWhen(call, 1, 0xff00, 0x1200);
                    break;
                case SysIoctl:
                    program.AllowWhen(call, 1, ~0u, 0x541b, 0x5421);
                    break;
                default:
                    program.Allow(call);
                    break;
            }
        }

        foreach (int way in WaysToFiles.Except(Of(duty)))
            program.Refuse(way, NoEntry);
        program.RefuseFrom(FirstOfTheNewer);
        program.Otherwise(isAllowed: false);
        return program;
    }

    private static int[] Own(ThreadDuty duty) => duty switch
    {
        ThreadDuty.Processor => Processor,
        ThreadDuty.Device => Device,
        ThreadDuty.Client => Client,
        ThreadDuty.Network => Network,
        _ => throw new ArgumentOutOfRangeException(nameof(duty)),
    };
}
