using System.Runtime.InteropServices;
using Tmds.Linux;

namespace Tessera.Plugins.Cpu.Kvm.Native;

/// <summary>
/// Thread identity, affinity, signals and timers of the calling thread. What Tmds.LibC has no name for goes through its syscall(2), with x86-64's numbers:
/// the kernel's own timers are what glibc's are too when they signal one thread.
/// </summary>
internal static unsafe class ThreadCalls
{
    // SAFETY: pointers are to locals of the calling method or of this one; the kernel keeps none of them after the call.
    public const int AffinityBytes = 1024;

    private const int ClockMonotonic = 1;
    private const int ClockThreadCpuTime = 3;
    private const int SigEvThreadId = 4;
    private const int TimerAbsolute = 1;

    private const int SysTimerCreate = 222;
    private const int SysTimerSetTime = 223;
    private const int SysTimerDelete = 226;
    private const int SysClockGetTime = 228;
    private const int SysGetThreadId = 186;
    private const int SysThreadKill = 234;

    /// <summary>
    /// The signal that ends KVM_RUN: seven after SIGRTMIN, because .NET takes SIGRTMIN itself and profilers take the next ones.
    /// </summary>
    public static int PreemptionSignal() => LibC.SIGRTMIN + 7;

    /// <summary>The calling thread's id.</summary>
    public static int CurrentThreadId() => (int)LibC.syscall(SysGetThreadId);

    /// <summary>The calling thread's affinity, <see cref="AffinityBytes"/> long.</summary>
    public static bool TryGetAffinity(Span<byte> mask)
    {
        fixed (byte* pointer = mask)
            return LibC.sched_getaffinity(0, mask.Length, (cpu_set_t*)pointer) >= 0;
    }

    /// <summary>Sets the calling thread's affinity. 0, or errno.</summary>
    public static int SetAffinity(ReadOnlySpan<byte> mask)
    {
        fixed (byte* pointer = mask)
            return LibC.sched_setaffinity(0, mask.Length, (cpu_set_t*)pointer) >= 0 ? 0 : LibC.errno;
    }

    /// <summary>Blocks a signal in the calling thread and gives the mask before.</summary>
    public static ulong Block(int signal) => ChangeMask(LibC.SIG_BLOCK, Bit(signal));

    /// <summary>Sets the calling thread's signal mask.</summary>
    public static void SetMask(ulong mask) => ChangeMask(LibC.SIG_SETMASK, mask);

    /// <summary>The calling thread's signal mask.</summary>
    public static ulong CurrentMask() => ChangeMask(LibC.SIG_BLOCK, 0);

    /// <summary>The signal's bit in a mask.</summary>
    public static ulong Bit(int signal) => 1UL << (signal - 1);

    /// <summary>Takes every pending instance of a blocked signal.</summary>
    public static void Consume(int signal)
    {
        sigset_t set = default;
        *(ulong*)&set = Bit(signal);
        timespec none = default;
        while (LibC.sigtimedwait(&set, null, &none) == signal)
        {
        }
    }

    /// <summary>Sends a signal to one thread of this process; a thread that has ended is not an error.</summary>
    public static void Send(int threadId, int signal) => _ = LibC.syscall(SysThreadKill, Environment.ProcessId, threadId, signal);

    /// <summary>Creates a CLOCK_MONOTONIC timer that signals the calling thread. Negative: minus errno.</summary>
    public static int CreateTimer(int signal, out nint timer)
    {
        SignalEvent description = new() { Signal = signal, Notify = SigEvThreadId, ThreadId = CurrentThreadId() };
        int id = 0;
        bool made = (long)(ssize_t)LibC.syscall(SysTimerCreate, ClockMonotonic, &description, &id) >= 0;
        timer = id;
        return made ? 0 : -LibC.errno;
    }

    /// <summary>Arms a timer for a CLOCK_MONOTONIC instant in nanoseconds; 0 disarms it.</summary>
    public static void ArmTimer(nint timer, long instant)
    {
        TimerSpec spec = default;
        (spec.Seconds, spec.Nanoseconds) = Math.DivRem(instant, 1_000_000_000L);
        _ = LibC.syscall(SysTimerSetTime, (int)timer, TimerAbsolute, &spec, null);
    }

    /// <summary>The CPU time that the calling thread has had, guest code included, ns.</summary>
    public static long CpuTime()
    {
        timespec now = default;
        _ = LibC.syscall(SysClockGetTime, ClockThreadCpuTime, &now);
        return ((long)now.tv_sec * 1_000_000_000L) + (long)now.tv_nsec;
    }

    /// <summary>Deletes a timer.</summary>
    public static void DeleteTimer(nint timer) => _ = LibC.syscall(SysTimerDelete, (int)timer);

    private static ulong ChangeMask(int how, ulong mask)
    {
        sigset_t set = default, old = default;
        *(ulong*)&set = mask;
        _ = LibC.pthread_sigmask(how, &set, &old);
        return *(ulong*)&old;
    }

    /// <summary>struct sigevent as the kernel takes it for SIGEV_THREAD_ID.</summary>
    [StructLayout(LayoutKind.Sequential, Size = 64)]
    private struct SignalEvent
    {
        public nint Value;
        public int Signal, Notify, ThreadId;
    }

    /// <summary>struct itimerspec.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct TimerSpec
    {
        public long IntervalSeconds, IntervalNanoseconds, Seconds, Nanoseconds;
    }
}
