using System.Runtime.InteropServices;
using Tmds.Linux;

namespace Tessera.Kernel.Native;

/// <summary>
/// How long the host's scheduler lets a thread run at a time. Physical CPUs keep the host's CPUs busy for ever; a thread with a shorter slice that wakes
/// takes the CPU from them at once (Linux 6.12 and later), one with the same slice waits until theirs is over. It changes nobody's part of the time and needs no privilege.
/// </summary>
internal static unsafe class TimeSlice
{
    /// <summary>The least that Linux takes, ns.</summary>
    private const ulong Short = 100_000;

    private const int SchedSetattr = 314;
    private const int SchedGetattr = 315;
    private const uint Other = 0;

    /// <summary>Gives the calling thread, and those it starts from now on, a short slice. Hosts that know none, and threads of other classes, stay as they are.</summary>
    public static void Shorten() => Set(Short);

    /// <summary>Gives the calling thread the host's usual slice.</summary>
    public static void Restore() => Set(0);

    /// <summary>The calling thread's slice in ns as the host has it; 0 where it does not say.</summary>
    public static ulong Read()
    {
        Attributes attributes = default;
        // SAFETY: a local of the size that is given with it, as sched_getattr(2) asks.
        return Call(SchedGetattr, &attributes, (uint)sizeof(Attributes), 0) == 0 ? attributes.Runtime : 0;
    }

    private static void Set(ulong slice)
    {
        Attributes attributes = default;
        // SAFETY: a local of the size that is given with it, as sched_getattr(2) and sched_setattr(2) ask.
        if (Call(SchedGetattr, &attributes, (uint)sizeof(Attributes), 0) != 0 || attributes.Policy != Other)
            return;
        attributes.Size = (uint)sizeof(Attributes);
        attributes.Runtime = slice;
        _ = Call(SchedSetattr, &attributes, 0, 0);
    }

    private static long Call(int number, Attributes* attributes, uint first, uint second) => (ssize_t)LibC.syscall(number, 0, attributes, first, second);

    /// <summary>struct sched_attr, its first version.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct Attributes
    {
        public uint Size;
        public uint Policy;
        public ulong Flags;
        public int Nice;
        public uint Priority;
        public ulong Runtime;
        public ulong Deadline;
        public ulong Period;
    }
}
