using Tessera.Memory.Tests.Support;
using Tessera.Sdk;
using Tessera.Sdk.Memory;
using static Tessera.Memory.Tests.Support.Entry;

namespace Tessera.Memory.Tests;

[TestFixture]
internal sealed class DescriptorTests
{
    private const ulong KernelCode = 0x00AF_9B00_0000_FFFF;
    private const ulong UserCode = 0x00AF_FB00_0000_FFFF;
    private const ulong KernelData = 0x00CF_9300_0000_FFFF;
    private const ulong ConformingCode = 0x00AF_9F00_0000_FFFF;

    private Machine _machine = null!;

    [SetUp]
    public void Power_on() => _machine = new Machine();

    [TestCase(0UL, 0UL, Description = "null")]
    [TestCase(KernelCode, UserCode)]
    [TestCase(UserCode, UserCode)]
    [TestCase(KernelData, 0x00CF_F300_0000_FFFFUL)]
    [TestCase(ConformingCode, 0x00AF_FF00_0000_FFFFUL)]
    [TestCase(0x0000_0E00_0000_0000UL, 0x0000_0E00_0000_0000UL, Description = "an interrupt gate that is not present")]
    public void Code_and_data_come_out_with_DPL_3(ulong descriptor, ulong expected)
    {
        Assert.That(_machine.Mmu.UpdateDescriptor(Machine.Address(_machine[6], 9), descriptor), Is.EqualTo(XenErrno.Success));
        Assert.That(_machine.Read(_machine[6], 9), Is.EqualTo(expected));
        _machine.Poke(_machine[7], 9, descriptor);
        Assert.That(_machine.Mmu.AcquireDescriptorFrame(_machine[7]), Is.EqualTo(XenErrno.Success));
        Assert.That(_machine.Read(_machine[7], 9), Is.EqualTo(expected));
    }

    [TestCase(2, Description = "LDT")]
    [TestCase(5, Description = "task gate")]
    [TestCase(9, Description = "TSS")]
    [TestCase(11, Description = "busy TSS")]
    [TestCase(12, Description = "call gate")]
    [TestCase(14, Description = "interrupt gate")]
    [TestCase(15, Description = "trap gate")]
    public void Present_system_descriptors_are_refused(int type)
    {
        ulong descriptor = 0x0000_E000_0000_0000UL | ((ulong)type << 40);
        Assert.That(_machine.Mmu.UpdateDescriptor(Machine.Address(_machine[6], 9), descriptor), Is.EqualTo(XenErrno.EINVAL));
        _machine.Poke(_machine[7], 511, descriptor);
        Assert.That(_machine.Mmu.AcquireDescriptorFrame(_machine[7]), Is.EqualTo(XenErrno.EINVAL));
        Assert.That(_machine.TypeOf(_machine[7]).Count, Is.Zero);
    }

    [Test]
    public void A_descriptor_table_cannot_be_mapped_writable_or_used_as_a_table()
    {
        Tree tree = Tree.Adopted(_machine);
        Assert.That(_machine.Mmu.AcquireDescriptorFrame(_machine[6]), Is.EqualTo(XenErrno.Success));
        Assert.That(_machine.Write(tree.L1, 5, _machine[6].Address | P | RW), Is.EqualTo(XenErrno.EINVAL));
        Assert.That(_machine.Write(tree.L2, 5, _machine[6].Address | P | RW), Is.EqualTo(XenErrno.EINVAL));
        Assert.That(_machine.Write(tree.L1, 5, _machine[6].Address | P), Is.EqualTo(XenErrno.Success));
        _machine.Mmu.ReleaseDescriptorFrame(_machine[6]);
        Assert.That(_machine.Write(tree.L1, 5, _machine[6].Address | P | RW), Is.EqualTo(XenErrno.Success));
        Assert.That(_machine.Mmu.AcquireDescriptorFrame(_machine[6]), Is.EqualTo(XenErrno.EINVAL));
    }

    [Test]
    public void A_table_or_a_foreign_frame_is_no_descriptor_table()
    {
        Tree tree = Tree.Adopted(_machine);
        Assert.That(_machine.Mmu.AcquireDescriptorFrame(tree.L1), Is.EqualTo(XenErrno.EINVAL));
        Assert.That(_machine.Mmu.AcquireDescriptorFrame(Machine.ForeignFrame), Is.EqualTo(XenErrno.EPERM));
        Assert.That(_machine.Mmu.UpdateDescriptor(tree.L1.Address, 0), Is.EqualTo(XenErrno.EINVAL));
        Assert.That(_machine.Mmu.UpdateDescriptor(Machine.ForeignFrame.Address, 0), Is.EqualTo(XenErrno.EPERM));
        Assert.That(_machine.Mmu.UpdateDescriptor(_machine[6].Address + 4, 0), Is.EqualTo(XenErrno.EINVAL));
    }

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
