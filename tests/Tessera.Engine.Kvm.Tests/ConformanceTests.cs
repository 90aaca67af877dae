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

    protected override string? FaultOfTheHost(string test)
    {
        if (test != nameof(LDMXCSR_takes_the_bits_of_MXCSR_that_FXSAVE_names))
            return null;
        EngineFinding found = Engine.Facts.Findings.Single(finding => finding.Probe == HostProbe.MxcsrProbe);
        return found.Consequence.Length == 0 ? null : $"On this host: {found.Probe} {found.Finding}.";
    }
}
