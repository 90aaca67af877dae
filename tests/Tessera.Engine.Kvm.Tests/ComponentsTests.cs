using Tessera.Plugins.Cpu.Kvm;

namespace Tessera.Engine.Kvm.Tests;

/// <summary>Which of the components that KVM names guests get: without KVM too.</summary>
internal sealed class ComponentsTests
{
    [TestCase(0x7UL, 0x7UL)]
    [TestCase(0x2e7UL, 0x2e7UL)]
    [TestCase(0x202e7UL, 0x2e7UL, Description = "AMX's configuration alone")]
    [TestCase(0x402e7UL, 0x2e7UL, Description = "AMX's data alone")]
    [TestCase(0x602e7UL, 0x602e7UL)]
    public void AMX_is_there_as_a_whole_or_not_at_all(ulong named, ulong settable) => Assert.That(CpuSetup.Settable(named), Is.EqualTo(settable));
}
