using System.Runtime.ExceptionServices;
using Tessera.Plugins.Cpu.Kvm.Native;
using Tessera.Plugins.Cpu.Kvm.Paging;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;

namespace Tessera.Plugins.Cpu.Kvm.Probing;

/// <summary>What the probes decide.</summary>
/// <param name="Slot">The engine's L4 slot.</param>
/// <param name="Strategy">How page-table changes become effective.</param>
/// <param name="FreeSlots">The other slots of Xen's range that work.</param>
/// <param name="CpuidLeaks">Ring 3 sees hardware CPUID.</param>
/// <param name="SyscallStaysInRing3">`syscall` enters its stub without leaving ring 3.</param>
/// <param name="Findings">For people.</param>
internal sealed record ProbeResult(int Slot, PagingStrategy Strategy, IReadOnlyList<int> FreeSlots, bool CpuidLeaks, bool SyscallStaysInRing3, IReadOnlyList<EngineFinding> Findings);

/// <summary>Finds out by small runs what this host's KVM does. No CPU, module or kernel name is ever looked at.</summary>
internal sealed class HostProbe
{
    /// <summary>Names of probes that tests look up.</summary>
    public const string TaskSwitchedProbe = "vector instruction with CR0.TS set";
    public const string BreakpointProbe = "hardware breakpoint in ring 3";
    public const string MxcsrProbe = "LDMXCSR of reserved bits in ring 3";

    public const string CounterProbeName = "RDTSC in ring 3, against the host's";

    public const string CompatSyscallProbe = "syscall of 32-bit code";

    private const byte InvalidOpcode = 6;
    private const int FirstXenSlot = 256;
    private const int XenSlots = 16;
    private const string NoCure = "Report this with the output of `tessera doctor --json`.";

    private readonly KvmHost _host;
    private readonly PagingChoice _choice;
    private readonly List<EngineFinding> _findings = [];

    private HostProbe(KvmHost host, PagingChoice choice)
    {
        _host = host;
        _choice = choice;
    }

    /// <summary>Runs all probes, on a thread of its own so that the caller's signal mask stays as it is.</summary>
    public static ProbeResult Run(KvmHost host, PagingChoice choice)
    {
        HostProbe probe = new(host, choice);
        return OnOwnThread("tessera-probe", probe.RunAll);
    }

    /// <summary>Runs work on an engine thread of its own and gives its result or its exception.</summary>
    public static T OnOwnThread<T>(string name, Func<KvmThread, T> work)
    {
        T? result = default;
        ExceptionDispatchInfo? failure = null;
        Thread thread = new(() =>
        {
            try
            {
                using KvmThread self = new(hostCpu: null);
                result = work(self);
            }
            catch (Exception exception)
            {
                failure = ExceptionDispatchInfo.Capture(exception);
            }
        })
        { Name = name, IsBackground = true };
        thread.Start();
        thread.Join();
        failure?.Throw();
        return result!;
    }

    private ProbeResult RunAll(KvmThread thread)
    {
        Report("KVM device", $"{_host.Path}, API version {KvmCalls.ApiVersion}", "");
        Report("registers in the shared run area (KVM_CAP_SYNC_REGS)", "general, system, events", "a trap costs one system call");
        using ScratchGuest guest = FindSlot(thread, out int slot);
        ProbeCounter(guest);
        bool staysInRing3 = ProbeSyscall(guest);
        ProbeCompatSyscall(guest);
        bool leaks = ProbeCpuid(guest);
        IReadOnlyList<int> free = ProbeSlots(guest, slot);
        ProbeImmediateExit(guest);
        ProbeRing3Controls(guest);
        PagingStrategy strategy = ProbePaging(slot, thread);
        return new ProbeResult(slot, strategy, free, leaks, staysInRing3, _findings);
    }

    private ScratchGuest FindSlot(KvmThread thread, out int slot)
    {
        // From the middle of Xen's range, which leaves the ends to the kernel's tables.
        string outcome = "";
        for (slot = 264; slot > FirstXenSlot; slot--)
        {
            ScratchGuest guest = new(_host, slot, PagingStrategy.Flush, thread, cpus: 2);
            guest.Place(0xe6, EngineArea.Port);
            Trap trap = guest.Run();
            if (trap.Kind == TrapKind.Hypercall)
            {
                bool advanced = guest.Cpu.State.Rip == ScratchGuest.CodeAddress + EngineArea.OutBytes;
                if (!advanced)
                {
                    guest.Dispose();
                    throw new EngineException($"KVM reports the exit of `out` with RIP 0x{guest.Cpu.State.Rip:x}, not after the instruction.", "Use a Linux kernel of version 5.10 or later.");
                }

                Report("ring-3 code with the engine in an L4 slot", $"runs, slot {slot}", "");
                return guest;
            }

            outcome = $"{trap.Kind}, vector {trap.Vector}, error {trap.ErrorCode:x}, address {trap.FaultAddress:x}, rip {guest.Cpu.State.Rip:x}. {trap.Diagnosis}";
            guest.Dispose();
        }

        throw new EngineException($"KVM does not run ring-3 code with an I/O port open in any of the L4 slots 257 to 264; the last attempt ended in {outcome}", NoCure);
    }

