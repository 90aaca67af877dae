using System.Runtime.InteropServices;
using Tessera.Experiments;

namespace Tessera.Cli.Native;

/// <summary>
/// The seccomp filter of the whole process: system calls that neither Tessera nor .NET makes once guests run, refused with EPERM. A list of what is refused and not of
/// what is allowed: the runtime's own threads need calls that change with its version. Threads of the VMM's have lists of what is allowed besides (<see cref="ThreadCallList"/>).
/// </summary>
internal static class SystemCallFilter
{
    private const int NotPermitted = 1;
    private const int NoSystemCall = 38;
    private const int Invalid = 22;

    /// <summary>
    /// x86-64's numbers of: ptrace, execve, personality, ustat, pivot_root, acct, mount, umount2, chroot, swapon, swapoff, reboot, sethostname, setdomainname, iopl,
    /// ioperm, init_module, delete_module, quotactl, settimeofday, adjtimex, clock_settime, clock_adjtime, kexec_load, kexec_file_load, add_key, request_key, keyctl,
    /// unshare, setns, perf_event_open, name_to_handle_at, open_by_handle_at, process_vm_readv, process_vm_writev, kcmp, finit_module, bpf, execveat, userfaultfd,
    /// syslog, modify_ldt, vhangup, lookup_dcookie, fanotify_init, io_uring_setup, io_uring_enter, io_uring_register, open_tree, move_mount, fsopen, fsconfig, fsmount, fspick,
    /// pidfd_getfd, mount_setattr.
    /// </summary>
    private static readonly int[] Numbers =
    [
        101, 59, 135, 136, 155, 163, 165, 166, 161, 167, 168, 169, 170, 171, 172,
        173, 175, 176, 179, 164, 159, 227, 305, 246, 320, 248, 249, 250,
        272, 308, 298, 303, 304, 310, 311, 312, 313, 321, 322, 323,
        103, 154, 153, 212, 300, 425, 426, 427, 428, 429, 430, 431, 432, 433,
        438, 442,
    ];

    /// <summary>The numbers refused.</summary>
    public static ReadOnlySpan<int> Refused => Numbers;

    /// <summary>Puts it on every thread of the process, and so on those that they start. A kernel without seccomp goes without.</summary>
    /// <returns>Whether this kernel has filters.</returns>
    /// <exception cref="FailedException">The kernel refuses it.</exception>
    public static bool Install()
    {
        FilterProgram program = new();
        foreach (int call in Numbers)
            program.Refuse(call, NotPermitted);
        program.Otherwise(isAllowed: true);
        long result = program.Install(onEveryThread: true);
        if (result is 0 or -NoSystemCall or -Invalid)
            return result == 0;
        throw new FailedException($"The system-call filter cannot be set ({(result > 0 ? $"thread {result}" : Marshal.GetPInvokeErrorMessage((int)-result))}). {ProcessHardening.Variable}={ProcessHardening.Off} runs without.");
    }
}
