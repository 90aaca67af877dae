using System.Runtime.InteropServices;

namespace Tessera.Plugins.Cpu.Kvm.Native;

/// <summary>Thread identity, affinity, signals and timers of the calling thread.</summary>
internal static unsafe partial class ThreadCalls
{
    // SAFETY: pointers are to locals of the calling method or of this one; the kernel keeps none of them after the call.
    public const int AffinityBytes = 1024;

    private const int SigBlock = 0;
    private const int SigSetMask = 2;
    private const int ClockMonotonic = 1;
    private const int SigEvThreadId = 4;
    private const int TimerAbsolute = 1;
    private const int SignalSetBytes = 128;

    /// <summary>
    /// The signal that ends KVM_RUN: seven after SIGRTMIN, because .NET takes SIGRTMIN itself and profilers take the next ones.
    /// </summary>
    public static int PreemptionSignal() => CurrentRealTimeMinimum() + 7;

    /// <summary>The calling thread's id.</summary>
    public static int CurrentThreadId() => GetThreadId();

    /// <summary>The calling thread's affinity, <see cref="AffinityBytes"/> long.</summary>
    public static bool TryGetAffinity(Span<byte> mask)
    {
        fixed (byte* pointer = mask)
            return SchedGetAffinity(0, mask.Length, pointer) >= 0;
    }

    /// <summary>Sets the calling thread's affinity. 0, or errno.</summary>
    public static int SetAffinity(ReadOnlySpan<byte> mask)
    {
        fixed (byte* pointer = mask)
            return SchedSetAffinity(0, mask.Length, pointer) >= 0 ? 0 : Marshal.GetLastPInvokeError();
    }

    /// <summary>Blocks a signal in the calling thread and gives the mask before.</summary>
    public static ulong Block(int signal) => ChangeMask(SigBlock, Bit(signal));

    /// <summary>Sets the calling thread's signal mask.</summary>
    public static void SetMask(ulong mask) => ChangeMask(SigSetMask, mask);

    /// <summary>The calling thread's signal mask.</summary>
    public static ulong CurrentMask() => ChangeMask(SigBlock, 0);

    /// <summary>The signal's bit in a mask.</summary>
    public static ulong Bit(int signal) => 1UL << (signal - 1);

    /// <summary>Takes every pending instance of a blocked signal.</summary>
    public static void Consume(int signal)
    {
        ulong* set = stackalloc ulong[SignalSetBytes / sizeof(ulong)];
        new Span<ulong>(set, SignalSetBytes / sizeof(ulong)).Clear();
        set[0] = Bit(signal);
        TimeSpec none = default;
        while (SigTimedWait(set, null, &none) == signal)
        {
        }
    }

    /// <summary>Sends a signal to one thread of this process; a thread that has ended is not an error.</summary>
    public static void Send(int threadId, int signal) => _ = TgKill(Environment.ProcessId, threadId, signal);

    /// <summary>Creates a CLOCK_MONOTONIC timer that signals the calling thread. Negative: minus errno.</summary>
    public static int CreateTimer(int signal, out nint timer)
    {
        SignalEvent description = new() { Signal = signal, Notify = SigEvThreadId, ThreadId = GetThreadId() };
        nint id = 0;
        int result = TimerCreate(ClockMonotonic, &description, &id);
        timer = id;
        return result >= 0 ? 0 : -Marshal.GetLastPInvokeError();
    }

    /// <summary>Arms a timer for a CLOCK_MONOTONIC instant in nanoseconds; 0 disarms it.</summary>
    public static void ArmTimer(nint timer, long instant)
    {
        TimerSpec spec = default;
        (spec.Value.Seconds, spec.Value.Nanoseconds) = Math.DivRem(instant, 1_000_000_000L);
        _ = TimerSetTime(timer, TimerAbsolute, &spec, null);
    }

    /// <summary>Deletes a timer.</summary>
    public static void DeleteTimer(nint timer) => _ = TimerDelete(timer);

    private static ulong ChangeMask(int how, ulong mask)
    {
        ulong* set = stackalloc ulong[SignalSetBytes / sizeof(ulong)];
        ulong* old = stackalloc ulong[SignalSetBytes / sizeof(ulong)];
        new Span<ulong>(set, SignalSetBytes / sizeof(ulong)).Clear();
        set[0] = mask;
        _ = PthreadSigMask(how, set, old);
        return old[0];
    }

    [StructLayout(LayoutKind.Sequential, Size = 64)]
    private struct SignalEvent
    {
        public nint Value;
        public int Signal, Notify, ThreadId;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct TimeSpec
    {
        public long Seconds, Nanoseconds;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct TimerSpec
    {
        public TimeSpec Interval, Value;
    }

    [LibraryImport("libc", EntryPoint = "__libc_current_sigrtmin")]
    private static partial int CurrentRealTimeMinimum();

    [LibraryImport("libc", EntryPoint = "gettid")]
    private static partial int GetThreadId();

    [LibraryImport("libc", EntryPoint = "sched_getaffinity", SetLastError = true)]
    private static partial int SchedGetAffinity(int thread, nint bytes, byte* mask);

    [LibraryImport("libc", EntryPoint = "sched_setaffinity", SetLastError = true)]
    private static partial int SchedSetAffinity(int thread, nint bytes, byte* mask);

    [LibraryImport("libc", EntryPoint = "pthread_sigmask")]
    private static partial int PthreadSigMask(int how, ulong* set, ulong* old);

    [LibraryImport("libc", EntryPoint = "sigtimedwait")]
    private static partial int SigTimedWait(ulong* set, void* info, TimeSpec* timeout);

    [LibraryImport("libc", EntryPoint = "tgkill")]
    private static partial int TgKill(int process, int thread, int signal);

    [LibraryImport("libc", EntryPoint = "timer_create", SetLastError = true)]
    private static partial int TimerCreate(int clock, SignalEvent* description, nint* timer);

    [LibraryImport("libc", EntryPoint = "timer_settime")]
    private static partial int TimerSetTime(nint timer, int flags, TimerSpec* value, TimerSpec* old);

    [LibraryImport("libc", EntryPoint = "timer_delete")]
    private static partial int TimerDelete(nint timer);
}