    private void ProbeCounter(ScratchGuest guest)
    {
        CounterShift shift = default;
        Func<ulong> host = _host.Counter.Read;
        CounterMethod? found = GuestCounter.Choose(method =>
            GuestCounter.TrySet(new VcpuCounter(guest.Cpu.Vcpu), host, method, out shift) && CounterProbe.Agrees(guest, shift, host));
        _host.CounterMethod = found ?? throw new EngineException(
            "The time-stamp counter of a guest follows the host's neither by KVM_VCPU_TSC_OFFSET nor by MSR 0x10; its timers would not work.",
            "Use Linux 5.16 or later on a host whose counter is stable (/sys/devices/system/clocksource/clocksource0/current_clocksource says tsc or kvm-clock).");
        (string finding, string consequence) = found switch
        {
            CounterMethod.Offset => ("the host's", "offset set to 0 by KVM_VCPU_TSC_OFFSET"),
            CounterMethod.Register => ($"the host's, {shift.Ticks} ticks away (known to {shift.Error})", "set by MSR 0x10; guests are told what is left of each vCPU"),
            _ => ("the host's", "KVM does not let it be set, nor needs it"),
        };
        Report(CounterProbeName, finding, consequence);
    }

    private bool ProbeSyscall(ScratchGuest guest)
    {
        guest.Cpu.EnableSyscall(false);
        guest.Place(0x0f, 0x05);
        Trap trap = guest.Run();
        _host.SyscallNeedsEnable = trap.Kind != TrapKind.Syscall;
        if (_host.SyscallNeedsEnable)
        {
            guest.Cpu.EnableSyscall(true);
            guest.Place(0x0f, 0x05);
            trap = guest.Run();
        }

        if (trap.Kind != TrapKind.Syscall || guest.Cpu.State.Rip != ScratchGuest.CodeAddress + 2)
            throw new EngineException($"`syscall` in ring 3 ended in {trap.Kind} {trap.Vector} at 0x{guest.Cpu.State.Rip:x}, not in the syscall stub. {trap.Diagnosis}".TrimEnd(), NoCure);
        int ring = guest.Cpu.RingOfLastExit;
        Report("syscall", $"enters its stub in ring {ring}", ring == 0 ? "" : "the stub's page must be, and is, visible to ring 3");
        return ring == 3;
    }

    /// <summary>32-bit code may not get anywhere but to an exception of ring 3 or the engine's stub by its own `syscall`.</summary>
    private void ProbeCompatSyscall(ScratchGuest guest)
    {
        ref GuestCpuState state = ref guest.Cpu.State;
        GuestCpuState before = state;
        guest.Place(0x0f, 0x05);
        (state.Cs, state.Is32Bit) = (EngineArea.Code32, true);
        Trap trap = guest.Run();
        bool faults = trap is { Kind: TrapKind.Exception, Vector: InvalidOpcode } && state.Rip == ScratchGuest.CodeAddress;
        bool enters = trap.Kind == TrapKind.Syscall && state is { Is32Bit: true, Rip: ScratchGuest.CodeAddress + 2 };
        if (!faults && !enters)
        {
            throw new EngineException(
                $"`syscall` of 32-bit code in ring 3 ended in {trap.Kind} {trap.Vector} at 0x{state.Rip:x}, neither refused nor in the engine's stub: a guest's process might reach ring 0. {trap.Diagnosis}".TrimEnd(),
                NoCure);
        }

        Report(CompatSyscallProbe, faults ? "raises #UD" : $"enters its stub in ring {guest.Cpu.RingOfLastExit}", "delivered to the guest's callback for it");
        state = before;
    }

    private bool ProbeCpuid(ScratchGuest guest)
    {
        // AVX, AES, POPCNT and SSE4.2: every 64-bit processor of the last decade has some of them.
        const uint Hidden = (1u << 28) | (1u << 25) | (1u << 23) | (1u << 20);
        KvmCpu cpu = guest.Machine.CreateCpu(1, static (ref KvmCpuidEntry entry) => entry.Ecx &= entry.Function == 1 ? ~Hidden : uint.MaxValue);
        guest.Place(0x0f, 0xa2, 0xe6, EngineArea.Port);
        cpu.State = guest.Cpu.State;
        cpu.State.Rip = ScratchGuest.CodeAddress;
        cpu.State.Rax = 1;
        cpu.State.Rcx = 0;
        bool leaks = guest.Run(cpu).Kind == TrapKind.Hypercall && ((uint)cpu.State.Rcx & Hidden) != 0;
        Report("CPUID in ring 3 with features hidden", leaks ? "shows them" : "hides them", leaks ? "guests are told the truth about vector state" : "");
        return leaks;
    }

