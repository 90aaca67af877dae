using Tessera.Plugins.Cpu.Kvm;
using Tessera.Plugins.Cpu.Kvm.Probing;
using Tessera.Plugins.Cpu.Software;
using Tessera.Sdk.Conformance.Cpu;
using Tessera.Sdk.Cpu;

namespace Tessera.Engine.Kvm.Tests;

/// <summary>The conformance suite of engines, on this host's KVM.</summary>
[TestFixture]
internal sealed class ConformanceTests : CpuEngineConformance
{
    protected override ICpuEngine CreateEngine() => new KvmEngine(new KvmOptions());

    protected override ICpuEngine CreateOtherEngine() => new SoftwareEngine(new SoftwareOptions());

    /// <summary>What this host does wrong, so that no engine on it could pass.</summary>
    protected override string? Excuse(string check)
    {
        if (check != "ldmxcsr-takes-the-bits-of-mxcsr-that-fxsave-names")
            return null;
        using ICpuEngine engine = CreateEngine();
        EngineFinding found = engine.Facts.Findings.Single(finding => finding.Probe == HostProbe.MxcsrProbe);
        return found.Consequence.Length == 0 ? null : $"On this host: {found.Probe} {found.Finding}.";
    }
}
