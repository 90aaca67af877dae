using Tessera.Memory.Tests.Support;
using Tessera.Sdk;
using Tessera.Sdk.Memory;

namespace Tessera.Memory.Tests;

[TestFixture]
internal sealed class DescriptorTests
{
    private Machine _machine = null!;

    [SetUp]
    public void Power_on() => _machine = new Machine();

    [Test]
    public void Each_acquisition_is_given_back_by_its_own_release()
    {
        _machine.Mmu.AcquireDescriptorFrame(_machine[6]);
        _machine.Mmu.AcquireDescriptorFrame(_machine[6]);
        _machine.Mmu.ReleaseDescriptorFrame(_machine[6]);
        Assert.That(_machine.TypeOf(_machine[6]), Is.EqualTo((FrameType.Descriptors, 1L)));
        _machine.Mmu.ReleaseDescriptorFrame(_machine[6]);
        Assert.That(_machine.TypeOf(_machine[6]).Count, Is.Zero);
        Assert.That(() => _machine.Mmu.ReleaseDescriptorFrame(_machine[6]), Throws.InvalidOperationException);
    }
}
