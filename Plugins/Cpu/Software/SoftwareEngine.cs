using Tessera.Plugins.Cpu.Software.Translation;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Plugins;

namespace Tessera.Plugins.Cpu.Software;

/// <summary>Options of the software engine.</summary>
public sealed record SoftwareOptions
{
    /// <summary>Leaves out what only some processors have.</summary>
    [Option("Translate without BMI2, as on processors that lack it.")]
    public bool Plain { get; init; }

    /// <summary>For tests: the TLB holds one page at a time, so that nearly every access misses.</summary>
    internal bool OnePage { get; init; }

    /// <summary>For tests: blocks have one instruction, so that nothing is known of what comes next.</summary>
    internal bool OneInstruction { get; init; }

    /// <summary>For tests: each access of memory is checked by itself.</summary>
    internal bool Apart { get; init; }
}

/// <summary>
/// The CPU engine that needs no KVM: translates ring-3 code of the guest to code of the host's, the same instructions with checked
/// addresses. It runs on every x86-64 Linux, as any user; traps cost nanoseconds, guest code some more than its own time.
/// </summary>
[Plugin("software", PluginKind.CpuEngine, "1.0.0", Summary = "Runs guests by translating their code: no KVM, no privileges, cheap traps.", Options = typeof(SoftwareOptions))]
public sealed class SoftwareEngine : ICpuEngine
{
    internal const long ReservedFrames = 512;
    private const int FirstXenSlot = 256;
    private const int XenSlots = 16;

    private readonly HostFeatures _features;
    private readonly Lazy<CodeStore> _code;
    private readonly Lazy<CodeStore> _countedCode;

    /// <summary>Looks at the host's processor.</summary>
    /// <param name="options">The engine's options.</param>
    public SoftwareEngine(SoftwareOptions options)
    {
        _features = HostFeatures.Probe(options.Plain) with { OnePage = options.OnePage, OneInstruction = options.OneInstruction, Apart = options.Apart };
        _code = new(() => new CodeStore(_features, counts: false));
        _countedCode = new(() => new CodeStore(_features, counts: true));
        Facts = new EngineFacts
        {
            Name = "software",
            Strategy = "Guest code is translated; page tables are walked by the engine, which forgets what changes before the next entry.",
            ReservedFrames = ReservedFrames,
            HypercallInstruction = [0xe6, SoftwareCpu.HypercallPort],
            FreeSlots = [.. Enumerable.Range(FirstXenSlot, XenSlots)],
            HardwareCpuidLeaks = false,
            CpuidFaults = true,
            VectorStates = _features.VectorStates,
            OwnsTime = true,
            Findings =
            [
                new EngineFinding("BMI2", _features.BitManipulation ? "used" : "not used", _features.BitManipulation ? string.Empty : "checks keep flags the slow way"),
                new EngineFinding("vector registers", _features.WideVectors ? "up to AVX2" : "up to SSE4.2", "AVX-512 is hidden from guests"),
                new EngineFinding("32-bit code", "translated", string.Empty),
                new EngineFinding("hardware breakpoints", "strike", "pages that hold one run instruction by instruction"),
            ],
        };
    }

    /// <inheritdoc/>
    public EngineFacts Facts { get; }

    /// <summary>Guest instructions between two looks at the time and at kicks: some ten microseconds.</summary>
    internal long Quantum { get; init; } = 30_000;

    /// <inheritdoc/>
    public IEngineThread EnterThread(int hostCpu) => new SoftwareThread(hostCpu);

    /// <inheritdoc/>
    public IGuestMachine CreateMachine(GuestMachineLayout layout) => new SoftwareMachine(layout, _features, Quantum, (layout.Time is null ? _code : _countedCode).Value);

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_code.IsValueCreated)
            _code.Value.Dispose();
        if (_countedCode.IsValueCreated)
            _countedCode.Value.Dispose();
    }
}
