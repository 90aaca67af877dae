using Tessera.Plugins.Cpu.Kvm.Native;
using Tessera.Plugins.Cpu.Kvm.Paging;
using Tessera.Plugins.Cpu.Kvm.Probing;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Plugins;

namespace Tessera.Plugins.Cpu.Kvm;

/// <summary>
/// The CPU engine over Linux KVM: one VM a domain, ring 3 only, no device, no interrupt controller. What differs between hosts is
/// found by <see cref="HostProbe"/> when the engine is created (some milliseconds).
/// </summary>
[Plugin("kvm", PluginKind.CpuEngine, "1.0.0", Summary = "Runs guests natively in ring 3 through Linux KVM (VT-x, SVM, or software).", Options = typeof(KvmOptions))]
public sealed class KvmEngine : ICpuEngine, ITrapCostMeter
{
    private readonly KvmHost _host;
    private readonly ProbeResult _probe;

    /// <summary>Opens the device (TESSERA_KVM_DEVICE, or /dev/kvm) and probes it.</summary>
    /// <param name="options">The engine's options.</param>
    /// <exception cref="EngineException">This host cannot; the message says why and what helps.</exception>
    public KvmEngine(KvmOptions options)
    {
        _host = KvmHost.Open(KvmHost.DefaultPath());
        try
        {
            _probe = HostProbe.Run(_host, options.Paging);
        }
        catch
        {
            _host.Dispose();
            throw;
        }

        Facts = new EngineFacts
        {
            Name = $"kvm (API {KvmCalls.ApiVersion})",
            Strategy = _probe.Strategy switch
            {
                PagingStrategy.Flush => "The CPU reads guest page tables itself: a TLB flush before the next entry makes changes effective.",
                PagingStrategy.Rewrite => "KVM shadows guest page tables: downgraded entries are rewritten from inside the machine before the next entry.",
                _ => "KVM shadows guest page tables: downgraded entries are rewritten from inside the machine and TLBs flushed before the next entry.",
            },
            ReservedFrames = EngineArea.ReservedFrames,
            HypercallInstruction = [0xe6, EngineArea.Port],
            FreeSlots = _probe.FreeSlots,
            HardwareCpuidLeaks = _probe.CpuidLeaks,
            InterceptsSyscalls = _probe.SyscallStaysInRing3 && _probe.Strategy != PagingStrategy.Flush,
            InterceptionReason = WhyIntercepted(_probe.SyscallStaysInRing3, _probe.Strategy),
            Findings = _probe.Findings,
        };
    }

    /// <inheritdoc/>
    public EngineFacts Facts { get; }

    /// <inheritdoc/>
    public IEngineThread EnterThread(int hostCpu) => new KvmThread(hostCpu);

    /// <inheritdoc/>
    public IGuestMachine CreateMachine(GuestMachineLayout layout) => new KvmMachine(_host, _probe.Slot, _probe.Strategy, layout);

    /// <inheritdoc/>
    public IReadOnlyList<TrapCost> MeasureTrapCosts() =>
        HostProbe.OnOwnThread("tessera-measure", thread => new TrapCostRun(_host, _probe.Slot, _probe.Strategy, thread).Measure());

    /// <inheritdoc/>
    public void Dispose() => _host.Dispose();

    /// <summary>Why `syscall` is, or is not, worth answering inside the guest on such a host.</summary>
    internal static string WhyIntercepted(bool staysInRing3, PagingStrategy strategy) => (staysInRing3, strategy) switch
    {
        (false, _) => "`syscall` enters ring 0 here, where no code of a guest's may be; exits are cheap on such hosts",
        (true, PagingStrategy.Flush) => "the CPU reads guest page tables itself here, so that entries written without the VMM would need its flush",
        _ => "`syscall` stays in ring 3 here, exits are dear, and new page-table entries are seen without being told",
    };
}
