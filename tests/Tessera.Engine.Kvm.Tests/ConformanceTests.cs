using Tessera.Plugins.Cpu.Kvm;
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
}
