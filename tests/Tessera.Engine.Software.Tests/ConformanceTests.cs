using Tessera.Plugins.Cpu.Software;
using Tessera.Sdk.Conformance.Cpu;
using Tessera.Sdk.Cpu;

namespace Tessera.Engine.Software.Tests;

/// <summary>The conformance suite, with the sequences this processor allows and with the plain ones.</summary>
[TestFixture(false)]
[TestFixture(true)]
internal sealed class ConformanceTests(bool plain) : CpuEngineConformance
{
    protected override ICpuEngine CreateEngine() => new SoftwareEngine(new SoftwareOptions { Plain = plain });

    protected override ICpuEngine CreateOtherEngine() => new SoftwareEngine(new SoftwareOptions { Plain = !plain });
}