    private List<int> ProbeSlots(ScratchGuest guest, int own)
    {
        List<int> free = [];
        for (int index = 0; index < XenSlots; index++)
        {
            int slot = FirstXenSlot + index;
            int table = ScratchGuest.FirstSpareL4 + index;
            guest.Words(ScratchGuest.L4).CopyTo(guest.Words(table));
            if (slot == own)
                continue;
            guest.Words(table)[slot] = guest.Words(ScratchGuest.L4)[0];
            guest.Cpu.State.Root = ScratchGuest.Frame(table);
            ulong start = (ulong)((long)((ulong)slot << 55) >> 16);
            if (guest.Read(start + ScratchGuest.DataAddress) == guest.Words(ScratchGuest.DataA)[0])
                free.Add(slot);
        }

        guest.Cpu.State.Root = ScratchGuest.Frame(ScratchGuest.L4);
        Report("L4 slots 256 to 271", $"usable beside {own}: {string.Join(' ', free)}", free.Count == XenSlots - 1 ? "" : "the kernel's read-only tables go where it works");
        return free;
    }

    private void ProbeImmediateExit(ScratchGuest guest)
    {
        guest.Cpu.Vcpu.ImmediateExit = true;
        bool works = guest.Cpu.Vcpu.Run() == KvmCalls.ErrnoInterrupted;
        guest.Cpu.Vcpu.ImmediateExit = false;
        Report("KVM_RUN with immediate_exit", works ? "returns at once" : "does not return at once", "");
    }

    private void ProbeRing3Controls(ScratchGuest guest)
    {
        ref GuestCpuState state = ref guest.Cpu.State;
        state.TaskSwitched = true;
        guest.Place(0x0f, 0x28, 0xc1, 0xe6, EngineArea.Port);
        bool faults = guest.Run() is { Kind: TrapKind.Exception, Vector: 7 };
        state.TaskSwitched = false;
        Report(TaskSwitchedProbe, faults ? "raises #NM" : "runs", faults ? "" : "guests must switch vector state eagerly, as Linux does");

        state.Dr0 = ScratchGuest.CodeAddress + 1;
        state.Dr7 = 0x403;
        guest.Place(0x90, 0x90, 0xe6, EngineArea.Port);
        bool strikes = guest.Run() is { Kind: TrapKind.Exception, Vector: 1 };
        state.Dr0 = 0;
        state.Dr7 = 0x400;
        Report(BreakpointProbe, strikes ? "strikes" : "does not strike", strikes ? "" : "guests have no hardware breakpoints here");

        // ldmxcsr [rip], which is the four bytes behind it. A KVM that emulates what raises #GP may not know the instruction.
        guest.Place(0x0f, 0xae, 0x15, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff);
        Trap trap = guest.Run();
        bool protects = trap is { Kind: TrapKind.Exception, Vector: 13 };
        Report(MxcsrProbe, protects ? "raises #GP" : $"raises {(trap.Vector == InvalidOpcode ? "#UD" : $"vector {trap.Vector}")}", protects ? "" : "guests get that exception instead of #GP");
    }

    private PagingStrategy ProbePaging(int slot, KvmThread thread)
    {
        PagingStrategy? strategy = PagingProbe.Choose(_choice, candidate =>
        {
            using ScratchGuest guest = new(_host, slot, candidate, thread, cpus: 1);
            IReadOnlyList<string> stale = PagingProbe.FindStale(guest);
            (string what, string consequence) = candidate switch
            {
                PagingStrategy.Flush => ("then a TLB flush", "one TLB flush before the next entry"),
                PagingStrategy.Rewrite => ("then rewritten from inside the machine", "downgraded entries are rewritten by ring-0 code before the next entry"),
                _ => ("then rewritten from inside the machine and a TLB flush", "downgraded entries are rewritten by ring-0 code, and TLBs flushed, before the next entry"),
            };
            Report(
                $"page-table entry changed by the VMM, {what}",
                stale.Count == 0 ? "every kind of change is seen" : $"stale: {string.Join(", ", stale)}",
                stale.Count == 0 ? consequence : "KVM shadows guest page tables and must be told otherwise");
            return stale.Count == 0;
        });
        if (_choice != PagingChoice.Probe)
            Report("option paging", $"{_choice}", "taken as given");
        return strategy ?? throw new EngineException(
            $"Page-table changes stay unseen on this host: {string.Join("; ", _findings.TakeLast(3).Select(finding => $"{finding.Probe}: {finding.Finding}"))}.",
            NoCure);
    }

    private void Report(string probe, string finding, string consequence) => _findings.Add(new EngineFinding(probe, finding, consequence));
}
