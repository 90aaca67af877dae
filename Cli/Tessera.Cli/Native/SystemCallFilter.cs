using System.Runtime.InteropServices;
using Tmds.Linux;

namespace Tessera.Cli.Native;

/// <summary>
/// The seccomp filter of the whole process: system calls that neither Tessera nor .NET makes once guests run, refused with EPERM. A list of what is refused and not of
/// what is allowed: the runtime's own threads need calls that change with its version (docs/security.md).
/// </summary>
internal static unsafe class SystemCallFilter
{
    private const int SysSeccomp = 317;
    private const int SetModeFilter = 1;
    private const int EveryThread = 1;
    private const int NoSystemCall = 38;
    private const int Invalid = 22;

    private const ushort LoadWord = 0x20;
    private const ushort JumpIfEqual = 0x15;
    private const ushort JumpIfAtLeast = 0x35;
    private const ushort Return = 0x06;
    private const uint Allow = 0x7fff0000;
    private const uint RefuseNotPermitted = 0x00050000 | 1;
    private const uint ArchitectureAt = 4;
    private const uint X64 = 0xc000003e;
    private const uint X32 = 0x40000000;

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
    /// <exception cref="FailedException">The kernel refuses it.</exception>
    public static void Install()
    {
        Instruction[] program = Program();
        // SAFETY: the program is pinned for the call, and its length given.
        fixed (Instruction* first = program)
        {
            FilterProgram filter = new() { Length = (ushort)program.Length, First = first };
            long result = (ssize_t)LibC.syscall(SysSeccomp, SetModeFilter, EveryThread, &filter);
            if (result == 0 || (result < 0 && LibC.errno is NoSystemCall or Invalid))
                return;
            throw new FailedException($"The filter of system calls cannot be set ({(result > 0 ? $"thread {result}" : $"errno {LibC.errno}")}). {ProcessHardening.Variable}={ProcessHardening.Off} runs without.");
        }
    }

    private static Instruction[] Program()
    {
        int count = Numbers.Length;
        List<Instruction> program =
        [
            new(LoadWord, 0, 0, ArchitectureAt),
            new(JumpIfEqual, 0, (byte)(count + 3), X64),
            new(LoadWord, 0, 0, 0),
            new(JumpIfAtLeast, (byte)(count + 1), 0, X32),
        ];
        for (int index = 0; index < count; index++)
            program.Add(new(JumpIfEqual, (byte)(count - index), 0, (uint)Numbers[index]));
        program.Add(new(Return, 0, 0, Allow));
        program.Add(new(Return, 0, 0, RefuseNotPermitted));
        return [.. program];
    }

    /// <summary>struct sock_filter.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private readonly record struct Instruction(ushort Code, byte IfTrue, byte IfFalse, uint Value);

    /// <summary>struct sock_fprog.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct FilterProgram
    {
        public ushort Length;
        public Instruction* First;
    }
}
